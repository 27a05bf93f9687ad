"""Reads SMTP replies out of octets that a stranger sends (RFC 5321 4.2).

Tolerant where nothing hangs on it, bounded always:

- a line ends at LF, with or without CR before it;
- `250` alone, and a tab instead of the blank behind the code, are taken;
- inside a multi-line reply a line without a code counts as text;
- if the codes of a multi-line reply differ but begin with the same digit, the last one counts;
- a line is cut at 4 KiB, a reply that goes on past 64 KiB or 1,000 lines is a fault.

A `ReplyFault` is final for the connection: nobody can tell any more which reply belongs to which command. Since it is
not an answer, it never bounces anything.
"""

import re
from collections import deque
from dataclasses import dataclass

from mailserver.mail.reply import Reply

MAX_LINE_OCTETS = 4096
MAX_REPLY_OCTETS = 64 * 1024
MAX_REPLY_LINES = 1000
# How much of a faulty reply is kept for the operator.
_KEPT_LINES = 10

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: |$)")


@dataclass(frozen=True, slots=True)
class ReplyFault:
    """Octets that are no reply. `reason` in plain words; `lines` the first lines as they came."""

    reason: str
    lines: tuple[str, ...] = ()


class ReplyParser:
    """Octets in by `receive`, replies out by `next_reply`. Replies do not depend on how the octets are cut."""

    def __init__(self) -> None:
        self._replies: deque[Reply | ReplyFault] = deque()
        self._line = bytearray()
        self._lines: list[bytes] = []
        self._octets = 0
        self._is_broken = False

    @property
    def has_input(self) -> bool:
        """Whether a reply, or the beginning of one, waits: the peer has said more than it was asked."""
        return bool(self._replies) or self._octets > 0

    def receive(self, octets: bytes) -> None:
        """Take what came. After a fault everything else is ignored."""
        position = 0
        while position < len(octets) and not self._is_broken:
            end = octets.find(b"\n", position)
            stop = len(octets) if end < 0 else end
            left = MAX_REPLY_OCTETS - self._octets
            room = min(MAX_LINE_OCTETS - len(self._line), left)
            self._line += octets[position : min(stop, position + room)]
            if stop - position + (end >= 0) > left:
                self._break("a reply without end")
                return
            self._octets += stop - position + (end >= 0)
            position = stop + 1
            if end >= 0:
                self._end_line()

    def next_reply(self) -> Reply | ReplyFault | None:
        """The next reply in order, or None when more octets are needed."""
        return self._replies.popleft() if self._replies else None

    def _end_line(self) -> None:
        line = bytes(self._line).rstrip(b"\r")
        self._line.clear()
        if not self._lines and _is_last(line):
            self._replies.append(_short_reply(line))
            self._octets = 0
            return
        self._lines.append(line)
        if _is_last(line):
            self._finish()
        elif not _is_continued(line) and len(self._lines) == 1:
            self._break("something that is no SMTP reply")
        elif len(self._lines) >= MAX_REPLY_LINES:
            self._break("a reply of too many lines")

    def _finish(self) -> None:
        reply = _reply(self._lines)
        if isinstance(reply, ReplyFault):
            self._is_broken = True
        self._replies.append(reply)
        self._lines.clear()
        self._octets = 0

    def _break(self, reason: str) -> None:
        self._is_broken = True
        lines = [*self._lines, bytes(self._line)] if self._line else self._lines
        self._replies.append(ReplyFault(reason, tuple(_text(line) for line in lines[:_KEPT_LINES])))
        self._octets = 0


def _has_code(line: bytes) -> bool:
    """Three ASCII digits that RFC 5321 4.2.1 knows; 1yz is not used by SMTP."""
    code = line[:3]
    return len(code) == 3 and code.isdigit() and b"2" <= code[:1] <= b"5"


def _is_last(line: bytes) -> bool:
    return _has_code(line) and line[3:4] in (b"", b" ", b"\t")


def _is_continued(line: bytes) -> bool:
    return _has_code(line) and line[3:4] == b"-"


def _short_reply(line: bytes) -> Reply:
    """Nearly all replies are one line, and nothing in it can contradict."""
    text = _text(line[4:])
    found = _ENHANCED.match(text)
    if found is None or text[0] != chr(line[0]):
        return Reply(int(line[:3]), "", (text,))
    return Reply(int(line[:3]), found[1], (text[found.end() :],))


def _reply(lines: list[bytes]) -> Reply | ReplyFault:
    codes = [int(line[:3]) for line in lines if _is_continued(line) or _is_last(line)]
    texts = [_text(line[4:] if _is_continued(line) or _is_last(line) else line) for line in lines]
    if len({code // 100 for code in codes}) > 1:
        return ReplyFault("a reply whose lines contradict each other", tuple(map(_text, lines[:_KEPT_LINES])))
    enhanced, texts = _take_enhanced(codes[-1], texts)
    return Reply(codes[-1], enhanced, tuple(texts))


def _take_enhanced(code: int, texts: list[str]) -> tuple[str, list[str]]:
    """RFC 2034 4: the enhanced code stands on every line. One whose class contradicts the reply code stays text."""
    found = _ENHANCED.match(texts[-1]) or _ENHANCED.match(texts[0])
    if found is None or found[1][0] != str(code)[0]:
        return "", texts
    enhanced = found[1]
    shorter = []
    for text in texts:
        same = _ENHANCED.match(text)
        shorter.append(text[same.end() :] if same and same[1] == enhanced else text)
    return enhanced, shorter


def _text(line: bytes) -> str:
    """UTF-8 if it is that (RFC 6531 3.7.4.2), else every octet as one character; controls are left to the reader."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")
