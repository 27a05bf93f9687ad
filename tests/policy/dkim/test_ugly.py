"""Signatures and key records that are wrong, weak, hostile or just odd: each has its verdict, and none costs much."""

import time
from dataclasses import replace

import pytest

from mailserver.mail.dns import CannotTell, NoRecords, NoSuchName
from mailserver.policy.dkim.check import MAX_SIGNATURES, SignatureCheck, is_signed
from mailserver.policy.dkim.result import DkimVerdict
from tests.policy.dkim.keys import DOMAIN, ED25519, NOW, RSA, answers, checked, ed25519_public, rsa_public, signed
from tests.policy.dkim.messages import message

_CONTENT = b"From: alice@example.org\r\nSubject: x\r\n\r\nHello.\r\nWorld.\r\n"
_SIGNED = signed(_CONTENT)
_ED25519_AT = _SIGNED.index(b"DKIM-Signature", 10)
_ONE = _SIGNED[_ED25519_AT:]  # the Ed25519 signature alone
_RSA_768 = (
    "MHwwDQYJKoZIhvcNAQEBBQADawAwaAJhALjCuBO0GK2EcaFKcxsXI78O6LFy0MdaENyRQ/Pn3DdXzVVRWwqG+YOQxN"
    "5O66rjE9KstSnW99RBY49Zvy99nfyj169tJVtMv3mOvakk7VOH9mocX29u8OM5aBq4iF1nLQIDAQAB"
)
_RECORD = answers()[f"{ED25519}._domainkey.{DOMAIN}"][0]


def _one(content: bytes, record=None, now: float = NOW):
    answer = record if record is not None and not isinstance(record, str) else (record or _RECORD,)
    (result,) = checked(content, {f"{ED25519}._domainkey.{DOMAIN}": answer}, now).dkim
    return result


def _with(tag: bytes) -> bytes:
    """The signature with a tag more, which of course breaks it; what is refused is refused before that is seen."""
    return _ONE.replace(b"v=1;", b"v=1; " + tag + b";", 1)


def test_the_signature_passes_as_it_is():
    result = _one(_ONE)
    assert (result.verdict, result.domain, result.selector, result.algorithm) == (
        DkimVerdict.PASS,
        DOMAIN,
        ED25519,
        "ed25519-sha256",
    )
    assert len(result.start) == 8
    assert str(result) == "pass example.org e1 ed25519-sha256"


@pytest.mark.parametrize(
    ("record", "verdict", "reason"),
    [
        (CannotTell("SERVFAIL"), DkimVerdict.TEMPERROR, "SERVFAIL"),
        (NoSuchName(), DkimVerdict.PERMERROR, "there is no key"),
        (NoRecords(), DkimVerdict.PERMERROR, "there is no key"),
        ((), DkimVerdict.PERMERROR, "there is no key"),
        ("v=DKIM2; k=ed25519; p=" + ed25519_public(), DkimVerdict.PERMERROR, "another version"),
        ("k=ed25519; v=DKIM1; p=" + ed25519_public(), DkimVerdict.PERMERROR, "another version"),
        ("v=DKIM1; k=ed25519; p=", DkimVerdict.PERMERROR, "revoked"),
        ("v=DKIM1; k=ed25519", DkimVerdict.PERMERROR, "no key"),
        ("v=DKIM1; k=ed25519; p=!!!", DkimVerdict.PERMERROR, "unreadable"),
        ("v=DKIM1; k=ed25519; p=AAAA", DkimVerdict.PERMERROR, "unreadable"),
        ("v=DKIM1; p=" + ed25519_public(), DkimVerdict.PERMERROR, "another algorithm"),
        ("v=DKIM1; k=rsa; p=" + rsa_public(), DkimVerdict.PERMERROR, "another algorithm"),
        ("v=DKIM1; k=ed448; p=" + ed25519_public(), DkimVerdict.PERMERROR, "another algorithm"),
        ("v=DKIM1; k=ed25519; h=sha1; p=" + ed25519_public(), DkimVerdict.PERMERROR, "not for this hash"),
        ("v=DKIM1; k=ed25519; s=tlsrpt; p=" + ed25519_public(), DkimVerdict.PERMERROR, "not for mail"),
        ("v=spf1 -all", DkimVerdict.PERMERROR, "another version"),
        ("nonsense", DkimVerdict.PERMERROR, "unreadable"),
        ("k=ed25519; p=x; p=y", DkimVerdict.PERMERROR, "twice"),
        ("v=DKIM1; k=ed25519; p=" + "A" * 5000, DkimVerdict.PERMERROR, "too long"),
        ("v=DKIM1; k=ed25519; p=\xff\xfe", DkimVerdict.PERMERROR, "unreadable"),
    ],
)
def test_key_records_that_give_no_key(record, verdict, reason):
    result = _one(_ONE, record)
    assert result.verdict is verdict
    assert reason in result.reason


@pytest.mark.parametrize(
    "record",
    [
        "k=ed25519; p=" + ed25519_public(),  # v= is optional
        "v=DKIM1; k=ed25519; g=; p=" + ed25519_public(),  # history, ignored
        "v=DKIM1; k=ed25519; g=bob; p=" + ed25519_public(),
        "v=DKIM1; k=ed25519; s=email; h=sha1:sha256; n=a note; p=" + ed25519_public() + ";",
        "v=DKIM1;\tk=ed25519; s=other:* ; p= " + " ".join(ed25519_public()),
        "v=DKIM1; k=ed25519; t=s; p=" + ed25519_public(),
        "v=DKIM1; k=ed25519; zz=whatever; p=" + ed25519_public(),
    ],
)
def test_key_records_that_are_right(record):
    assert _one(_ONE, record).verdict is DkimVerdict.PASS


def test_of_several_records_the_one_that_is_a_key_is_taken():
    assert _one(_ONE, ("v=spf1 -all", _RECORD)).verdict is DkimVerdict.PASS
    assert _one(_ONE, ("x",) * 6 + (_RECORD,)).verdict is DkimVerdict.PERMERROR


@pytest.mark.parametrize(
    ("content", "verdict", "reason"),
    [
        (_ONE.replace(b"v=1;", b"v=2;"), DkimVerdict.NEUTRAL, "another version"),
        (_ONE.replace(b"v=1;", b""), DkimVerdict.NEUTRAL, "v= is missing"),
        (_ONE.replace(b"a=ed25519-sha256", b"a=rsa-sha1"), DkimVerdict.POLICY, "SHA-1"),
        (_ONE.replace(b"a=ed25519-sha256", b"a=rsa-md5"), DkimVerdict.NEUTRAL, "unknown algorithm"),
        (_ONE.replace(b"c=relaxed/relaxed", b"c=nofws"), DkimVerdict.NEUTRAL, "canonical form"),
        (_ONE.replace(b"bh=", b"bh=!"), DkimVerdict.NEUTRAL, "no base64"),
        (_ONE.replace(b"\tb=", b"\tb=!"), DkimVerdict.NEUTRAL, "no base64"),
        (_ONE.replace(b"h=from:from:", b"h="), DkimVerdict.PERMERROR, "From is not signed"),
        (_with(b"d=twice.example"), DkimVerdict.NEUTRAL, "twice"),
        (_with(b"nonsense"), DkimVerdict.NEUTRAL, "no tag"),
        (_with(b"1x=nonsense"), DkimVerdict.NEUTRAL, "proper name"),
        (_with(b""), DkimVerdict.NEUTRAL, "no tag"),
        (_with(b"l=nonsense"), DkimVerdict.NEUTRAL, "l= is no number"),
        (_with(b"l=-1"), DkimVerdict.NEUTRAL, "l= is no number"),
        (_with(b"x=soon"), DkimVerdict.NEUTRAL, "no number"),
        (_with(b"x=1"), DkimVerdict.NEUTRAL, "before it was made"),
        (_with(b"q=http"), DkimVerdict.PERMERROR, "not in DNS"),
        (_with(b"i=alice@elsewhere.example"), DkimVerdict.PERMERROR, "i= is not within d="),
        (_with(b"i=alice@notexample.org"), DkimVerdict.PERMERROR, "i= is not within d="),
        (_with(b"i=@example.org.evil.example"), DkimVerdict.PERMERROR, "i= is not within d="),
        (_with(b"i=alice@example.org"), DkimVerdict.FAIL, "header"),
        (_ONE.replace(b"d=example.org", b"d=[192.0.2.1]"), DkimVerdict.NEUTRAL, "no name"),
        (_ONE.replace(b"s=e1;", b"s=../x;"), DkimVerdict.NEUTRAL, "no name"),
        (_ONE.replace(b"s=e1;", b"s=" + b"a." * 120 + b"a;"), DkimVerdict.NEUTRAL, "no name"),
        (_ONE.replace(b"d=example.org", b"d=\xff\xfe.org"), DkimVerdict.NEUTRAL, "no name"),
        (_with(b"z=" + b"x" * 20_000), DkimVerdict.POLICY, "too long"),
    ],
)
def test_signatures_that_cannot_be_verified(content, verdict, reason):
    result = _one(content)
    assert result.verdict is verdict, result
    assert reason in result.reason


def _signed_with(
    *tags: bytes, covers: bytes = b"", d: bytes = b"example.org", body: bytes = b"Hello.\r\nWorld.\r\n"
) -> bytes:
    """A message whose signature truly holds these tags; `covers` is the part of the body that is hashed."""
    import base64
    import hashlib

    from mailserver.policy.dkim.canonical import Form, canonical_field
    from tests.policy.dkim.keys import ed25519_key

    body_hash = base64.b64encode(hashlib.sha256(covers or body).digest())
    extra = b"".join(tag + b"; " for tag in tags)
    field = b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/simple; d=" + d + b"; s=e1; " + extra
    field += b"h=from; bh=" + body_hash + b"; b="
    hashed = b"from:alice@example.org\r\n" + canonical_field(field + b"\r\n", Form.RELAXED)[:-2]
    signature = base64.b64encode(ed25519_key().sign(hashlib.sha256(hashed).digest()))
    return field + signature + b"\r\nFrom: alice@example.org\r\n\r\n" + body


def test_a_body_longer_than_what_is_signed_is_not_accepted():
    """RFC 6376 8.2: anybody may have appended the rest."""
    whole = b"Hello.\r\nWorld.\r\n"
    assert _one(_signed_with(b"l=16")).verdict is DkimVerdict.PASS
    partly = _one(_signed_with(b"l=8", covers=whole[:8]))
    assert (partly.verdict, partly.reason) == (DkimVerdict.POLICY, "only the beginning of the body is signed (l=)")
    assert _one(_signed_with(b"l=99")).verdict is DkimVerdict.PERMERROR
    assert _one(_signed_with(b"l=" + b"9" * 76)).verdict is DkimVerdict.PERMERROR


def test_times():
    at = int(NOW)
    assert _one(_signed_with(b"x=%d" % (at + 10))).verdict is DkimVerdict.PASS
    assert _one(_signed_with(b"x=%d" % (at - 10))).verdict is DkimVerdict.PASS  # clocks differ
    expired = _one(_signed_with(b"x=%d" % (at - 1000)))
    assert (expired.verdict, expired.reason) == (DkimVerdict.POLICY, "the signature has expired")
    assert _one(_signed_with(b"t=%d" % (at + 1000))).verdict is DkimVerdict.PASS


def test_an_identity_in_a_subdomain_needs_a_key_that_allows_it():
    content = _signed_with(b"i=alice@sub.example.org")
    assert _one(content).verdict is DkimVerdict.PASS
    strict = _one(content, _RECORD + "; t=y:s")
    assert strict.verdict is DkimVerdict.PERMERROR
    assert _one(_signed_with(b"i=@EXAMPLE.org"), _RECORD + "; t=s").verdict is DkimVerdict.PASS


def test_a_domain_that_only_tries_dkim_is_never_failed():
    """RFC 6376 3.6.1, t=y."""
    record = _RECORD + "; t=y"
    good, bad = _one(_ONE, record), _one(_ONE.replace(b"World", b"Mars"), record)
    assert (good.verdict, good.is_testing) == (DkimVerdict.PASS, True)
    assert (bad.verdict, bad.is_testing) == (DkimVerdict.NEUTRAL, True)


def test_a_second_from_that_is_not_signed_is_not_accepted():
    content = _signed_with()
    assert _one(content).verdict is DkimVerdict.PASS
    spoofed = content.replace(b"\r\nFrom:", b"\r\nFrom: ceo@example.org\r\nFrom:", 1)
    assert _one(spoofed).verdict is DkimVerdict.POLICY
    # Our own signatures cover the absence of a second one.
    assert checked(b"From: ceo@example.org\r\n" + _SIGNED).dkim[0].verdict is DkimVerdict.FAIL


@pytest.mark.parametrize("name", [b"To", b"Subject", b"Content-Type", b"Reply-To", b"Date", b"Cc"])
def test_nobody_adds_a_field_that_readers_act_on(name):
    assert checked(name + b": added\r\n" + _SIGNED).dkim[0].verdict is DkimVerdict.FAIL


def test_keys_of_every_size():
    import dkim

    from tests.policy.dkim.keys import rsa_pem

    for bits, verdict in ((1024, DkimVerdict.PASS), (4096, DkimVerdict.PASS)):
        content = dkim.sign(_CONTENT, b"r1", b"example.org", rsa_pem(bits)) + _CONTENT
        (result,) = checked(content, {"r1._domainkey.example.org": ("p=" + rsa_public(bits),)}).dkim
        assert result.verdict is verdict
    (result,) = checked(content, {"r1._domainkey.example.org": ("p=" + _RSA_768,)}).dkim
    assert (result.verdict, result.reason) == (DkimVerdict.POLICY, "an RSA key under 1024 bits (RFC 8301)")


def test_only_the_first_signatures_are_checked_and_their_number_is_bounded():
    content = _ONE[: _ONE.index(b"From:")] * 30 + _CONTENT
    results = checked(content).dkim
    assert [one.verdict for one in results[:MAX_SIGNATURES]] == [DkimVerdict.PASS] * MAX_SIGNATURES
    assert {one.verdict for one in results[MAX_SIGNATURES:]} == {DkimVerdict.POLICY}
    assert len(results) == 20


def test_names_are_asked_once():
    section = _SIGNED[: _SIGNED.index(b"From:")] * 2
    assert SignatureCheck(section, NOW).key_names == (f"{RSA}._domainkey.{DOMAIN}", f"{ED25519}._domainkey.{DOMAIN}")


def test_a_header_that_is_not_seen_whole_is_not_checked():
    check = SignatureCheck(_SIGNED[: _SIGNED.index(b"\r\n\r\n") + 2], NOW, is_whole_header=False)
    assert check.key_names == ()
    assert {one.verdict for one in check.results({}).dkim} == {DkimVerdict.POLICY}


def test_a_header_of_very_many_fields_costs_little():
    section = b"a:\r\n" * 60_000 + _SIGNED[: _SIGNED.index(b"\r\n\r\n") + 2]
    began = time.process_time()
    check = SignatureCheck(section, NOW)
    assert time.process_time() - began < 0.1
    assert check.key_names == ()
    assert {one.reason for one in check.results({}).dkim} == {"the header is too long"}


def test_most_messages_need_no_look_at_all():
    assert not is_signed(b"From: a@b\r\nReceived: x\r\n")
    assert is_signed(_ONE)
    assert checked(_CONTENT).dkim == ()


def test_the_longest_runs_of_everything_take_time_in_proportion():
    """A regular expression would take minutes for any of these."""
    began = time.process_time()
    check = SignatureCheck(_SIGNED[: _SIGNED.index(b"\r\n\r\n") + 2], NOW)
    for piece in (b" " * 65536, b"\r\n" * 32768, b" \r\n" * 20000, b"\t \t" * 20000, b"x" * 65536):
        for _ in range(20):
            check.body(piece)
    check.results(answers())
    for filler in (b" ", b"\r\n ", b"a", b"=", b";", b":", b"h=", b"\t"):
        field = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s; h=from; bh=; b=" + filler * (
            16_000 // len(filler)
        )
        content = field + b"\r\nFrom: x\r\n\r\n"
        assert checked(content).dkim[0].verdict is not DkimVerdict.PASS
    assert time.process_time() - began < 10


def test_octets_changed_anywhere_never_raise_and_never_pass():
    """Every octet of a signature field replaced, dropped or doubled, by the hundreds."""
    end = _ONE.index(b"From:")
    for place in range(15, end - 2):
        for new in (b"", b";", b"\xff", _ONE[place : place + 1] * 2, b"="):
            changed = _ONE[:place] + new + _ONE[place + 1 :]
            results = checked(changed).dkim
            for result in results:
                if result.verdict is DkimVerdict.PASS:
                    assert replace(result, start="") == replace(_one(_ONE), start=""), (place, new)


def test_signing_survives_every_odd_message():
    for number in range(200):
        content = message(number, ends_with_line=False)
        assert {one.verdict for one in checked(signed(content)).dkim} == {DkimVerdict.PASS}
