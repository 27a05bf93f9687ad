"""One large content on its way to disk, written while it comes (blocking, no Twisted).

It is written where it will stay: into `tmp/` of the first mailbox that takes it (LF line ends, behind that copy's
trace header), or as the spool file when nobody is here (CRLF). Only when no mailbox could be opened it goes to a loose
file in the queue's folder, from which the copies are made later. All three are temporary until `CommitWriter.commit`.
"""

import os
from collections.abc import Iterator, Sequence
from enum import Enum

from mailserver.ports import LocalCopy, StorageFull, StorageTrouble
from mailserver.store.files import Files, storage_error

_BLOCK_OCTETS = 1 << 20


class Place(Enum):
    """Where a large content is written while it comes."""

    MAILDIR = "maildir"
    SPOOL = "spool"
    LOOSE = "loose"


class LargeContent:
    """A growing file. Owned by one connection; its methods run in a worker thread, one at a time.

    `head` is what stands in the file before the content; `copy` the local copy this file will be (Place.MAILDIR).
    """

    def __init__(
        self, files: Files, path: str, descriptor: int, place: Place, head: bytes = b"", copy: LocalCopy | None = None
    ) -> None:
        self._files = files
        self.path = path
        self.descriptor = descriptor
        self.place = place
        self.copy = copy
        self.head_octets = len(head)
        self.head_line_ends = head.count(b"\n")
        # Of the content alone: its length with CRLF, and how many line ends it has.
        self.crlf_octets = 0
        self.line_ends = 0
        self.error: StorageFull | StorageTrouble | None = None
        if head:
            self._write((head,))

    @property
    def lf_octets(self) -> int:
        """The length of the content with LF line ends."""
        return self.crlf_octets - self.line_ends

    def append(self, pieces: Sequence[bytes]) -> None:
        """Write pieces of content (CRLF). Trouble is remembered in `error`, and what comes later is thrown away."""
        if self.error is not None:
            return
        for piece in pieces:
            self.crlf_octets += len(piece)
            self.line_ends += piece.count(b"\n")
        if self.place is Place.MAILDIR:
            pieces = [piece.replace(b"\r", b"") for piece in pieces]
        self._write(pieces)

    def _write(self, pieces: Sequence[bytes]) -> None:
        try:
            self._files.write(self.descriptor, pieces)
        except OSError as error:
            self.error = storage_error(error)
            self.discard()

    def complete(self, received: bytes) -> None:
        """Write the trace fields (CRLF) over those that stood in for them: the last part of the head, as long.

        Trouble is remembered in `error`.
        """
        if self.place is Place.LOOSE or self.error is not None:
            return  # a loose file has no head: its copies get theirs from the acceptance
        octets = received.replace(b"\r", b"") if self.place is Place.MAILDIR else received
        try:
            self._files.write_at(self.descriptor, octets, self.head_octets - len(octets))
        except OSError as error:
            self.error = storage_error(error)
            self.discard()

    def with_lf(self) -> Iterator[bytes]:
        """The content in blocks with LF line ends. Raises `OSError`."""
        for block in self._blocks():
            yield block if self.place is Place.MAILDIR else block.replace(b"\r", b"")

    def with_crlf(self) -> Iterator[bytes]:
        """The content in blocks with CRLF line ends; exact, since no bare CR or LF was let in. Raises `OSError`."""
        for block in self._blocks():
            yield block.replace(b"\n", b"\r\n") if self.place is Place.MAILDIR else block

    def _blocks(self) -> Iterator[bytes]:
        position = self.head_octets
        while block := os.pread(self.descriptor, _BLOCK_OCTETS, position):
            yield block
            position += len(block)

    def close(self) -> None:
        """Let go of the descriptor; the file stays."""
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            try:
                self._files.close(descriptor)
            except OSError as error:
                # What had to be on disk was synced before through another descriptor.
                self.error = self.error or storage_error(error)

    def discard(self) -> None:
        """Forget it: close and remove the file. May be called twice."""
        if self.descriptor >= 0:
            self.close()
            self._files.discard(self.path)
