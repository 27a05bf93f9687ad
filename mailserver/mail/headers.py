"""Looking at a header section without taking it apart (RFC 5322 2.2, RFC 6532).

Content passes through unchanged, so everything here reads octets and gives slices back; nothing is re-serialised.
Content has CRLF line ends here. A content without any header is allowed: its header section is empty.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# A field name is printable ASCII without colon (RFC 5322 2.2); blanks before the colon are obsolete syntax (4.5).
_FIELD_START = re.compile(rb"([!-9;-~]+)[ \t]*:")
# A line that begins neither a field nor a fold, found in one pass: a header may hold 60,000 lines.
_BAD_LINE = re.compile(rb"\r\n(?![ \t]|[!-9;-~]+[ \t]*:)")


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One field: `name` in lower case, `raw` all its octets with folds and final CRLF, `start` its offset."""

    name: bytes
    raw: bytes
    start: int

    @property
    def value(self) -> bytes:
        """What stands behind the colon, unfolded, without surrounding blanks."""
        return self.raw.partition(b":")[2].replace(b"\r\n", b"").strip(b" \t")


def header_end(content: bytes) -> int:
    """The offset just behind the header section's last CRLF, before the empty line; 0 when there is no header.

    Content whose first line is no field has no header section. A header section that never ends is all of `content`
    up to its last CRLF.
    """
    if not _FIELD_START.match(content):
        return 0
    end = content.find(b"\r\n\r\n")
    limit = end + 2 if end >= 0 else content.rfind(b"\r\n") + 2
    if limit < 2:
        return 0
    # The section ends earlier at a line that is neither a field nor a fold: some clients forget the empty line.
    bad = _BAD_LINE.search(content, 0, limit - 2)
    return limit if bad is None else bad.start() + 2


def fields(section: bytes) -> Iterator[HeaderField]:
    """The fields of a header section (as cut by `header_end`), in order."""
    position = 0
    while position < len(section):
        stop = _field_end(section, position)
        match = _FIELD_START.match(section, position, stop)
        if match:
            yield HeaderField(match.group(1).lower(), section[position:stop], position)
        position = stop


def _field_end(section: bytes, position: int) -> int:
    """Where the field that begins at `position` ends, behind its folds and its CRLF."""
    end = section.find(b"\r\n", position)
    while end >= 0 and section[end + 2 : end + 3] in (b" ", b"\t"):
        end = section.find(b"\r\n", end + 2)
    return len(section) if end < 0 else end + 2


def fields_named(section: bytes, name: bytes) -> Iterator[HeaderField]:
    """The fields of this lower-case name, in order.

    Quicker than `fields`, because nothing else is looked at; a name with blanks before its colon is passed over.
    """
    lowered = b"\r\n" + section.lower()
    wanted = b"\r\n" + name + b":"
    position = lowered.find(wanted)
    while position >= 0:
        stop = _field_end(section, position)
        yield HeaderField(name, section[position:stop], position)
        position = lowered.find(wanted, stop)


def count_fields(section: bytes, name: bytes) -> int:
    """How many fields of this lower-case name there are; loop detection counts `received` (RFC 5321 6.3)."""
    lowered = b"\r\n" + section.lower()
    return lowered.count(b"\r\n" + name + b":")


def first_value(section: bytes, name: bytes) -> bytes:
    """The value of the first field of this lower-case name, unfolded; empty when there is none."""
    found = next(fields_named(section, name), None)
    return b"" if found is None else found.value


def field_end(section: bytes, position: int) -> int:
    """Behind the folds and the line end of the field in which `position` is."""
    while True:
        position = section.find(b"\n", position) + 1
        if not position:
            return len(section)
        if section[position : position + 1] not in (b" ", b"\t"):
            return position
