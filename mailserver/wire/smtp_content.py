"""The content of one message on its way into the SMTP server machine, by DATA or in BDAT chunks (RFC 3030)."""

from mailserver.mail.reply import Reply
from mailserver.wire.data import ContentCheck, DataReader
from mailserver.wire.lines import OctetBuffer
from mailserver.wire.smtp_events import Content, EndOfChunk, EndOfContent, Faulted
from mailserver.wire.smtp_grammar import Chunk

ContentEvent = Content | EndOfContent | EndOfChunk | Faulted


class ContentIntake:
    """Reads content octets from the buffer and tells what they are. `octets` counts them all, refused ones too."""

    __slots__ = ("_buffer", "_check", "_chunk", "_left", "_max_octets", "_reader", "_refusal", "_waiting", "octets")

    def __init__(self, buffer: OctetBuffer, *, max_octets: int) -> None:
        self._buffer = buffer
        self._max_octets = max_octets
        self.octets = 0
        self.forget()

    def forget(self) -> None:
        """The transaction is over."""
        self._reader: DataReader | None = None
        self._check: ContentCheck | None = None  # one for all chunks of a message
        self._chunk: Chunk | None = None
        self._left = 0  # octets of this chunk that have not come
        self._refusal: Reply | None = None
        self._waiting: EndOfContent | None = None  # to be told after the last piece

    def begin_data(self, *, repairs: bool) -> None:
        """DATA was answered 354."""
        self.octets = 0
        self._reader = DataReader(self._buffer)
        self._check = ContentCheck(max_octets=self._max_octets, repairs=repairs)

    def begin_chunk(self, chunk: Chunk, refusal: Reply | None, *, repairs: bool) -> None:
        """BDAT was read. With a `refusal` the octets are read all the same, and then refused (RFC 3030 2)."""
        self._chunk = chunk
        self._left = chunk.size_octets
        self._refusal = refusal
        if self._check is None:
            self.octets = 0
            self._check = ContentCheck(max_octets=self._max_octets, repairs=repairs)

    def next_event(self) -> ContentEvent | None:
        """The next piece or the end; None when octets are missing."""
        if self._waiting is not None:
            return self._waiting
        return self._next_of_data() if self._reader is not None else self._next_of_chunk()

    def _next_of_data(self) -> ContentEvent | None:
        assert self._reader is not None
        assert self._check is not None
        before = len(self._buffer)
        piece, is_end = self._reader.read()
        self.octets += before - len(self._buffer)
        piece = self._check.take(piece)
        return self._end(piece, is_chunked=False) if is_end else _told(piece)

    def _next_of_chunk(self) -> ContentEvent | None:
        assert self._chunk is not None
        assert self._check is not None
        if self._left:
            piece = self._buffer.take(min(self._left, len(self._buffer)))
            self._left -= len(piece)
            self.octets += len(piece)
            told = None if self._refusal else _told(self._check.take_any(piece))
            if told or self._left:
                return told
        if self._refusal is not None:
            return Faulted("BDAT", self._refusal)
        if not self._chunk.is_last:
            return EndOfChunk(self._chunk.size_octets, frozenset(self._check.faults))
        return self._end(self._check.finish(), is_chunked=True)

    def _end(self, piece: bytes, *, is_chunked: bool) -> ContentEvent:
        """The last piece, and then the end; or the end at once."""
        assert self._check is not None
        end = EndOfContent(self._check.size_octets, frozenset(self._check.faults), is_chunked)
        told = _told(piece)
        if told is None:
            return end
        self._waiting = end
        return told


def _told(piece: bytes) -> Content | None:
    return Content(piece) if piece else None
