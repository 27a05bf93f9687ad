"""SASL exchanges, and the base64 around them."""

import pytest

from mailserver.wire.sasl import (
    Challenge,
    Claim,
    Exchange,
    Mechanism,
    SaslFault,
    decode_initial_response,
    decode_response,
    mechanism_named,
)


@pytest.mark.parametrize(
    ("message", "step"),
    [
        (b"\0alice\0secret", Claim("", "alice", "secret")),
        (b"alice\0alice\0secret", Claim("alice", "alice", "secret")),
        (b"\0alice\0two words ", Claim("", "alice", "two words ")),
        ("\0jürgen\0pässwort".encode(), Claim("", "jürgen", "pässwort")),
        (b"\0alice\0", Claim("", "alice", "")),
        (b"", SaslFault("a PLAIN response is authzid NUL login NUL password")),
        (b"alice\0secret", SaslFault("a PLAIN response is authzid NUL login NUL password")),
        (b"\0alice\0sec\0ret", SaslFault("a PLAIN response is authzid NUL login NUL password")),
        (b"\0alice\0\xe9", SaslFault("the response is not UTF-8 text")),
        (b"\xff\0alice\0x", SaslFault("the response is not UTF-8 text")),
    ],
)
def test_plain_with_and_without_initial_response(message, step):
    """RFC 4616 2."""
    assert Exchange(Mechanism.PLAIN).start(message) == step
    slow = Exchange(Mechanism.PLAIN)
    assert slow.start(None) == Challenge(b"")
    assert slow.respond(message) == step


def test_login_asks_for_both():
    exchange = Exchange(Mechanism.LOGIN)
    assert exchange.start(None) == Challenge(b"Username:")
    assert exchange.respond(b"alice") == Challenge(b"Password:")
    assert exchange.respond(b"sec ret") == Claim("", "alice", "sec ret")


def test_login_takes_the_name_as_initial_response():
    exchange = Exchange(Mechanism.LOGIN)
    assert exchange.start(b"alice") == Challenge(b"Password:")
    assert exchange.respond(b"secret") == Claim("", "alice", "secret")


@pytest.mark.parametrize("octets", [b"\xff", b"a\0b"])
def test_login_refuses_nul_and_what_is_not_utf8(octets):
    assert isinstance(Exchange(Mechanism.LOGIN).start(octets), SaslFault)


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (Claim("", "alice", "x"), False),
        (Claim("Alice", "alice", "x"), False),
        (Claim("root", "alice", "x"), True),
    ],
)
def test_acting_for_another_is_seen(claim, expected):
    assert claim.acts_for_another is expected


def test_a_password_never_shows_in_a_traceback():
    assert "hush" not in repr(Claim("", "alice", "hush"))


@pytest.mark.parametrize(
    ("word", "octets"),
    [
        (b"", b""),
        (b"AGFsaWNlAHNlY3JldA==", b"\0alice\0secret"),
        (b"YQ==", b"a"),
    ],
)
def test_base64(word, octets):
    assert decode_response(word) == octets


@pytest.mark.parametrize(
    "word", [b"=", b"YQ", b"YQ=", b"YQ===", b"Y Q=", b"YQ==YQ==", b"not base64!", b"YQ\t==", b"\xff\xff", b"====", b"*"]
)
def test_base64_garbage_is_a_fault(word):
    assert isinstance(decode_response(word), SaslFault)


def test_an_equals_sign_is_an_empty_initial_response():
    """RFC 4954 4."""
    assert decode_initial_response(b"=") == b""
    assert decode_initial_response(b"YQ==") == b"a"


@pytest.mark.parametrize(
    ("name", "mechanism"),
    [("PLAIN", Mechanism.PLAIN), ("login", Mechanism.LOGIN), ("CRAM-MD5", None), ("", None), ("ＰＬＡＩＮ", None)],
)
def test_mechanism_names(name, mechanism):
    assert mechanism_named(name) is mechanism
