"""Targets: what a filter answers, and the marks that a stranger forged."""

from collections.abc import Iterator

from mailserver.mail.junk import MAX_FIELDS_OCTETS, Marks, fields_of, usable_field, without_marks
from mailserver.policy.rspamd import NoAnswer, read_answer

_ANSWER = (
    b'{"action": "add header", "score": 8.1, "required_score": 15.0, "symbols": {"BAYES_SPAM": {"score": 5.1}, '
    b'"GOOD": {"score": -0.5}}, "messages": {"smtp_message": "Gtube pattern"}, "milter": {"add_headers": '
    b'{"X-Spam-Level": {"value": "*****", "order": 0}, "X-Spam-A": ["b"]}}}'
)


def filter_answer(octets: bytes) -> None:
    """An answer of rspamd: a bounded verdict in printable words, or a fault in words of ours."""
    try:
        scan = read_answer(octets)
    except NoAnswer as fault:
        assert len(str(fault)) < 300 and str(fault).isprintable()
        return
    assert str(scan).isascii() and str(scan).isprintable() and len(str(scan)) < 1000
    assert scan.message.isascii() and scan.message.isprintable() and len(scan.message) <= 200
    marks = Marks(True, scan.score, tuple(name for name, _ in scan.symbols), (), "", scan.fields)
    written = fields_of(marks)
    assert written.isascii() and len(written) <= MAX_FIELDS_OCTETS
    assert all(line.startswith(b"X-Spam-") and len(line) <= 998 for line in written[:-2].split(b"\r\n"))


def forged_marks(octets: bytes) -> None:
    """A content with CRLF line ends: no mark is left in its header, and nothing else is gone."""
    content = octets.replace(b"\r", b"").replace(b"\n", b"\r\n")
    left = without_marks(content)
    assert without_marks(left) == left and len(left) <= len(content)
    header = b"" if left.startswith(b"\r\n") else left.partition(b"\r\n\r\n")[0]
    for line in header.split(b"\r\n"):
        name, colon, _ = line.partition(b":")
        # Letters that become ASCII ones when they are made great are no letters of such a name.
        if colon and name.isascii() and usable_field(name.rstrip(b" \t").decode("latin-1").title(), "x") is not None:
            raise AssertionError("a mark is left")
    if b"x-spam-" not in content.lower():
        assert left == content


def filter_answer_seeds() -> Iterator[bytes]:
    yield _ANSWER
    yield b'{"action": "reject"}'
    yield b'{"error": "no"}'


def forged_marks_seeds() -> Iterator[bytes]:
    yield b"From: a@b.example\nX-Spam-Status: No,\n score=1\nx-spam-flag : NO\nSubject: x\n\nX-Spam-Flag: x\n"
    yield b"X-Spam-Level: *\n"
