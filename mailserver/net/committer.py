"""Group commit: the waiting half (design section 8). The writing half is `store.commit`.

One worker thread takes all messages that wait (at most 64), makes them durable together and answers all with one call
into the reactor. Nothing waits for a group to fill: it begins when the reactor has nothing else to do (see `lulls`), so
a single client pays no latency and many clients share their fsyncs.
"""

import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import QueueId
from mailserver.mail.trace import OUR_OWN
from mailserver.net.lulls import AtLull, at_once
from mailserver.ports import (
    Acceptance,
    Blocking,
    Clock,
    ContentWriter,
    Filed,
    Lane,
    Overloaded,
    StorageTrouble,
    StoredContent,
)
from mailserver.store.commit import CommitWriter, Content, Result, spool_recipients
from mailserver.store.files import Files, storage_error
from mailserver.store.large import LargeContent, Place
from mailserver.store.maildir import Maildirs
from mailserver.store.refile import file_stored

GROUP_MESSAGES = 64
# Beyond these a client is told to come back; both are far more than the sessions of a healthy server can hold.
MAX_WAITING_MESSAGES = 4096
MAX_WAITING_OCTETS = 128 << 20
# A large content is handed to the disk in pieces of this size, and its sender is held back at twice that.
_PIECE_OCTETS = 256 << 10
_ROOM_FIGURE_AGE_S = 1.0
# Below this many free inodes a file system counts as full, whatever its free blocks.
_MIN_FREE_INODES = 1000

# Told of every spool file the moment it is durable: queue id, envelope, time of arrival, source, and the content where
# it is at hand.
OnSpooled = Callable[[QueueId, Envelope, float, str, StoredContent | None], None]

_log = Logger()


class _Waiting:
    """One message in the line."""

    __slots__ = ("acceptance", "answer", "content", "octets")

    def __init__(self, acceptance: Acceptance, content: Content) -> None:
        self.acceptance = acceptance
        self.content = content
        # What it holds in memory.
        self.octets = len(content) if isinstance(content, bytes) else 0
        self.answer: Deferred[Filed] = Deferred()


class GroupCommitter:
    """The `Committer` door. Made and called in the reactor thread.

    `call_in_reactor` is the reactor's `callFromThread`. `roots` are the folders whose file systems `has_room` looks at.
    """

    def __init__(
        self,
        writer: CommitWriter,
        on_spooled: OnSpooled,
        blocking: Blocking,
        clock: Clock,
        call_in_reactor: Callable[..., Any],
        roots: Sequence[Path],
        min_free_octets: int,
        at_lull: AtLull = at_once,
    ) -> None:
        self._writer = writer
        self._on_spooled = on_spooled
        self._blocking = blocking
        self._clock = clock
        self._call_in_reactor = call_in_reactor
        self._roots = tuple(roots)
        self._min_free = min_free_octets
        self._at_lull = at_lull
        self._line: deque[_Waiting] = deque()
        self._line_octets = 0
        # Whether the worker is to be told in the next lull, and whether it was told and has not taken any since.
        self._will_be_due = False
        self._is_due = False
        self._is_stopping = False
        self._awake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped: Deferred[None] = Deferred()
        self._room: tuple[float, int] = (float("-inf"), 0)
        # What was taken since that figure: a disk can fill within its second.
        self._taken_since = 0

    # --- in the reactor thread ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the worker; not before the process has its final user."""
        self._thread = threading.Thread(target=self._work, name="commit", daemon=True)
        self._thread.start()

    def stop(self) -> "Deferred[None]":
        """Take no more, finish what waits; fires when the worker is done."""
        with self._awake:
            self._is_stopping = True
            self._awake.notify()
        if self._thread is None and not self._stopped.called:
            self._stopped.callback(None)
        return self._stopped

    def commit(self, acceptance: Acceptance, content: bytes) -> "Deferred[Filed]":
        """See `ports.Committer`."""
        return self._enqueue(acceptance, content)

    def open(self, acceptance: Acceptance) -> ContentWriter:
        """See `ports.Committer`."""
        return _LargeWriter(acceptance, self._writer, self._blocking, self._enqueue)

    def has_room(self, size_octets: int) -> bool:
        """See `ports.Committer`. statvfs(2) answers from memory, so it is asked here, at most once a second."""
        measured_at, free = self._room
        now = self._clock.monotonic()
        if now - measured_at > _ROOM_FIGURE_AGE_S:
            free = min(_free_octets(root) for root in self._roots)
            self._room, self._taken_since = (now, free), 0
        return free - self._taken_since - size_octets >= self._min_free

    def _enqueue(self, acceptance: Acceptance, content: Content) -> "Deferred[Filed]":
        waiting = _Waiting(acceptance, content)
        with self._awake:
            if self._is_stopping or len(self._line) >= MAX_WAITING_MESSAGES or self._line_octets > MAX_WAITING_OCTETS:
                raise Overloaded("too many messages wait for the disk")
            self._line.append(waiting)
            self._line_octets += waiting.octets
            # One for each mailbox, and one for the queue.
            self._taken_since += waiting.octets * (len(acceptance.local) + bool(acceptance.remote))
            is_group = len(self._line) >= GROUP_MESSAGES
        if is_group:
            self._begin()
        elif not self._will_be_due:
            self._will_be_due = True
            self._at_lull(self._begin)
        return waiting.answer

    def _begin(self) -> None:
        """Have the worker take what is in the line, now or when it is done with what it has."""
        self._will_be_due = False
        with self._awake:
            self._is_due = True
            self._awake.notify()

    def _answer(self, group: list[_Waiting], results: list[Result]) -> None:
        for waiting, result in zip(group, results, strict=True):
            if isinstance(result, Filed):
                try:
                    self._tell_queue(waiting.acceptance, result)
                except Exception:  # noqa: BLE001
                    # It is on disk and the queue finds it at the next start; nobody else's answer may hang on it.
                    _log.failure("message {queue_id} was not told to the queue", queue_id=waiting.acceptance.queue_id)
                waiting.answer.callback(result)
            else:
                waiting.answer.errback(result)

    def _tell_queue(self, acceptance: Acceptance, result: Filed) -> None:
        recipients = spool_recipients(acceptance, result)
        if recipients:
            envelope = acceptance.envelope.with_recipients(recipients)
            self._on_spooled(acceptance.queue_id, envelope, acceptance.received_at, acceptance.source, result.stored)
        for report in (*acceptance.reports, *([result.report] if result.report is not None else [])):
            self._on_spooled(report.queue_id, report.envelope, acceptance.received_at, OUR_OWN, None)

    # --- in the worker thread -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        while group := self._next_group():
            try:
                results = self._writer.commit([(waiting.acceptance, waiting.content) for waiting in group])
            except Exception as error:  # noqa: BLE001
                # Nobody named this one: it is temporary (promise 3), told in the log, and the worker lives.
                _log.failure("a group of {count} messages could not be committed", count=len(group))
                results = [StorageTrouble(f"{type(error).__name__} while committing") for _ in group]
                for waiting in group:
                    if isinstance(waiting.content, LargeContent):
                        waiting.content.discard()
            self._call_in_reactor(self._answer, group, results)
        self._call_in_reactor(self._stopped.callback, None)

    def _next_group(self) -> list[_Waiting]:
        """All that wait, up to the bound; blocks while there are none. Empty: stop."""
        with self._awake:
            while not (self._line and (self._is_due or self._is_stopping)):
                if self._is_stopping:
                    return []
                self._awake.wait()
            group = [self._line.popleft() for _ in range(min(len(self._line), GROUP_MESSAGES))]
            self._line_octets -= sum(waiting.octets for waiting in group)
            self._is_due = bool(self._line)
            return group


class _LargeWriter:
    """The `ContentWriter` door: pieces are gathered here and written in the `CONTENT` lane, one write at a time."""

    def __init__(
        self,
        acceptance: Acceptance,
        writer: CommitWriter,
        blocking: Blocking,
        enqueue: Callable[[Acceptance, Content], "Deferred[Filed]"],
    ) -> None:
        self._acceptance = acceptance
        self._writer = writer
        self._blocking = blocking
        self._enqueue = enqueue
        self._content: LargeContent | None = None
        self._pieces: list[bytes] = []
        self._octets = 0
        self._error: Exception | None = None
        self._is_discarded = False
        self._running: Deferred[None] | None = None

    def write(self, piece: bytes) -> Awaitable[None] | None:
        """See `ports.ContentWriter`."""
        if self._error is not None:
            return None
        self._pieces.append(piece)
        self._octets += len(piece)
        if self._octets < _PIECE_OCTETS:
            return None
        if self._running is None:
            self._start()
            return None
        return self._when_idle() if self._octets >= 2 * _PIECE_OCTETS else None

    async def written(self) -> StoredContent:
        """See `ports.ContentWriter`."""
        content = await self._whole()
        length = content.lf_octets if content.place is Place.MAILDIR else content.crlf_octets
        return StoredContent(Path(content.path), content.head_octets, length)

    async def _whole(self) -> LargeContent:
        """The content when all that was handed over is written. Raises what went wrong; then it is forgotten."""
        while self._running is not None or self._pieces:
            if self._running is None:
                self._start()
            await self._when_idle()
        if self._error is None and self._content is not None:
            self._error = self._content.error
        if self._error is not None:
            await self._forget()
            raise self._error
        assert self._content is not None, "a large content has at least one piece"
        return self._content

    async def commit(self, acceptance: Acceptance | None = None) -> Filed:
        """See `ports.ContentWriter`."""
        content = await self._whole()
        try:
            if acceptance is not None:
                self._acceptance = acceptance
                await self._blocking.run(Lane.CONTENT, content.complete, acceptance.received)
            answer = self._enqueue(self._acceptance, content)
        except Overloaded:
            await self._forget()
            raise
        return await answer

    def discard(self) -> None:
        """See `ports.ContentWriter`. What is being written just now is removed when that is done."""
        self._is_discarded = True
        self._pieces, self._octets = [], 0
        if self._running is None:
            Deferred.fromCoroutine(self._forget()).addErrback(_log_failure, "discarding a content")

    def _start(self) -> None:
        pieces, self._pieces, self._octets = self._pieces, [], 0
        self._running = running = Deferred.fromCoroutine(self._write(pieces))
        running.addErrback(self._failed)
        running.addCallback(self._ended)

    async def _write(self, pieces: list[bytes]) -> None:
        if self._content is None:
            self._content = await self._blocking.run(Lane.CONTENT, self._writer.open_large, self._acceptance)
        await self._blocking.run(Lane.CONTENT, self._content.append, pieces)

    def _failed(self, failure: Any) -> None:
        error = failure.value
        self._error = storage_error(error) if isinstance(error, OSError) else error
        self._pieces, self._octets = [], 0

    def _ended(self, _: None) -> None:
        self._running = None
        if self._is_discarded:
            self.discard()

    async def _forget(self) -> None:
        content, self._content = self._content, None
        if content is None:
            return
        try:
            await self._blocking.run(Lane.CONTENT, content.discard)
        except Overloaded:
            # Closing and unlinking one file: better done here than not at all.
            content.discard()

    def _when_idle(self) -> "Deferred[None]":
        """Fires when the write under way is done (a Deferred of its own, so that many may wait)."""
        idle: Deferred[None] = Deferred()
        if self._running is None:
            idle.callback(None)
        else:
            self._running.addCallback(lambda _: idle.callback(None))
        return idle


class QueuedMailboxWriter:
    """The `MailboxWriter` door, in the `QUEUE` lane."""

    def __init__(self, files: Files, maildirs: Maildirs, blocking: Blocking) -> None:
        self._files = files
        self._maildirs = maildirs
        self._blocking = blocking

    def file(self, mailbox: Mailbox, trace: bytes, content: StoredContent, folder: str = "") -> Awaitable[str]:
        """See `ports.MailboxWriter`."""
        return self._blocking.run(Lane.QUEUE, file_stored, self._files, self._maildirs, mailbox, trace, content, folder)


def _free_octets(root: Path) -> int:
    """What is free for us on this file system; 0 when it is out of inodes or cannot be asked."""
    try:
        room = os.statvfs(root)
    except OSError:
        return 0
    if room.f_files and room.f_favail < _MIN_FREE_INODES:
        return 0
    return room.f_bavail * room.f_frsize


def _log_failure(failure: Any, doing: str) -> None:
    _log.failure("trouble while {doing}", failure=failure, doing=doing)
