"""Targets: signed messages of strangers, and the key records of their domains."""

import base64
from collections.abc import Iterator

from mailserver.mail.headers import header_end
from mailserver.policy.dkim.check import SignatureCheck
from mailserver.policy.dkim.fields import method_results
from mailserver.policy.dkim.key_record import MAX_RSA_BITS, MIN_RSA_BITS, VerifyingKey, find_key
from mailserver.policy.dkim.result import DkimVerdict

# The key of RFC 8463 appendix A; its message is the first seed.
_RECORD = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
_NOW = 1_750_000_000.0
_SIGNED = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""


def signed_message(octets: bytes) -> None:
    """A content with CRLF line ends: its verdicts are few and the same however the body is cut."""
    content = octets.replace(b"\r", b"").replace(b"\n", b"\r\n")
    end = header_end(content)
    body = content[end:].removeprefix(b"\r\n")
    found = []
    for step in (len(body) or 1, 7):
        check = SignatureCheck(content[:end], _NOW)
        assert len(check.key_names) <= 50
        assert all(name.isascii() and "._domainkey." in name for name in check.key_names)
        for start in range(0, len(body), step):
            check.body(body[start : start + step])
        found.append(check.results(dict.fromkeys(check.key_names, (_RECORD,))))
    assert found[0] == found[1]
    assert len(found[0].dkim) <= 20
    for one in found[0].dkim:
        assert one.verdict is not DkimVerdict.PASS or one.domain
    for result in method_results(found[0]):
        assert result.result


def key_record(octets: bytes) -> None:
    """A TXT record: a key that may be used, or a fault in words."""
    text = octets.decode("latin-1")
    for algorithm in ("rsa-sha256", "ed25519-sha256"):
        found = find_key((text,), algorithm)
        if not isinstance(found, VerifyingKey):
            assert found.reason and found.verdict is not DkimVerdict.PASS
            continue
        assert not found.fits(b"x" * 64, b"\0" * 32)
        size = getattr(found.key, "key_size", MIN_RSA_BITS)
        assert MIN_RSA_BITS <= size <= MAX_RSA_BITS


def signed_message_seeds() -> Iterator[bytes]:
    """The message of the RFC, a chain, and both together."""
    chain = b"""\
ARC-Seal: i=1; a=ed25519-sha256; t=1; cv=none; d=football.example.com; s=brisbane; b=AAAA
ARC-Message-Signature: i=1; a=ed25519-sha256; c=relaxed/simple; d=football.example.com;
 s=brisbane; h=from; bh=AAAA; b=AA==
ARC-Authentication-Results: i=1; lists.example; dkim=pass
"""
    yield _SIGNED
    yield chain + b"From: a@b.example\n\nx\n"
    yield chain + _SIGNED


def key_record_seeds() -> Iterator[bytes]:
    """One of each kind."""
    yield _RECORD.encode()
    rsa = base64.b64encode(b"\x30\x81\x9f\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03\x81\x8d\x00")
    yield b"v=DKIM1; k=rsa; h=sha1:sha256; s=email; t=y:s; n=note; g=*; p=" + rsa
