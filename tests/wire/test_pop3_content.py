"""What leaves for a POP3 client, compared with a plain line-by-line model, however the content is cut."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.pop3_content import ContentEncoder, encode_whole

CONTENT = st.lists(
    st.sampled_from(
        [b".", b"..", b"\r", b"\n", b"\r\n", b"\r\n.\r\n", b"\n.\n", b"a", b"Subject: x", b"\n\n", b"\xff"]
    ),
    max_size=30,
).map(b"".join)


def model(content: bytes, body_lines: int | None) -> tuple[bytes, int]:
    """RFC 1939, line by line and slowly."""
    crlf = re.sub(rb"(?<!\r)\n", b"\r\n", content)
    if crlf and not crlf.endswith(b"\n"):
        crlf += b"\r\n"
    lines = crlf.split(b"\r\n")[:-1]
    if body_lines is not None and b"" in lines:
        lines = lines[: lines.index(b"") + 1 + body_lines]
    octets = sum(len(line) + 2 for line in lines)
    stuffed = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines)
    return stuffed + b".\r\n", octets


def in_pieces(pieces, body_lines):
    encoder = ContentEncoder(body_lines)
    out = b"".join([encoder.encode(piece) for piece in pieces])
    out += encoder.finish()
    return out, encoder.octets


@given(CONTENT, st.one_of(st.none(), st.integers(0, 4), st.just(99999999)))
def test_whole_content_is_what_the_model_says(content, body_lines):
    assert encode_whole(content, body_lines) == model(content, body_lines)


@given(CONTENT, st.one_of(st.none(), st.integers(0, 4)), st.lists(st.integers(0, 60), max_size=10))
def test_any_split_sends_the_same(content, body_lines, cuts):
    cuts = sorted({0, len(content), *[cut for cut in cuts if cut < len(content)]})
    pieces = [content[a:b] for a, b in itertools.pairwise(cuts)]
    assert in_pieces(pieces, body_lines) == encode_whole(content, body_lines)


@given(CONTENT, st.one_of(st.none(), st.integers(0, 4)))
def test_octet_by_octet_sends_the_same(content, body_lines):
    pieces = [content[at : at + 1] for at in range(len(content))]
    assert in_pieces(pieces, body_lines) == encode_whole(content, body_lines)


@pytest.mark.parametrize(
    ("content", "sent", "octets"),
    [
        (b"", b".\r\n", 0),  # an empty file has no line to end
        (b"a", b"a\r\n.\r\n", 3),  # the terminator needs a line of its own
        (b"a\n", b"a\r\n.\r\n", 3),
        (b"a\r\n", b"a\r\n.\r\n", 3),  # stored with CRLF by others: not doubled
        (b"a\nb\r\nc\n", b"a\r\nb\r\nc\r\n.\r\n", 9),
        (b".\n", b"..\r\n.\r\n", 3),
        (b".", b"..\r\n.\r\n", 3),
        (b"a\n.\nb\n", b"a\r\n..\r\nb\r\n.\r\n", 9),
        (b"a\n..b\n", b"a\r\n...b\r\n.\r\n", 8),
        (b"a\r.b\n", b"a\r.b\r\n.\r\n", 6),  # a bare CR is not a line end
        (b"a\r\r\n", b"a\r\r\n.\r\n", 4),
        (b"a\r", b"a\r\r\n.\r\n", 4),
    ],
)
def test_line_ends_and_dots(content, sent, octets):
    assert encode_whole(content) == (sent, octets)


@pytest.mark.parametrize("size", [65_535, 65_536, 200_000])
def test_a_line_of_any_length_passes_unchanged(size):
    line = b"x" * size
    pieces = [line[at : at + 1000] for at in range(0, size, 1000)]
    assert in_pieces([b"H: v\n\n.", *pieces, b"\n"], None)[0] == b"H: v\r\n\r\n.." + line + b"\r\n.\r\n"


MESSAGE = b"A: 1\nB: 2\n\none\n.two\nthree\n"


@pytest.mark.parametrize(
    ("content", "lines", "sent"),
    [
        (MESSAGE, 0, b"A: 1\r\nB: 2\r\n\r\n.\r\n"),
        (MESSAGE, 2, b"A: 1\r\nB: 2\r\n\r\none\r\n..two\r\n.\r\n"),
        (MESSAGE, 99999999, b"A: 1\r\nB: 2\r\n\r\none\r\n..two\r\nthree\r\n.\r\n"),  # what fetchmail asks
        (b"\nbody\nmore\n", 1, b"\r\nbody\r\n.\r\n"),  # an empty header section
        (b"A: 1\n", 5, b"A: 1\r\n.\r\n"),  # no body at all
        (b"A: 1", 0, b"A: 1\r\n.\r\n"),
    ],
)
def test_top_sends_header_empty_line_and_so_many_lines(content, lines, sent):
    assert encode_whole(content, lines)[0] == sent


def test_top_knows_when_no_more_needs_to_be_read():
    encoder = ContentEncoder(1)
    encoder.encode(b"A: 1\n\none\ntwo\n")
    assert encoder.is_complete
    assert encoder.encode(b"more") == b""


@given(st.integers(0, 3000))
def test_the_cut_is_found_in_a_large_block(lines):
    content = b"A: 1\n\n" + b"".join(b"%d\n" % number for number in range(3000))
    assert encode_whole(content, lines) == model(content, lines)
