"""Where a content ends, what it is, and what is wrong with it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.wire.data import ContentCheck, ContentFault, DataReader
from mailserver.wire.lines import OctetBuffer


def read(*segments, repairs=False, max_octets=10**6):
    """Content, whether it ended, what is left in the buffer, faults, size."""
    buffer = OctetBuffer()
    reader = DataReader(buffer)
    check = ContentCheck(max_octets=max_octets, repairs=repairs)
    content, is_end = b"", False
    for segment in segments:
        buffer.receive(segment)
        if not is_end:
            piece, is_end = reader.read()
            content += check.take(piece)
    return content, is_end, buffer.peek(10**6), check.faults, check.size_octets


def bytewise(octets):
    return [octets[n : n + 1] for n in range(len(octets))]


@pytest.mark.parametrize(
    ("wire", "content", "left"),
    [
        (b".\r\n", b"", b""),  # the CRLF of the DATA command counts
        (b"\r\n.\r\n", b"\r\n", b""),
        (b"a\r\n.\r\n", b"a\r\n", b""),
        (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
        (b".\r\nQUIT\r\n", b"", b"QUIT\r\n"),
        (b"..\r\n.\r\n", b".\r\n", b""),  # RFC 5321 4.5.2
        (b"..a\r\n.\r\n", b".a\r\n", b""),
        (b".a\r\n.\r\n", b"a\r\n", b""),  # a dot is removed whatever follows it
        (b"...\r\n.\r\n", b"..\r\n", b""),
        (b"a\r\n..\r\n.\r\n", b"a\r\n.\r\n", b""),
        (b"a\r\n..\r\n..\r\n.\r\n", b"a\r\n.\r\n.\r\n", b""),
        (b"a\r\n.b\r\n.\r\n", b"a\r\nb\r\n", b""),
        (b"a.\r\n.\r\n", b"a.\r\n", b""),
        (b"a\r\n\r\n.\r\n", b"a\r\n\r\n", b""),
        (b"a\r\n. \r\n.\r\n", b"a\r\n \r\n", b""),
        (b"a\r\n.\r\n.\r\n", b"a\r\n", b".\r\n"),
        (b"x" * 5000 + b"\r\n.\r\n", b"x" * 5000 + b"\r\n", b""),
        ("ü\u2028\x85\r\n.\r\n".encode(), "ü\u2028\x85\r\n".encode(), b""),
    ],
)
def test_end_of_data_and_dots(wire, content, left):
    assert read(wire) == (content, True, left, set(), len(content))
    got, is_end, rest, _, _ = read(*bytewise(wire))
    assert (got, is_end) == (content, True)
    assert rest == left


# Everything that some server somewhere took for the end of data (SEC Consult, December 2023, and later finds).
FALSE_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\n.\r",
    b"\r.\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\n\n.\n\n",
    b"\r\n.\0\r\n",
    b"\r\n\0.\r\n",
    b"\r\0\n.\r\n",
]


@pytest.mark.parametrize("false_end", FALSE_ENDS)
def test_nothing_but_crlf_dot_crlf_ends_data(false_end):
    """What stands behind is content, not commands, and the message has a fault."""
    wire = b"a" + false_end + b"MAIL FROM:<x@y.z>\r\n.\r\nQUIT\r\n"
    for segments in ([wire], bytewise(wire)):
        _, is_end, left, faults, _ = read(*segments)
        assert is_end
        assert left == b"QUIT\r\n"
        assert faults


@pytest.mark.parametrize(
    "lookalike", ["\u2028.\u2028", "\x85.\x85", "\x0b.\x0b", "\x0c.\x0c", "\x1c.\x1c", "\u2029.\u2029"]
)
def test_line_separators_of_other_kinds_are_ordinary_text(lookalike):
    wire = b"a" + lookalike.encode() + b"b\r\n.\r\n"
    content, is_end, _, faults, _ = read(wire)
    assert (content, is_end, faults) == (wire[:-3], True, set())


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (b"a\nb\r\n", {ContentFault.BARE_NEWLINE}),
        (b"a\rb\r\n", {ContentFault.BARE_NEWLINE}),
        (b"\na\r\n", {ContentFault.BARE_NEWLINE}),
        (b"a\r\r\n", {ContentFault.BARE_NEWLINE}),
        (b"a\n\r\n", {ContentFault.BARE_NEWLINE}),
        (b"a\n\rb\r\n", {ContentFault.BARE_NEWLINE}),  # one CR and one LF in the wrong order
        (b"a\0b\r\n", {ContentFault.NUL}),
        (b"a\0\n\r\n", {ContentFault.NUL, ContentFault.BARE_NEWLINE}),
        (b"a\r\n", set()),
        (b"\x80\xff\x01\x1b\t\r\n", set()),
    ],
)
def test_faults_do_not_depend_on_the_cut(content, faults):
    wire = content + b".\r\n"
    for place in range(len(wire) + 1):
        assert read(wire[:place], wire[place:])[3] == faults
    assert read(*bytewise(wire))[3] == faults


def test_too_long_is_told_with_the_true_size_and_nothing_more_is_handed_on():
    content, is_end, _, faults, size = read(b"12345\r\n", b"67890\r\n.\r\n", max_octets=10)
    assert (is_end, faults, size) == (True, {ContentFault.TOO_LONG}, 14)
    assert content == b"12345"
    assert read(b"12345678\r\n.\r\n", max_octets=10)[3] == set()


@pytest.mark.parametrize(
    ("content", "repaired"),
    [
        (b"a\nb\r\n", b"a\r\nb\r\n"),
        (b"a\rb\r\n", b"a\r\nb\r\n"),
        (b"a\r\r\nb\r\n", b"a\r\n\r\nb\r\n"),
        (b"a\n\rb\r\n", b"a\r\n\r\nb\r\n"),
        (b"\n\n\n\r\n", b"\r\n\r\n\r\n\r\n"),
        (b"a\n.\nb\r\n", b"a\r\n.\r\nb\r\n"),  # content still; the dot is stuffed when it is sent on
        (b"a\n..b\r\n", b"a\r\n..b\r\n"),
    ],
)
def test_repair_makes_each_bare_cr_and_lf_a_crlf(content, repaired):
    wire = content + b".\r\n"
    for place in range(len(wire) + 1):
        got, is_end, _, faults, size = read(wire[:place], wire[place:], repairs=True)
        assert (got, is_end, faults, size) == (repaired, True, set(), len(repaired))


PARTS = st.lists(
    st.sampled_from([b"\r\n", b".", b"..", b"\r\n.", b"a", b"bc", b" ", b"\xff", b"\r\n..\r\n", b"x" * 70]), max_size=60
)


def cut(octets, data):
    places = sorted(data.draw(st.sets(st.integers(0, len(octets)))) | {0, len(octets)})
    return [octets[a:b] for a, b in itertools.pairwise(places)]


def reference(wire):
    """RFC 5321 4.5.2 line by line, slowly: content, and what is left."""
    out, rest = [], wire
    while True:
        line, crlf, rest = rest.partition(b"\r\n")
        if not crlf:
            return None
        if line == b".":
            return b"".join(out), rest
        out.append((line[1:] if line.startswith(b".") else line) + b"\r\n")


@given(PARTS, st.data())
def test_any_split_reads_what_a_slow_reader_reads(parts, data):
    wire = b"".join(parts) + b"\r\n.\r\nQUIT\r\n"
    content, is_end, left, faults, _ = read(*cut(wire, data))
    expected, rest = reference(wire)
    assert (content, is_end, faults) == (expected, True, set())
    assert left == rest


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b"\0", b"\r\n.\r\n"]), max_size=30), st.data())
def test_any_split_finds_the_same_end_and_the_same_faults(parts, data):
    wire = b"".join(parts)
    _, *whole = read(wire)
    _, *in_pieces = read(*cut(wire, data))
    assert in_pieces[0] == whole[0]
    if whole[0]:  # an unfinished content is counted up to what cannot be decided yet
        assert in_pieces[1:] == whole[1:]


@given(st.binary(max_size=200).map(lambda octets: octets.replace(b"\0", b"")), st.data())
def test_chunks_of_bdat_are_repaired_alike_however_cut(octets, data):
    def run(segments):
        check = ContentCheck(max_octets=1000, repairs=True)
        return b"".join(check.take_any(segment) for segment in segments) + check.finish(), check.size_octets

    whole, size = run([octets])
    assert run(cut(octets, data)) == (whole, size)
    assert size == len(whole)
    assert b"\n" not in whole.replace(b"\r\n", b"")
    assert b"\r" not in whole.replace(b"\r\n", b"")
    assert whole == b"" or whole.endswith(b"\r\n")


@pytest.mark.parametrize(
    ("chunks", "content", "faults"),
    [
        ([b""], b"", set()),
        ([b"a"], b"a\r\n", set()),
        ([b"a\r\n"], b"a\r\n", set()),
        ([b"a\r", b"\nb"], b"a\r\nb\r\n", set()),
        ([b"a\r", b"b"], None, {ContentFault.BARE_NEWLINE}),
        ([b"a\r"], None, {ContentFault.BARE_NEWLINE}),
        ([b"a", b"\nb"], None, {ContentFault.BARE_NEWLINE}),
        ([b"\r\n.\r\n", b".."], b"\r\n.\r\n..\r\n", set()),  # no dots are removed (RFC 3030 2)
        ([b"a\0"], None, {ContentFault.NUL}),
    ],
)
def test_chunks(chunks, content, faults):
    check = ContentCheck(max_octets=1000, repairs=False)
    got = b"".join([check.take_any(chunk) for chunk in chunks]) + check.finish()
    assert check.faults == faults
    if content is not None:
        assert got == content
