"""Lines end with CRLF and with nothing else."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.lines import LineFault, LineReader, OctetBuffer

LIMIT = 10


def lines_of(*segments, limit=LIMIT):
    buffer = OctetBuffer()
    reader = LineReader(buffer)
    out = []
    for segment in segments:
        buffer.receive(segment)
        while (line := reader.next_line(limit)) is not None:
            out.append(line)
    return out


@pytest.mark.parametrize(
    ("octets", "lines"),
    [
        (b"", []),
        (b"\r\n", [b""]),
        (b"one\r\ntwo\r\n", [b"one", b"two"]),
        (b"one\r\nrest", [b"one"]),
        (b"0123456789\r\n", [b"0123456789"]),
        (b"0123456789x\r\nnext\r\n", [LineFault.TOO_LONG, b"next"]),
        (b"0123456789xyz", [LineFault.TOO_LONG]),
        (b"0123456789\r", []),
        (b"0123456789\rx", [LineFault.TOO_LONG]),
        (b"a\nb\r\nnext\r\n", [LineFault.BARE_NEWLINE, b"next"]),
        (b"a\n", [LineFault.BARE_NEWLINE]),
        (b"a\nb\nc\n", [LineFault.BARE_NEWLINE]),
        (b"\n\r\nnext\r\n", [LineFault.BARE_NEWLINE, b"next"]),
        (b"a\rb\r\nnext\r\n", [LineFault.BARE_NEWLINE, b"next"]),
        (b"a\r\r\nnext\r\n", [LineFault.BARE_NEWLINE, b"next"]),
        (b"a\0b\r\n", [LineFault.NUL]),
        (b"0123456789\nnext\r\nlast\r\n", [LineFault.BARE_NEWLINE, b"last"]),
        (b"0123456789x\nnext\r\nlast\r\n", [LineFault.TOO_LONG, b"last"]),
        ("a\u2028b\r\n".encode(), ["a\u2028b".encode()]),
        (b"a\x0bb\x0cc\x1cd\x85e\r\n", [b"a\x0bb\x0cc\x1cd\x85e"]),  # what str.splitlines would cut
    ],
)
def test_lines(octets, lines):
    assert lines_of(octets) == lines
    assert lines_of(*(octets[n : n + 1] for n in range(len(octets)))) == lines


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bcd", b"\0", b"0123456789"]), max_size=40), st.data())
def test_any_split_gives_the_same_lines(parts, data):
    octets = b"".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(octets)))) | {0, len(octets)})
    segments = [octets[a:b] for a, b in itertools.pairwise(cuts)]
    assert lines_of(*segments) == lines_of(octets)


def test_an_endless_line_costs_no_memory():
    buffer = OctetBuffer()
    reader = LineReader(buffer)
    for _ in range(1_000):
        buffer.receive(b"x" * 10_000)
        reader.next_line(LIMIT)
        assert len(buffer) <= 1


@given(st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 30)), max_size=20))
def test_the_buffer_gives_back_what_it_got(steps):
    buffer = OctetBuffer()
    given_octets = taken = b""
    for octets, count in steps:
        buffer.receive(octets)
        given_octets += octets
        waiting = given_octets[len(taken) :]
        assert len(buffer) == len(waiting)
        assert buffer.peek(count) == waiting[:count]
        assert buffer.find(b"\r\n") == waiting.find(b"\r\n")
        assert buffer.endswith(b"\r") == waiting.endswith(b"\r")
        taken += buffer.take(count)
    assert given_octets.startswith(taken)


def test_a_whole_chunk_goes_through_without_a_copy():
    buffer = OctetBuffer()
    chunk = b"x" * 4096
    buffer.receive(chunk)
    assert buffer.take(4096) is chunk
