"""The content on its way out: dots doubled, `CRLF.CRLF` at the end (RFC 5321 4.5.2, 4.1.1.4).

The pieces may be cut anywhere; a dot at the start of a piece is where others truncate mail. A bare CR or LF never
leaves this house, because some receivers end the content there and read what follows as another message (SMTP
smuggling): content was checked before it was accepted, and is checked once more here, since a queue file can be edited.
"""


class BareNewline(Exception):
    """The content holds a CR without LF or an LF without CR; nothing more of it may be sent."""


class DotStuffer:
    """Encodes one content. The octets do not depend on how it is cut."""

    def __init__(self) -> None:
        # How much of a CRLF stands at the end of what was fed; 2 is the start of a line.
        self._matched = 2

    def feed(self, piece: bytes) -> bytes:
        """The octets to send for the next piece of content. Raises `BareNewline`."""
        if not piece:
            return b""
        _check(piece, begins_with_lf=self._matched == 1)
        lead = b""
        if self._matched == 2 and piece.startswith(b"."):
            lead = b"."
        elif self._matched == 1 and piece.startswith(b"\n."):
            lead, piece = b"\n.", piece[1:]
        if piece.endswith(b"\r\n") or (self._matched == 1 and piece == b"\n"):
            self._matched = 2
        else:
            self._matched = 1 if piece.endswith(b"\r") else 0
        stuffed = piece.replace(b"\r\n.", b"\r\n..")
        return lead + stuffed if lead else stuffed

    def finish(self) -> bytes:
        """The octets that end the content; a final CRLF is added where it is missing. Raises `BareNewline`."""
        if self._matched == 1:
            raise BareNewline
        return b".\r\n" if self._matched == 2 else b"\r\n.\r\n"


def _check(piece: bytes, *, begins_with_lf: bool) -> None:
    """Three counts tell whether every CR and LF is part of a CRLF, also of one that is cut at an end of the piece."""
    pairs = piece.count(b"\r\n")
    returns = piece.count(b"\r") - piece.endswith(b"\r")
    feeds = piece.count(b"\n") - begins_with_lf
    if returns != pairs or feeds != pairs or (begins_with_lf and not piece.startswith(b"\n")):
        raise BareNewline
