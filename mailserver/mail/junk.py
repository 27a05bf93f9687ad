"""Junk: where it goes, and how a message says that it is some.

The fields are those that mail programs look for since SpamAssassin: `X-Spam-Flag: YES`, and `X-Spam-Status` that begins
with `Yes` or `No`. Whoever writes them takes those out first that a stranger sent along.
"""

import re
from dataclasses import dataclass
from enum import Enum

from mailserver.mail.headers import field_end

# The Maildir++ folder. Dovecot and most mail programs call it so.
JUNK_FOLDER = "Junk"
# What the fields may take in all.
MAX_FIELDS_OCTETS = 1536
# What stands in a content that is streamed until they are known: as many octets and line ends as `padded_fields_of`.
PLACE = b"\0" * 800 + b"\r\n" * 2
_MAX_STATUS_OCTETS = 900
_MAX_TESTS = 20
_MAX_LISTS = 5
_MAX_NAME_CHARS = 60
_MAX_VALUE_CHARS = 200

_FORGED = re.compile(rb"(?:\A|(?<=\n))x-spam-[!-9;-~]*[ \t]*:", re.IGNORECASE)
_MARK = b"x-spam-"
_FIELD_NAME = re.compile(r"X-Spam-[A-Za-z0-9-]{1,40}\Z", re.ASCII)
_OURS = frozenset(("x-spam-flag", "x-spam-status"))


class JunkDelivery(Enum):
    """Where junk goes."""

    INBOX = "inbox"  # marked: POP3 shows nothing else
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class Marks:
    """What is written about a message that was weighed.

    `score` is the filter's (None: it did not look), `tests` the names of what it found, the heaviest
    first. `lists` are block lists, `dmarc` the domain in From that asks for quarantine. `fields` are further fields of
    the filter's (`usable_field`).
    """

    is_junk: bool
    score: float | None = None
    tests: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    dmarc: str = ""
    fields: tuple[tuple[str, str], ...] = ()


def fields_of(marks: Marks) -> bytes:
    """The fields with their CRLF, each on one line of at most 998 octets, all within `MAX_FIELDS_OCTETS`."""
    flag, status = _flag(marks), _status(marks)
    room = MAX_FIELDS_OCTETS - len(flag) - len(status)
    further = b""
    for name, value in marks.fields:
        field = f"{name}: {value}\r\n".encode("ascii", "replace")
        if len(further) + len(field) <= room:
            further += field
    return flag + further + status


def padded_fields_of(marks: Marks) -> bytes:
    """The fields without further ones, always of the same length (`PLACE`): blanks fill them up."""
    room = len(PLACE) - 4
    flag = _flag(marks).removesuffix(b"\r\n").ljust(len(b"X-Spam-Flag: YES"))
    status = _status(marks).removesuffix(b"\r\n")[: room - len(flag)]
    return flag + b"\r\n" + status.ljust(room - len(flag)) + b"\r\n"


def _flag(marks: Marks) -> bytes:
    return b"X-Spam-Flag: YES\r\n" if marks.is_junk else b"X-Spam-Flag: NO\r\n"


def _status(marks: Marks) -> bytes:
    words = ["Yes" if marks.is_junk else "No"]
    if marks.score is not None:
        words[0] += ","
        words.append(f"score={marks.score:.2f}")
    words += [f"dnsbl={_word(name)}" for name in marks.lists[:_MAX_LISTS]]
    if marks.dmarc:
        words.append(f"dmarc={_word(marks.dmarc)}")
    if marks.tests:
        words.append("tests=" + ",".join(_word(test) for test in marks.tests[:_MAX_TESTS]))
    return f"X-Spam-Status: {' '.join(words)}"[:_MAX_STATUS_OCTETS].encode("ascii", "replace") + b"\r\n"


def usable_field(name: str, value: str) -> tuple[str, str] | None:
    """A field that the filter wants to see in the message, made safe; None for one that it may not write."""
    if not _FIELD_NAME.match(name) or name.lower() in _OURS:
        return None
    text = "".join(char if " " <= char <= "~" else "?" for char in value[:_MAX_VALUE_CHARS]).strip()
    return (name, text) if text else None


def _word(text: str) -> str:
    """Without anything that could end a word."""
    return "".join(char if "!" <= char <= "~" and char not in ",;=()" else "_" for char in text[:_MAX_NAME_CHARS])


def without_marks(content: bytes) -> bytes:
    """The content, of which this is at least the header, without fields `X-Spam-...`; the very same octets for none."""
    if content.startswith(b"\r\n"):
        return content  # there is no header
    end = content.find(b"\r\n\r\n")
    seen = content[: end + 2] if end >= 0 else content
    if _MARK not in seen.lower():
        return content
    kept: list[bytes] = []
    position = 0
    for found in _FORGED.finditer(seen):
        kept.append(seen[position : found.start()])
        position = field_end(seen, found.end())
    return b"".join((*kept, content[position:])) if position else content
