"""Replies on the wire, and the catalogue as a whole."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail import reply as replies
from mailserver.mail.reply import MAX_REPLY_LINE_OCTETS, Reply, printable, reply

CATALOGUE = {name: value for name, value in vars(replies).items() if isinstance(value, Reply)}


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        (reply(250, "2.1.0", "ok"), b"250 2.1.0 ok\r\n"),
        (reply(354, "", "go"), b"354 go\r\n"),
        (reply(334, "", ""), b"334 \r\n"),
        (reply(250, "", "host", "SIZE 5", "HELP"), b"250-host\r\n250-SIZE 5\r\n250 HELP\r\n"),
        (reply(550, "5.1.1", "a", "b"), b"550-5.1.1 a\r\n550 5.1.1 b\r\n"),
        (reply(250, "", "a\r\nb\x1b[0m\0\u2028"), b"250 a??b?[0m??\r\n"),
        (reply(250, "", "ü"), "250 ü\r\n".encode()),
        (reply(250, "", "\ud800"), b"250 ?\r\n"),
    ],
)
def test_encode(value, octets):
    assert value.encode() == octets


def test_a_line_is_cut_at_512_octets_and_never_within_a_character():
    """RFC 5321 4.5.3.1.5."""
    assert len(reply(250, "2.0.0", "x" * 600).encode()) == MAX_REPLY_LINE_OCTETS
    cut = reply(250, "", "x" + "ü" * 600).encode()
    assert len(cut) <= MAX_REPLY_LINE_OCTETS
    cut.decode("utf-8")


@pytest.mark.parametrize(("code", "kind"), [(220, (1, 0, 0)), (354, (1, 0, 0)), (452, (0, 1, 0)), (550, (0, 0, 1))])
def test_kinds(code, kind):
    value = reply(code, "", "x")
    assert (value.is_positive, value.is_temporary, value.is_permanent) == tuple(map(bool, kind))


def test_str_is_one_line():
    assert str(reply(550, "5.1.1", "no", "way")) == "550 5.1.1 no way"
    assert str(reply(354, "", "go")) == "354 go"


@given(st.text(max_size=50))
def test_printable_text_has_one_line_and_no_controls(text):
    shown = printable(text)
    assert len(shown) == len(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(char) < 32 for char in shown)
    assert len(reply(250, "", text).encode().split(b"\r\n")) == 2


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_catalogue_is_well_formed(name):
    """RFC 3463 2: the class of the enhanced code is that of the reply; no line needs cutting; ASCII only."""
    value = CATALOGUE[name]
    if value.enhanced:
        assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", value.enhanced)
        assert value.enhanced[0] == str(value.code)[0]
    for line in value.encode().split(b"\r\n")[:-1]:
        assert len(line) <= MAX_REPLY_LINE_OCTETS - 2
        assert line.isascii()
    assert all(line and line == printable(line) for line in value.lines)
