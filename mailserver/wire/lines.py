"""Received octets, and command lines cut from them. Only CRLF ends a line; nothing here knows a protocol.

`OctetBuffer` is shared by what reads lines and what reads content, so that not one octet is read twice when a
conversation goes from the one to the other.
"""

from enum import Enum

# So little behind what is taken stays an object of its own; more than that is not copied again for each line.
_SMALL_REST = 64


class LineFault(Enum):
    """Why a line is not given out. Whatever is left of it is discarded up to its CRLF."""

    TOO_LONG = "too long"
    BARE_NEWLINE = "bare newline"
    NUL = "nul"


class OctetBuffer:
    """Octets that were received and not read yet.

    One received chunk is kept as it came, so that content usually goes through without a copy; only when something is
    left of it does it move into a bytearray, whose front can be cut off cheaply.

    `chunk` and `rest` are never filled both. The machines look at them to see whether anything is there: a method for
    that would be called a dozen times a message.
    """

    __slots__ = ("chunk", "rest")

    def __init__(self) -> None:
        self.chunk = b""
        self.rest = bytearray()

    def __len__(self) -> int:
        return len(self.chunk) or len(self.rest)

    def receive(self, octets: bytes) -> None:
        """Put octets behind the others."""
        if self.chunk or self.rest:
            self._spread()
            self.rest += octets
        else:
            self.chunk = octets

    def find(self, what: bytes, start: int = 0) -> int:
        """As `bytes.find`."""
        return (self.chunk or self.rest).find(what, start)

    def take_only_line(self) -> bytes | None:
        """When one line with its CRLF is all there is, as from a client that waits for each reply: take it.

        The line comes without its CRLF; in every other case None, and nothing is taken.
        """
        chunk = self.chunk
        if chunk.endswith(b"\r\n") and chunk.find(b"\n") == len(chunk) - 1:
            self.chunk = b""
            return chunk[:-2]
        return None

    def peek(self, count: int) -> bytes:
        """The first `count` octets, or what there is of them; they stay."""
        return self.chunk[:count] if self.chunk else bytes(self.rest[:count])

    def endswith(self, what: bytes) -> bool:
        """As `bytes.endswith`."""
        return (self.chunk or self.rest).endswith(what)

    def take(self, count: int) -> bytes:
        """The first `count` octets, or all when there are fewer."""
        chunk = self.chunk
        if chunk and count >= len(chunk) - _SMALL_REST:
            self.chunk = chunk[count:]
            return chunk[:count]
        self._spread()
        with memoryview(self.rest) as view:
            taken = bytes(view[:count])
        del self.rest[:count]
        return taken

    def skip(self, count: int) -> None:
        """Throw the first `count` octets away."""
        if self.chunk and count >= len(self.chunk) - _SMALL_REST:
            self.chunk = self.chunk[count:]
            return
        self._spread()
        del self.rest[:count]

    def clear(self) -> None:
        """Throw everything away."""
        self.chunk = b""
        self.rest.clear()

    def _spread(self) -> None:
        if self.chunk:
            self.rest += self.chunk
            self.chunk = b""


class LineReader:
    """Cuts lines out of an `OctetBuffer`, and discards the rest of a line that was refused."""

    __slots__ = ("_buffer", "_is_discarding", "_scanned")

    def __init__(self, buffer: OctetBuffer) -> None:
        self._buffer = buffer
        self._scanned = 0  # octets of the buffer that hold no LF
        self._is_discarding = False

    def next_line(self, limit: int) -> bytes | LineFault | None:
        """The next line without its CRLF; None when it is not complete yet.

        A line of more than `limit` octets, or with an LF that has no CR before it, is told as soon as it shows, so
        that a terminal which sends bare LF is not left in silence; then everything up to the next CRLF is dropped.
        Which of the two it is does not depend on how the octets were cut.
        """
        if self._is_discarding and not self._discard():
            return None
        line = self._buffer.take_only_line()
        if line is not None:
            return self._checked(line, limit)
        index = self._buffer.find(b"\n", self._scanned)
        if index < 0:
            self._scanned = len(self._buffer)
            # A CR at the end may belong to a CRLF, so it is not counted yet.
            if self._scanned - self._buffer.endswith(b"\r") > limit:
                return self._refuse(LineFault.TOO_LONG)
            return None
        line = self._buffer.peek(index)
        if not line.endswith(b"\r"):
            return self._refuse(LineFault.BARE_NEWLINE if index <= limit else LineFault.TOO_LONG)
        self._scanned = 0
        self._buffer.skip(index + 1)
        return self._checked(line[:-1], limit)

    def is_at_line_start(self) -> bool:
        """False while the rest of a refused line is still to come."""
        return not self._is_discarding or self._discard()

    def _checked(self, line: bytes, limit: int) -> bytes | LineFault:
        if len(line) > limit:
            return LineFault.TOO_LONG
        if b"\r" in line:
            return LineFault.BARE_NEWLINE
        return LineFault.NUL if b"\0" in line else line

    def stop_discarding(self) -> None:
        """Start afresh, as after a TLS handshake."""
        self._is_discarding = False
        self._scanned = 0

    def _refuse(self, fault: LineFault) -> LineFault:
        self._is_discarding = True
        self._discard()
        return fault

    def _discard(self) -> bool:
        """Drop octets up to a CRLF; True when it was there."""
        self._scanned = 0
        end = self._buffer.find(b"\r\n")
        if end >= 0:
            self._buffer.skip(end + 2)
            self._is_discarding = False
            return True
        self._buffer.skip(len(self._buffer) - self._buffer.endswith(b"\r"))
        return False
