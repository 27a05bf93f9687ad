"""The message that `sendmail` reads: where it ends, for whom it is, and what its header lacks."""

import re
import time
from collections.abc import Callable

from mailserver.mail.address_fields import address_spans
from mailserver.mail.headers import fields, header_end

_PIECE_OCTETS = 64 * 1024
# A line with only a dot, or the same as the last line without its end.
_DOT_LINE = re.compile(rb"(?:\A|\n)\.\r?\n")
_ADDRESS_FIELDS = (b"to", b"cc", b"bcc")
_BLIND = frozenset((b"bcc", b"resent-bcc"))
# Text that may stand in a display name without quotes (RFC 5322 3.2.3).
_PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]+\Z")


class MessageFault(Exception):
    """The message cannot be taken as it is."""


class TooLarge(Exception):
    """It is larger than the server takes."""


def read_message(read: Callable[[int], bytes], *, ignores_dots: bool, max_octets: int) -> bytes:
    """The message with CRLF line ends; `read` gives what there is, at most so many octets, and nothing at the end.

    A line with only a dot ends it unless `ignores_dots`; what follows is not read. A first line `From ...` of an mbox
    file is left out. Raises `MessageFault` or `TooLarge`, and what `read` raises.
    """
    found = bytearray()
    looked = 0
    while piece := read(_PIECE_OCTETS):
        found += piece
        if len(found) > max_octets:
            raise TooLarge
        if not ignores_dots:
            dot = _DOT_LINE.search(found, looked)
            if dot is not None:
                del found[dot.start() + (0 if dot.start() == 0 and found[:1] == b"." else 1) :]
                break
            looked = max(0, len(found) - 3)
    else:
        if not ignores_dots and (found == b"." or found.endswith(b"\n.")):
            del found[-1:]
    if b"\0" in found:
        raise MessageFault("the message holds a NUL")
    content = bytes(found)
    if content.startswith(b"From "):
        content = content.partition(b"\n")[2]
    content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return content if not content or content.endswith(b"\r\n") else content + b"\r\n"


def header_recipients(content: bytes) -> list[str]:
    """Whom the header names: To, Cc and Bcc, or only their Resent- forms when there are such (RFC 5322 3.6.6)."""
    named: dict[bytes, list[str]] = {}
    for field in fields(content[: header_end(content)]):
        value = field.value
        for start, end in address_spans(value):
            named.setdefault(field.name, []).append(value[start:end].decode("utf-8", "surrogateescape"))
    resent = [address for name in _ADDRESS_FIELDS for address in named.get(b"resent-" + name, ())]
    found = resent or [address for name in _ADDRESS_FIELDS for address in named.get(name, ())]
    return list(dict.fromkeys(found))


def completed(content: bytes, *, sender: str, full_name: str, now: float, drops_blind: bool) -> bytes:
    """The message with From and Date when it has none; without Bcc when `drops_blind`.

    Date is when the message was written, so it is not left to the server, which may be down for hours. Message-ID and
    the domains of bare names are the server's to add.
    """
    end = header_end(content)
    section, body = content[:end], content[end:]
    names = set()
    kept: list[bytes] = []
    for field in fields(section):
        names.add(field.name)
        if not (drops_blind and field.name in _BLIND):
            kept.append(field.raw)
    added = ""
    if b"from" not in names:
        added += f"From: {_display_name(full_name)}<{sender}>\r\n"
    if b"date" not in names:
        added += time.strftime("Date: %a, %d %b %Y %H:%M:%S %z\r\n", time.localtime(now))
    if not section and not body.startswith(b"\r\n"):
        body = b"\r\n" + body
    return added.encode("utf-8", "replace") + b"".join(kept) + body


def _display_name(full_name: str) -> str:
    """The name with a blank behind it; as quoted text or encoded word (RFC 2047) where it has to be."""
    name = "".join(char for char in full_name if char.isprintable()).strip()
    if not name:
        return ""
    if not name.isascii():
        from email.header import Header

        return f"{Header(name, 'utf-8', maxlinelen=60).encode(linesep=chr(13) + chr(10))} "
    if _PLAIN_NAME.match(name):
        return f"{name} "
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" '
