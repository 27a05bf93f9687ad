"""A committer that keeps everything in memory, and can be told to fail."""

from dataclasses import dataclass
from pathlib import Path

from mailserver.ports import Acceptance, Filed, StoredContent


@dataclass
class Stored:
    """One acceptance with its content; `was_large` tells that it came through a writer."""

    acceptance: Acceptance
    content: bytes
    was_large: bool = False

    def as_filed(self, number: int = 0) -> bytes:
        """What stands in the Maildir of one local copy, with CRLF."""
        return self.acceptance.local[number].trace + self.acceptance.received + self.content


class MemoryWriter:
    """`ports.ContentWriter`."""

    def __init__(self, committer, acceptance):
        self._committer = committer
        self._acceptance = acceptance
        self.pieces: list[bytes] = []
        self.is_discarded = False

    def write(self, piece):
        self.pieces.append(piece)
        return self._committer.hold

    async def written(self):
        octets = b"".join(self.pieces)
        return StoredContent(Path("/nowhere"), 0, len(octets), octets)

    async def commit(self, acceptance=None):
        assert not self.is_discarded
        if acceptance is not None:
            before, after = self._acceptance.received, acceptance.received
            assert (len(after), after.count(b"\r\n")) == (len(before), before.count(b"\r\n"))
            self._acceptance = acceptance
        return await self._committer.store(self._acceptance, b"".join(self.pieces), was_large=True)

    def discard(self):
        self.is_discarded = True


class MemoryCommitter:
    """`ports.Committer`: `stored` is what is on disk. `trouble` is raised by commits, `open_trouble` by `open`.

    `broken` names mailboxes (folded) that cannot be written: their copies are spooled. `hold` is what writers give the
    session to wait for.
    """

    def __init__(self):
        self.stored: list[Stored] = []
        self.writers: list[MemoryWriter] = []
        self.trouble: Exception | None = None
        self.open_trouble: Exception | None = None
        self.broken: set[str] = set()
        self.room = 10**12
        self.hold = None

    async def commit(self, acceptance, content):
        return await self.store(acceptance, content)

    def open(self, acceptance):
        if self.open_trouble is not None:
            raise self.open_trouble
        self.writers.append(MemoryWriter(self, acceptance))
        return self.writers[-1]

    def has_room(self, size_octets):
        return size_octets <= self.room

    async def store(self, acceptance, content, *, was_large=False):
        if self.trouble is not None:
            raise self.trouble
        self.stored.append(Stored(acceptance, content, was_large))
        filed = tuple(copy for copy in acceptance.local if copy.mailbox.folded not in self.broken)
        spooled = tuple((copy, "the mailbox cannot be written") for copy in acceptance.local if copy not in filed)
        return Filed(filed, spooled)
