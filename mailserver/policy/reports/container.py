"""Where in a message or a file a report stands, and how it is unpacked. Pure; every octet and every step is bounded.

One way in for both kinds of reports and for every wrapping that is met: a message with a zip, a gzip, a plain XML or
JSON as its only content or as one of its parts; or just such a file. What something is, is told by its first octets:
media types and file names of reporters are too often wrong.

Only the first member of a zip is looked at (RFC 7489 7.2.1.1: there is one), by its own header and never by the
directory at the end, so that no directory can lie about sizes or counts. What is packed twice is not unpacked twice.
"""

import binascii
import quopri
import zlib
from collections.abc import Iterator
from email.message import Message

from mailserver.mail.fault import SyntaxFault
from mailserver.mail.headers import first_value, header_end

# A message or file that is looked at, and what comes out of it. Reports about small domains have some kilobytes.
MAX_OCTETS = 12_000_000
MAX_UNPACKED = 20_000_000
MAX_PARTS = 50
MAX_DEPTH = 4
# Reports in one message.
MAX_REPORTS = 5
_MAX_FIELD_CHARS = 2000
_MAX_SECTION = 64 * 1024
_PIECE = 64 * 1024

_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_STORED, _DEFLATED = 0, 8
_ZIP_HEADER = 30
_MULTIPART = "multipart"


def reports_in(octets: bytes) -> list[bytes | SyntaxFault]:
    """What looks like a report in a file or a message, unpacked; a fault for one that cannot be unpacked.

    At most `MAX_REPORTS`, and `MAX_UNPACKED` octets in all. Empty: it is mail like any other.
    """
    if len(octets) > MAX_OCTETS:
        return [SyntaxFault(f"it is larger than {MAX_OCTETS} octets")]
    found: list[bytes | SyntaxFault] = []
    left = MAX_UNPACKED
    for packed in _candidates(octets):
        one = _unpacked(packed, left)
        if not isinstance(one, SyntaxFault):
            left -= len(one)
        found.append(one)
        if len(found) == MAX_REPORTS:
            break
    return found


def _candidates(octets: bytes) -> Iterator[bytes]:
    if _is_report(octets):
        yield octets
    else:
        yield from _parts(octets.replace(b"\r\n", b"\n"), MAX_DEPTH, [MAX_PARTS])


def _is_report(octets: bytes) -> bool:
    """Whether the first octets are those of a container or of a report itself."""
    if octets.startswith((_GZIP, _ZIP)) or _looks_plain(octets):
        return True
    return octets.startswith(_BOMS[1:])


def _looks_plain(octets: bytes) -> bool:
    text = octets[:200].removeprefix(_BOMS[0]).lstrip()
    return text.startswith((b"<?xml", b"<feedback", b"{")) or (text.startswith(b"<") and b":feedback" in text[:60])


# --- a message --------------------------------------------------------------------------------------------------------


def _parts(entity: bytes, depth: int, left: list[int]) -> Iterator[bytes]:
    """The contents of a MIME entity (line ends LF) that look like reports. `left`: how many may still be looked at."""
    left[0] -= 1
    if left[0] < 0:
        return
    end = entity.find(b"\n\n", 0, _MAX_SECTION)
    if entity.startswith(b"\n"):
        section, body = b"", entity[1:]
    elif end < 0:
        return
    else:
        section, body = entity[: end + 1].replace(b"\n", b"\r\n"), entity[end + 2 :]
    kind, boundary = _content_type(section)
    if kind == _MULTIPART:
        if boundary and depth:
            for part in _split(body, boundary, left):
                yield from _parts(part, depth - 1, left)
        return
    content = _decoded(section, body)
    if _is_report(content):
        yield content


def _content_type(section: bytes) -> tuple[str, bytes]:
    """The main type, and the boundary of a multipart."""
    value = first_value(section[: header_end(section)], b"content-type").decode("latin-1")
    if not value or len(value) > _MAX_FIELD_CHARS:
        return "", b""
    message: Message = Message()
    message["content-type"] = " ".join(value.split())
    kind = message.get_content_maintype()
    boundary = message.get_boundary("") if kind == _MULTIPART else ""
    return kind, (boundary or "").encode("latin-1", "replace")


def _split(body: bytes, boundary: bytes, left: list[int]) -> Iterator[bytes]:
    """The parts between delimiter lines (RFC 2046 5.1.1)."""
    delimiter = b"\n--" + boundary
    body = b"\n" + body
    position = body.find(delimiter)
    while position >= 0 and left[0] > 0:
        start = body.find(b"\n", position + 1)
        if start < 0 or body.startswith(b"--", position + len(delimiter)):
            return
        position = body.find(delimiter, start)
        yield body[start + 1 : position if position >= 0 else None]


def _decoded(section: bytes, body: bytes) -> bytes:
    encoding = first_value(section, b"content-transfer-encoding").strip().lower()
    try:
        if encoding == b"base64":
            return binascii.a2b_base64(body)
        if encoding == b"quoted-printable":
            return quopri.decodestring(body)
    except (binascii.Error, ValueError):
        return b""
    return body


# --- what is packed ---------------------------------------------------------------------------------------------------


def _unpacked(octets: bytes, most: int) -> bytes | SyntaxFault:
    if octets.startswith(_GZIP):
        found = _inflated(octets, zlib.MAX_WBITS | 16, most)
    elif octets.startswith(_ZIP):
        found = _first_member(octets, most)
    else:
        found = octets if len(octets) <= most else SyntaxFault(_too_much(most))
    if not isinstance(found, SyntaxFault) and not _looks_plain(found) and not found.startswith(_BOMS[1:]):
        return SyntaxFault("what is packed in it is no report")
    return found


def _first_member(octets: bytes, most: int) -> bytes | SyntaxFault:
    """APPNOTE 4.3.7: the local header, then the octets."""
    if len(octets) < _ZIP_HEADER:
        return SyntaxFault("the zip is cut off")
    flags = int.from_bytes(octets[6:8], "little")
    method = int.from_bytes(octets[8:10], "little")
    size = int.from_bytes(octets[18:22], "little")
    start = _ZIP_HEADER + int.from_bytes(octets[26:28], "little") + int.from_bytes(octets[28:30], "little")
    if flags & 1:
        return SyntaxFault("the zip is encrypted")
    if method == _DEFLATED:
        return _inflated(octets[start:], -zlib.MAX_WBITS, most)
    if method != _STORED or flags & 8:
        return SyntaxFault("the zip is packed in a way that is not known here")
    if len(octets) < start + size:
        return SyntaxFault("the zip is cut off")
    return octets[start : start + size] if size <= most else SyntaxFault(_too_much(most))


def _inflated(octets: bytes, window: int, most: int) -> bytes | SyntaxFault:
    """In pieces, so that no more is ever unpacked than may be."""
    inflater = zlib.decompressobj(window)
    found: list[bytes] = []
    size, waiting = 0, octets
    try:
        while not inflater.eof:
            piece = inflater.decompress(waiting, _PIECE)
            waiting = inflater.unconsumed_tail
            size += len(piece)
            if size > most:
                return SyntaxFault(_too_much(most))
            found.append(piece)
            if not piece and not waiting:
                return SyntaxFault("what is packed in it is cut off")
    except zlib.error as error:
        return SyntaxFault(f"it cannot be unpacked: {error}")
    return b"".join(found)


def _too_much(most: int) -> str:
    return f"it holds more than {most} octets"
