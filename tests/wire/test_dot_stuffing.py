"""Content on its way out. A dot at the start of a piece is where others truncate mail."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.dot_stuffing import BareNewline, DotStuffer


def encode(*pieces):
    stuffer = DotStuffer()
    return b"".join(stuffer.feed(piece) for piece in pieces) + stuffer.finish()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", b".\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),  # a last line without its end gets one
        (b".\r\n", b"..\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b"..\r\n", b"...\r\n.\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n.b\r\n..c\r\n", b"a\r\n..b\r\n...c\r\n.\r\n"),
        (b"\r\n.\r\n.\r\n", b"\r\n..\r\n..\r\n.\r\n"),
        (b"a.b\r\n", b"a.b\r\n.\r\n"),
    ],
)
def test_dots_at_the_start_of_a_line_are_doubled(content, expected):
    assert encode(content) == expected
    assert encode(*(content[i : i + 1] for i in range(len(content)))) == expected


@pytest.mark.parametrize(
    "content", [b"a\nb\r\n", b"a\rb\r\n", b"\n.\n", b"a\r", b"\r\r\n", b"\n", b"a\r\n\n", b"a\n.\r\n"]
)
def test_a_bare_cr_or_lf_never_leaves(content):
    with pytest.raises(BareNewline):
        encode(content)
    with pytest.raises(BareNewline):
        encode(*(content[i : i + 1] for i in range(len(content))))


CONTENT = st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r\n.", b"..", b"\xff"]), max_size=40).map(b"".join)
LOOSE = st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n"]), max_size=20).map(b"".join)


def cut(octets, lengths):
    pieces, position = [], 0
    for length in lengths:
        pieces.append(octets[position : position + length])
        position += length
    return [*pieces, octets[position:]]


@given(CONTENT, st.lists(st.integers(0, 7), max_size=40))
def test_however_the_content_is_cut_the_wire_is_the_same(content, lengths):
    wire = encode(*cut(content, lengths))
    assert wire == encode(content)
    assert wire.endswith(b"\r\n.\r\n") or wire == b".\r\n"
    # The end stands nowhere but at the end, and a receiver gets the content back.
    assert (b"\r\n" + wire).find(b"\r\n.\r\n") == len(wire) - 3
    complete = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    assert (b"\r\n" + wire[:-3]).replace(b"\r\n.", b"\r\n")[2:] == complete


@given(LOOSE, st.lists(st.integers(0, 4), max_size=20))
def test_bare_newlines_are_found_however_the_content_is_cut(content, lengths):
    is_bare = re.search(rb"\r(?!\n)|(?<!\r)\n", content) is not None
    try:
        encode(*cut(content, lengths))
        assert not is_bare
    except BareNewline:
        assert is_bare
