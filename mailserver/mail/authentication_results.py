"""The Authentication-Results field (RFC 8601): written from values, and forged ones recognized.

A reader believes such a field when it bears the name of his own server, the *authserv-id*. So whoever writes one first
takes every other one with that name out of what strangers sent (RFC 8601 5), however it is spelled: folded, with
comments, quoted, in capital letters. One that cannot be read far enough to tell is taken out as well: it is of no use
to anybody, and a lenient reader might find our name in it. Fields of other servers stay.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mailserver.mail.address import canonical_domain
from mailserver.mail.headers import field_end
from mailserver.mail.reply import printable

NAME = b"authentication-results"

# RFC 2045 5.1 token; what is not one is quoted.
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+\Z")
# RFC 8601 2.2 pvalue: an address or a domain stands unquoted as well.
_ADDRESS = re.compile(r"[!#$%&'*+\-/.0-9A-Z=?^_`a-z{|}~]*@[0-9A-Za-z._-]+\Z")
_MAX_VALUE_CHARS = 512
_MAX_COMMENT_CHARS = 400

_FIELD = re.compile(rb"(?:\A|(?<=\n))authentication-results[ \t]*:", re.IGNORECASE)
_BLANKS = b" \t\r\n"
# RFC 8601 2.2: what an authserv-id is as far as a token goes; octets beyond ASCII as RFC 8601 5.2 lets them.
_WORD = re.compile(rb"[^\x00-\x20()<>@,;:\\\"/\[\]?=\x7f]+")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What one method found: `spf=pass (comment) reason="..." smtp.mailfrom=alice@example.org`.

    `method` and `result` are words of RFC 8601 2.7 (`spf`, `dkim`, `dmarc`, `arc`). `properties` are pairs such as
    `("smtp.mailfrom", "alice@example.org")` in the order in which they are written; a pair with an empty value is left
    out. Values, `reason` and `comment` may hold any text: it is quoted, cut and made printable. Only values may be
    beyond ASCII, as addresses of SMTPUTF8 messages are.
    """

    method: str
    result: str
    properties: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    comment: str = ""


def authentication_results(
    authserv_id: str, results: Iterable[MethodResult], *, most_octets: int | None = None
) -> bytes:
    """The whole field with its CRLF, each result on a line of its own; `none` when there is no result (RFC 8601 2.2).

    No line is longer than 998 octets, and nothing in a value can end the field. When it would be longer than
    `most_octets`, what is there for people goes first, then the last results.
    """
    field = _field(authserv_id, results := tuple(results))
    if most_octets is None or len(field) <= most_octets:
        return field
    results = tuple(replace(one, reason="", comment="") for one in results)
    while len(field := _field(authserv_id, results)) > most_octets and results:
        results = results[:-1]
    return field


def _field(authserv_id: str, results: tuple[MethodResult, ...]) -> bytes:
    lines = [_line(result) for result in results]
    text = f"Authentication-Results: {authserv_id};" + (";".join(lines) if lines else " none") + "\r\n"
    return text.encode("utf-8", "replace")


def _line(result: MethodResult) -> str:
    parts = [f"\r\n\t{result.method}={result.result}"]
    if result.comment:
        parts.append(_comment(result.comment))
    if result.reason:
        parts.append(f"reason={_quoted(_plain(result.reason))}")
    parts += [f"{name}={_value(value)}" for name, value in result.properties if value]
    return _folded(parts)


def _folded(parts: list[str]) -> str:
    """The parts with blanks between them, or folds where a line would get long (RFC 5322 2.1.1)."""
    text, width = parts[0], len(parts[0])
    for part in parts[1:]:
        if width + len(part) > 110:
            text, width = f"{text}\r\n\t", 0
        else:
            text += " "
        text += part
        width += len(part) + 1
    return text


def _plain(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text[:_MAX_COMMENT_CHARS])


def _value(text: str) -> str:
    text = printable(text[:_MAX_VALUE_CHARS])
    return text if _TOKEN.match(text) or _ADDRESS.match(text) else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _comment(text: str) -> str:
    """RFC 5322 3.2.2; its own brackets are escaped, so that it ends where we end it."""
    text = _plain(text)
    return "(" + re.sub(r"([()\\])", r"\\\1", text) + ")"


# --- what others wrote ------------------------------------------------------------------------------------------------


def authserv_id_of(value: bytes) -> str | None:
    """The authserv-id at the beginning of a field's value, which may be folded; None when it cannot be read."""
    position = _behind_comments(value, 0)
    if position < 0:
        return None
    quoted = _QUOTED.match(value, position)
    if quoted is not None:
        octets = re.sub(rb"\\(.)", rb"\1", quoted.group(1).replace(b"\r\n", b""), flags=re.DOTALL)
    else:
        word = _WORD.match(value, position)
        if word is None:
            return None
        octets = word.group()
    return octets.decode("utf-8", "replace").strip()


def _behind_comments(value: bytes, position: int) -> int:
    """Where something begins that is neither blank nor comment (RFC 5322 3.2.2 CFWS); -1 when nothing does."""
    depth = 0
    while position < len(value):
        octet = value[position]
        if octet == 0x28:  # (
            depth += 1
        elif depth and octet == 0x29:  # )
            depth -= 1
        elif depth and octet == 0x5C:  # a backslash takes the next octet with it
            position += 1
        elif not depth and octet not in _BLANKS:
            return position
        position += 1
    return -1


def is_ours(value: bytes, authserv_id: str) -> bool:
    """Whether a field with this value could be taken for one that `authserv_id` wrote."""
    claimed = authserv_id_of(value)
    if claimed is None:
        return True
    claimed = claimed.rstrip(".")
    return claimed.lower() == authserv_id.lower() or canonical_domain(claimed) == authserv_id.lower()


def without_forged(section: bytes, authserv_id: str) -> bytes:
    """The header section without the fields that `is_ours`; the very same octets when there is none.

    `section` may go on behind a line that is no field, up to the empty line: some readers do, too.
    """
    kept: list[bytes] = []
    position = 0
    for found in _FIELD.finditer(section):
        stop = field_end(section, found.end())
        if is_ours(section[found.end() : stop], authserv_id):
            kept.append(section[position : found.start()])
            position = stop
    if not position:
        return section
    return b"".join((*kept, section[position:]))
