"""The two canonical forms of header fields and of the body (RFC 6376 3.4), and the hash of a body that comes in pieces.

Everything here takes time in proportion to its input whatever that holds, and none of it needs the body whole: regular
expressions over a body, as libraries have them, take quadratic time for a long run of blanks and keep the interpreter's
lock all the while (docs/decisions/0006-dkim.md).
"""

import hashlib
from collections.abc import Iterable
from enum import Enum

# Empty lines that were held back are hashed in pieces of this many: there may be millions.
_EMPTY_LINES = b"\r\n" * 4096


class Form(Enum):
    """What is forgiven on the way: nothing but empty lines at the end, or changes of white space too."""

    SIMPLE = "simple"
    RELAXED = "relaxed"


def forms(text: bytes) -> tuple[Form, Form] | None:
    """Header and body form of a `c=` tag; None when it names others. Without a second one the body is simple."""
    header, _, body = text.lower().partition(b"/")
    try:
        return Form(header.decode("ascii", "replace")), Form(body.decode("ascii", "replace") or "simple")
    except ValueError:
        return None


def canonical_field(raw: bytes, form: Form) -> bytes:
    """One header field, as it came with its folds and CRLF, in its canonical form with CRLF (3.4.1, 3.4.2)."""
    if form is Form.SIMPLE:
        return raw
    name, _, value = raw.partition(b":")
    value = value.replace(b"\r\n", b"").replace(b"\t", b" ")
    return name.rstrip(b" \t").lower() + b":" + b" ".join(filter(None, value.split(b" "))) + b"\r\n"


class BodyHash:
    """SHA-256 over one body in one form, and over its beginning for each of `limits` (`l=` tags).

    Pieces may be cut anywhere. Every line end is CRLF: content with a bare CR or LF was refused before.
    """

    def __init__(self, form: Form, limits: Iterable[int] = ()) -> None:
        self._is_relaxed = form is Form.RELAXED
        self._whole = hashlib.sha256()
        self._limited = {limit: hashlib.sha256() for limit in limits}
        # How many octets the canonical body has.
        self.octets = 0
        self._held = b""  # a CR whose LF has not come, or a blank that may be the last of its line
        self._empty_lines = 0  # CRLFs that count only when something follows
        self._is_ended = False

    def update(self, piece: bytes) -> None:
        """The next octets of the body."""
        piece = self._held + piece
        self._held = b""
        if piece.endswith(b"\r"):
            piece, self._held = piece[:-1], b"\r"
        if self._is_relaxed:
            piece = _with_single_blanks(piece)
            if piece.endswith(b" "):
                piece, self._held = piece[:-1], b" " + self._held
        kept = piece.rstrip(b"\r\n")
        if kept:
            self._take_empty_lines()
            self._take(kept)
        self._empty_lines += (len(piece) - len(kept)) // 2

    def finish(self) -> None:
        """The body is at its end."""
        if self._is_ended:
            return
        self._is_ended = True
        # 3.4.3: a body without anything is one CRLF; 3.4.4: relaxed, it is nothing.
        if self.octets or not self._is_relaxed:
            self._take(b"\r\n")

    def digest(self, limit: int | None = None) -> bytes:
        """After `finish`: the hash over all, or over the first `limit` octets (one of `limits`)."""
        return (self._whole if limit is None else self._limited[limit]).digest()

    def _take_empty_lines(self) -> None:
        left, self._empty_lines = self._empty_lines, 0
        while left > 0:
            self._take(_EMPTY_LINES[: 2 * left])
            left -= len(_EMPTY_LINES) // 2

    def _take(self, octets: bytes) -> None:
        for limit, hashed in self._limited.items():
            if self.octets < limit:
                hashed.update(octets[: limit - self.octets])
        self.octets += len(octets)
        self._whole.update(octets)


def _with_single_blanks(octets: bytes) -> bytes:
    """Runs of blanks become one space, and none is left before a CRLF. Each pass halves the runs."""
    octets = octets.replace(b"\t", b" ")
    if b" " not in octets:  # most of a large message is base64, and this is the quickest of the looks
        return octets
    while b"  " in octets:
        octets = octets.replace(b"  ", b" ")
    return octets.replace(b" \r\n", b"\r\n")
