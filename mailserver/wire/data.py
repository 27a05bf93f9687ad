"""Content as it comes behind DATA and BDAT: where it ends, which octets it has, and what is wrong with it.

RFC 5321 4.1.1.4 and 4.5.2, RFC 3030. Never a loop over lines: the end is found by one `find` over what was received,
dots are removed by one `replace`, and bare CR or LF show in three counts.

Only CRLF.CRLF ends data. LF.LF, CR.CR and all mixtures of them are content with a fault in it (the attack that this
stops is known as SMTP smuggling). Do not make this reader "more tolerant".
"""

from enum import Enum

from mailserver.wire.lines import OctetBuffer

_END = b"\r\n.\r\n"
# What may be the beginning of an end or of a dot to remove; it stays in the buffer until more is known.
_UNDECIDED = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")


class ContentFault(Enum):
    """What is wrong with a content as a whole."""

    BARE_NEWLINE = "bare newline"
    NUL = "nul"
    TOO_LONG = "too long"


class DataReader:
    """Reads the content of one DATA command from the buffer, up to its end and not one octet further."""

    __slots__ = ("_buffer", "_is_at_start")

    def __init__(self, buffer: OctetBuffer) -> None:
        self._buffer = buffer
        self._is_at_start = True

    def read(self) -> tuple[bytes, bool]:
        """All content octets there are, dots removed, and whether the content ended with them.

        A piece never ends between CR and LF; so counting within pieces is exact.
        """
        buffer = self._buffer
        if self._is_at_start:
            lead = buffer.peek(3)
            if lead == b".\r\n":  # the CRLF of the DATA command stands before this dot: an empty content
                buffer.skip(3)
                return b"", True
            if b".\r\n".startswith(lead):
                return b"", False
            self._is_at_start = False
            if lead.startswith(b"."):
                buffer.skip(1)
        # A single octet is found thirty times as fast as three, and most of what is large holds no dot at all (base64).
        any_dot = buffer.find(b".")
        first_dot = buffer.find(b"\r\n.", max(0, any_dot - 2)) if any_dot >= 0 else -1
        end = buffer.find(_END, first_dot) if first_dot >= 0 else -1
        if end >= 0:
            piece = buffer.take(end + 2)
            buffer.skip(3)
        else:
            held = next((len(tail) for tail in _UNDECIDED if buffer.endswith(tail)), 0)
            piece = buffer.take(len(buffer) - held)
        if first_dot >= 0 and first_dot != end:
            piece = piece.replace(b"\r\n.", b"\r\n")
        return piece, end >= 0


class ContentCheck:
    """Counts and checks one content, whole or in chunks, and repairs its line ends when told to.

    `take` gets pieces in order and gives what may be handed on: nothing more once a fault was found. `size_octets`
    and `faults` do not depend on how the content was cut.
    """

    __slots__ = ("_ends_with_crlf", "_held", "_max_octets", "_repairs", "faults", "size_octets")

    def __init__(self, *, max_octets: int, repairs: bool) -> None:
        self._max_octets = max_octets
        self._repairs = repairs
        self._held = b""
        self._ends_with_crlf = True
        self.size_octets = 0
        self.faults: set[ContentFault] = set()

    def take(self, piece: bytes) -> bytes:
        """Check a piece that does not end between CR and LF."""
        if not piece:
            return b""
        if b"\0" in piece:
            self.faults.add(ContentFault.NUL)
        both = piece.count(b"\r\n")
        if piece.count(b"\n") != both or piece.count(b"\r") != both:
            if self._repairs:
                piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
            else:
                self.faults.add(ContentFault.BARE_NEWLINE)
        self.size_octets += len(piece)
        if self.size_octets > self._max_octets:
            self.faults.add(ContentFault.TOO_LONG)
        self._ends_with_crlf = piece.endswith(b"\r\n")
        return b"" if self.faults else piece

    def take_any(self, piece: bytes) -> bytes:
        """Check a piece that may end anywhere; a CR at its end waits for what follows."""
        if self._held:
            piece = self._held + piece
            self._held = b""
        if piece.endswith(b"\r"):
            self._held = b"\r"
            piece = piece[:-1]
        return self.take(piece)

    def finish(self) -> bytes:
        """The end of a content in chunks: what is left, and the CRLF at its end if it is missing.

        A content without it would run into what a reader puts behind it (RFC 5321 2.3.8 wants lines ended by CRLF).
        """
        left = self.take(self._held)
        self._held = b""
        if self._ends_with_crlf or self.faults:
            return left
        return left + self.take(b"\r\n")
