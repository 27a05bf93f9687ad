"""The message of RFC 8463 appendix A, signed twice, and the canonical forms of RFC 6376 3.4.5."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from mailserver.policy.dkim.canonical import BodyHash, Form, canonical_field
from mailserver.policy.dkim.result import DkimVerdict
from mailserver.policy.dkim.sign import Signing, SigningKey
from tests.policy.dkim.keys import checked, split

_MESSAGE = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")

_SECRET = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
_PUBLIC = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
_RECORDS = {
    "brisbane._domainkey.football.example.com": (f"v=DKIM1; k=ed25519; p={_PUBLIC}",),
    "test._domainkey.football.example.com": (
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY"
        "/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kr"
        "yOTIKT+l/K4w3QIDAQAB",
    ),
}


def test_both_signatures_of_rfc_8463_pass():
    results = checked(_MESSAGE, _RECORDS)
    assert [(one.verdict, one.algorithm) for one in results.dkim] == [
        (DkimVerdict.PASS, "ed25519-sha256"),
        (DkimVerdict.PASS, "rsa-sha256"),
    ]
    assert results.passed_domains == {"football.example.com"}
    assert results.dkim[0].start == "/gCrinpc"


def test_the_key_of_rfc_8463_signs_what_its_record_verifies():
    key = ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(_SECRET))
    section, body = split(_MESSAGE[_MESSAGE.index(b"From:") :])
    signing = Signing(section, (SigningKey("football.example.com", "brisbane", key),), 1528637909.0)
    signing.body(body)
    room = signing.room()
    fields = signing.fields()
    assert len(room) == len(fields)
    assert b"bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;" in fields
    (result,) = checked(fields + section + b"\r\n" + body, _RECORDS).dkim
    assert result.verdict is DkimVerdict.PASS


def test_a_changed_body_or_header_fails_both():
    for before, after in ((b"hungry", b"thirsty"), (b"dinner", b"lunch"), (b"Date: Fri", b"Date: Sat")):
        results = checked(_MESSAGE.replace(before, after), _RECORDS)
        assert [one.verdict for one in results.dkim] == [DkimVerdict.FAIL, DkimVerdict.FAIL]


_HEADER = (b"A: X\r\n", b"B : Y\t\r\n\tZ  \r\n")
_BODY = b" C \r\nD \t E\r\n\r\n\r\n"


@pytest.mark.parametrize(
    ("form", "header", "body"),
    [
        (Form.RELAXED, b"a:X\r\nb:Y Z\r\n", b" C\r\nD E\r\n"),
        (Form.SIMPLE, b"A: X\r\nB : Y\t\r\n\tZ  \r\n", b" C \r\nD \t E\r\n"),
    ],
)
def test_the_canonical_forms_of_rfc_6376(form, header, body):
    assert b"".join(canonical_field(raw, form) for raw in _HEADER) == header
    for step in (1, 2, 3, 100):
        hashed = BodyHash(form)
        for start in range(0, len(_BODY), step):
            hashed.update(_BODY[start : start + step])
        hashed.finish()
        assert hashed.digest() == hashlib.sha256(body).digest()
        assert hashed.octets == len(body)


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        (b"", b"\r\n", b""),
        (b"\r\n", b"\r\n", b""),
        (b"\r\n\r\n\r\n", b"\r\n", b""),
        (b" \r\n", b" \r\n", b""),
        (b" \t\r\n\t\r\n", b" \t\r\n\t\r\n", b""),
        (b"a", b"a\r\n", b"a\r\n"),
        (b"a \r\n\r\n b", b"a \r\n\r\n b\r\n", b"a\r\n\r\n b\r\n"),
        (b"\r\n\r\na", b"\r\n\r\na\r\n", b"\r\n\r\na\r\n"),
    ],
)
def test_the_ends_of_bodies(body, simple, relaxed):
    """RFC 6376 3.4.3 and 3.4.4."""
    for form, canonical in ((Form.SIMPLE, simple), (Form.RELAXED, relaxed)):
        for step in (1, len(body) or 1):
            hashed = BodyHash(form, (2, 1000))
            for start in range(0, len(body), step):
                hashed.update(body[start : start + step])
            hashed.finish()
            assert hashed.digest() == hashlib.sha256(canonical).digest()
            assert hashed.digest(2) == hashlib.sha256(canonical[:2]).digest()
            assert hashed.digest(1000) == hashed.digest()
