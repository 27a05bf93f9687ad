"""Our signatures verified by dkimpy, dkimpy's by us, over odd messages; and ARC chains that dkimpy sealed."""

import dkim
import pytest

from mailserver.policy.dkim.result import ArcVerdict, DkimVerdict
from tests.policy.dkim.keys import (
    DOMAIN,
    ED25519,
    RSA,
    answers,
    checked,
    ed25519_seed,
    rsa_pem,
    rsa_public,
    signed,
)
from tests.policy.dkim.messages import message

_FORMS = [(one, other) for one in (b"simple", b"relaxed") for other in (b"simple", b"relaxed")]


def _dns(name, timeout=5):
    return answers()[name.decode().rstrip(".")][0].encode()


def _signed_by_dkimpy(content: bytes, number: int) -> bytes:
    if number % 2:
        return dkim.sign(content, RSA.encode(), DOMAIN.encode(), rsa_pem(1024), canonicalize=_FORMS[number // 2 % 4])
    return dkim.sign(
        content,
        ED25519.encode(),
        DOMAIN.encode(),
        ed25519_seed(),
        canonicalize=_FORMS[number // 2 % 4],
        signature_algorithm=b"ed25519-sha256",
    )


def _records():
    return answers() | {f"{RSA}._domainkey.{DOMAIN}": (f"v=DKIM1; k=rsa; p={rsa_public(1024)}",)}


def test_dkimpy_verifies_what_we_sign_in_five_hundred_messages():
    for number in range(500):
        content = signed(message(number))
        for index in (0, 1):
            assert dkim.DKIM(content).verify(idx=index, dnsfunc=_dns), (number, index)


def test_we_verify_what_dkimpy_signs_in_five_hundred_messages():
    records = _records()
    for number in range(500):
        content = message(number)
        content = _signed_by_dkimpy(content, number) + content
        (result,) = checked(content, records, pieces=number % 7).dkim
        assert result.verdict is DkimVerdict.PASS, (number, result)


def test_what_was_changed_on_the_way_fails_with_both():
    records = _records()
    for number in range(60):
        content = message(number)
        content = _signed_by_dkimpy(content, number) + content
        changed = content + b"more\r\n" if number % 3 else content.replace(b"alice@", b"mallory@")
        (result,) = checked(changed, records).dkim
        assert result.verdict is DkimVerdict.FAIL, (number, result)


def _sealed(content: bytes, count: int) -> bytes:
    """The content after `count` intermediaries, sealed by dkimpy."""
    for instance in range(count):
        cv = "none" if instance == 0 else "pass"
        result = f"Authentication-Results: lists.example; arc={cv}; spf=pass smtp.mailfrom=x@example.org\r\n"
        # What the sealer found is not signed, and each takes away what the one before it wrote.
        chain = dkim.arc_sign(result.encode() + content, RSA.encode(), DOMAIN.encode(), rsa_pem(1024), b"lists.example")
        assert len(chain) == 3
        content = b"".join(chain) + content
    return content


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_chain_that_dkimpy_sealed_passes(count):
    content = _sealed(message(11), count)
    result = checked(content, _records()).arc
    assert (result.verdict, result.sealers) == (ArcVerdict.PASS, (DOMAIN,) * count), result
    assert checked(content, _records(), pieces=3).arc == result


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (b"alice@", b"mallory@", "the newest message signature: the header is not what was signed"),
        (b"spf=pass", b"spf=fail", "it does not fit"),
        (b"cv=none", b"cv=pass", "cv= is not what it has to be"),
        (b"i=2", b"i=3", "an instance is missing"),
        (b"i=1", b"i=99", "more than 20 sets"),
        (b"ARC-Seal", b"X-Seal", "an instance is missing"),
        (b"cv=pass", b"cv=fail", "seal 2 says that the chain was broken before"),
        (b"a=rsa-sha256", b"a=rsa-sha1", "an unknown algorithm"),
    ],
)
def test_a_chain_that_was_tampered_with_fails(before, after, reason):
    content = _sealed(message(12), 2)
    result = checked(content.replace(before, after), _records()).arc
    assert result.verdict is ArcVerdict.FAIL
    if reason != "an instance is missing":
        assert reason in result.reason


def test_a_body_that_grew_fails_the_chain():
    result = checked(_sealed(message(13), 1) + b"more\r\n", _records()).arc
    assert (result.verdict, result.reason) == (
        ArcVerdict.FAIL,
        "the newest message signature: the body is not what was signed",
    )


def test_an_old_set_that_a_later_one_does_not_cover_any_more_fails():
    content = _sealed(message(14), 3)
    lines = content.split(b"\r\n")
    dropped = b"\r\n".join(line for line in lines if not line.startswith(b"ARC-Authentication-Results: i=2"))
    assert checked(dropped, _records()).arc.verdict is ArcVerdict.FAIL
    doubled = b"ARC-Authentication-Results: i=2; x; none\r\n" + content
    assert "two fields of one kind" in checked(doubled, _records()).arc.reason


def test_a_key_that_cannot_be_looked_up_fails_the_chain_with_that_reason():
    result = checked(_sealed(message(15), 1), {}).arc
    assert result.verdict is ArcVerdict.FAIL
    assert "could not be looked up" in result.reason
