"""The addresses in a header field or on a command line, where they stand, read leniently (RFC 5322 3.4, 4.4).

For `sendmail`: whom a message is for (`-t`), and which addresses of a header lack their domain. What must not be
forged is read by `address_list`, strictly. Nothing is re-serialised: places are told, and text is put in between.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.headers import fields

_TOKEN = re.compile(
    rb'"(?:[^"\\]|\\.)*"?'  # quoted, perhaps without its end
    rb"|\[[^\]]*\]?"  # a domain literal, which may hold colons
    rb"|[ \t\r\n]+"
    rb"|[()<>,;:\\]"
    rb'|[^"\[ \t\r\n()<>,;:\\]+',
    re.DOTALL,
)
_IN_COMMENT = re.compile(rb"[()]|\\.", re.DOTALL)
# One local-part that may stand unquoted, of any script.
_BARE = re.compile(rb"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.\x80-\xff]+\Z")

_WITH_ADDRESSES = frozenset(
    prefix + name for prefix in (b"", b"resent-") for name in (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")
)


@dataclass(slots=True)
class _Part:
    """What stands between two commas: plain text, and what is in angle brackets."""

    plain: tuple[int, int] | None = None
    angle: tuple[int, int] | None = None

    def take(self, start: int, end: int) -> None:
        self.plain = (start if self.plain is None else self.plain[0], end)


def address_spans(value: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each address in `value`, a field's text or a list of addresses; empty ones are left out.

    Display names, comments and the names of groups are passed over. An address that is none is told too.
    """
    part, position, angle_start = _Part(), 0, -1
    while (token := _TOKEN.match(value, position)) is not None:
        position, what = token.end(), token.group()
        if what == b"(":
            position = _comment_end(value, position)
        elif what == b">" and angle_start >= 0:
            part.angle, angle_start = (angle_start, token.start()), -1
        elif angle_start >= 0 or what.isspace():
            continue
        elif what == b"<":
            angle_start = position
        elif what in (b",", b";"):
            yield from _told(value, part)
            part = _Part()
        elif what == b":":
            part = _Part()  # it was the name of a group
        else:
            part.take(token.start(), position)
    if angle_start >= 0:
        part.angle = (angle_start, len(value))
    yield from _told(value, part)


def _comment_end(value: bytes, position: int) -> int:
    depth = 1
    for found in _IN_COMMENT.finditer(value, position):
        depth += {b"(": 1, b")": -1}.get(found.group(), 0)
        if not depth:
            return found.end()
    return len(value)


def _told(value: bytes, part: _Part) -> Iterator[tuple[int, int]]:
    span = part.angle or part.plain
    if span is None:
        return
    start, end = span
    while start < end and value[start : start + 1].isspace():
        start += 1
    while end > start and value[end - 1 : end].isspace():
        end -= 1
    if end > start:
        yield start, end


def addresses_in_text(text: str) -> list[str]:
    """The addresses of a text such as `a@x.example, Bob <b@y.example>`, as they were written."""
    octets = text.encode("utf-8", "surrogateescape")
    return [octets[start:end].decode("utf-8", "surrogateescape") for start, end in address_spans(octets)]


def mailbox_with_domain(text: str, domain: str) -> Mailbox | SyntaxFault:
    """An address that may lack its domain, then it is one of `domain` (RFC 6409 4.2)."""
    found = parse_mailbox(text)
    if isinstance(found, Mailbox):
        return found if found.domain else Mailbox(found.local_part, domain)
    if "@" in text:
        return found
    return parse_mailbox(f"{text}@{domain}")


def with_domains(section: bytes, domain: str) -> bytes:
    """A header section whose bare addresses have got `@domain`; everything else stays octet for octet.

    RFC 6409 4.2 and 8.2. Programs of this machine write `From: root`; other servers refuse that.
    """
    added = b"@" + domain.encode("ascii")
    out: list[bytes] = []
    place = 0
    for field in fields(section):
        if field.name not in _WITH_ADDRESSES:
            continue
        offset = field.start + field.raw.index(b":") + 1
        for start, end in address_spans(section[offset : field.start + len(field.raw)]):
            if _BARE.match(section, offset + start, offset + end):
                out += (section[place : offset + end], added)
                place = offset + end
    out.append(section[place:])
    return b"".join(out)
