"""The content of a spool file on its way out, read in pieces away from the reactor thread."""

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

from mailserver.ports import Blocking, Lane, Overloaded, StoredContent

PIECE_OCTETS = 256 * 1024


class FileContent:
    """`mailserver.ports.ContentSource` over a stored content. Small ones are one read; the last read one is kept.

    The file is opened for each piece: nothing stays open when a conversation is dropped half-way.
    """

    def __init__(self, stored: StoredContent, blocking: Blocking) -> None:
        self._stored = stored
        self._blocking = blocking
        self._first = stored.octets if stored.octets is None else stored.octets[:PIECE_OCTETS]

    @property
    def length(self) -> int:
        """All octets, CRLF line ends."""
        return self._stored.length

    async def pieces(self) -> AsyncIterator[bytes]:
        """From the start to the end; shorter than `length` when the file is. Raises `OSError`."""
        done = 0
        while done < self._stored.length:
            piece = await self._piece(done)
            if not piece:
                return
            done += len(piece)
            yield piece

    async def _piece(self, start: int) -> bytes:
        if start == 0 and self._first is not None:
            return self._first
        size = min(PIECE_OCTETS, self._stored.length - start)
        try:
            piece = await self._blocking.run(Lane.QUEUE, _read, self._stored.path, self._stored.offset + start, size)
        except Overloaded as overloaded:
            raise OSError(errno.EAGAIN, "too much work waits for the disk") from overloaded
        if start == 0:
            self._first = piece
        return piece


def _read(path: Path, offset: int, size: int) -> bytes:
    """Up to `size` octets; fewer only at the end of the file. Blocks."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        out = os.pread(descriptor, size, offset)
        while 0 < len(out) < size and (more := os.pread(descriptor, size - len(out), offset + len(out))):
            out += more
        return out
    finally:
        os.close(descriptor)
