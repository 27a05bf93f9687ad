"""The queue's own writes: states, removals and our reports, gathered into groups like the committer's.

A message's changes are written in the order in which they were asked for, and never two of them at once; of several
states that wait only the last is written, for it holds what the others said. Whoever awaits a change goes on when it is
on disk. When the disk refuses, the change is tried again until it succeeds or the server stops: an entry of the index
stays claimed meanwhile, so nothing is sent twice on the strength of a mark that never reached the disk.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.mail.ids import QueueId
from mailserver.maillog import Sink, Trouble
from mailserver.ports import Blocking, Cancellable, Clock, Lane, Overloaded, Report, StorageFull, StorageTrouble
from mailserver.store.spool import Spool
from mailserver.store.spool_changes import AddReport, Change, Remove, SyncRemovals, WriteState, WriteTranscript
from mailserver.store.spool_state import Progress

# Removals alone wait this long for company: nobody waits for them, and each group is a call into a thread.
_GATHER_S = 0.02
# So long after a removal that need not be durable at once its folder is synced: one fsync for all that came meanwhile.
_SYNC_AFTER_S = 0.5
# In the place of a message's id, for what concerns them all.
_ALL = QueueId("")
_RETRY_S = 10.0
_GROUP = 256

Answer = StorageFull | StorageTrouble | None


class Ledger:
    """Writes changes in groups, in the `QUEUE` lane. `tell_failure(what, error)` logs a traceback."""

    def __init__(
        self,
        spool: Spool,
        blocking: Blocking,
        clock: Clock,
        sink: Sink,
        tell_failure: Callable[[str, BaseException], None],
    ) -> None:
        self._spool = spool
        self._blocking = blocking
        self._clock = clock
        self._sink = sink
        self._tell_failure = tell_failure
        # For each message: the changes that wait, each with those who await it.
        self._waiting: dict[QueueId, list[tuple[Change, list[Deferred[None]]]]] = {}
        self._is_running = False
        self._idle: list[Deferred[None]] = []
        self._is_told = False
        self._sync_timer: Cancellable | None = None

    def write_state(self, queue_id: QueueId, progress: Progress) -> "Deferred[None]":
        """Fires when this state, or a later one of the message, is on disk. Never fails."""
        changes = self._waiting.get(queue_id)
        if changes and isinstance(changes[-1][0], WriteState):
            done: Deferred[None] = Deferred()
            changes[-1] = (WriteState(queue_id, progress), [*changes[-1][1], done])
            return done
        return self._put(queue_id, WriteState(queue_id, progress))

    def remove(self, queue_id: QueueId) -> "Deferred[None]":
        """Fires when the message is gone for good. Never fails."""
        return self._put(queue_id, Remove(queue_id))

    def remove_delivered(self, queue_id: QueueId) -> "Deferred[None]":
        """Fires when the message is gone, and it is durable half a second later. Never fails.

        For messages that owe nothing: a power cut within that time has the message sent once more.
        """
        return self._put(queue_id, Remove(queue_id, may_sync_later=True))

    def _sync_soon(self) -> None:
        """Something was removed; whoever waits for the end does not wait for others to come."""
        if self._sync_timer is None:
            self._sync_timer = self._clock.call_later(_SYNC_AFTER_S, self._sync)
        if self._idle:
            self._sync()

    def _sync(self) -> None:
        if self._sync_timer is not None:
            self._sync_timer.cancel()
            self._sync_timer = None
            self._put(_ALL, SyncRemovals())

    def add_report(self, report: Report) -> "Deferred[None]":
        """Fires when the report is in the queue's folder, durable. Never fails."""
        return self._put(report.queue_id, AddReport(report, self._clock.now()))

    def write_transcript(self, queue_id: QueueId, destination: str, text: str) -> None:
        """Keep what was said in an attempt that has just ended. Nobody waits for it."""
        self._put(queue_id, WriteTranscript(queue_id, destination, text, self._clock.now()))

    def idle(self) -> "Deferred[None]":
        """Fires when nothing waits to be written or synced. What is removed later is not waited for."""
        self._sync()
        done: Deferred[None] = Deferred()
        if self._is_running or self._waiting:
            self._idle.append(done)
        else:
            done.callback(None)
        return done

    def _put(self, queue_id: QueueId, change: Change) -> "Deferred[None]":
        done: Deferred[None] = Deferred()
        self._waiting.setdefault(queue_id, []).append((change, [done]))
        if not self._is_running:
            self._is_running = True
            delay = _GATHER_S if isinstance(change, Remove) else 0.0
            self._start(delay)
        return done

    def _start(self, delay_s: float) -> None:
        if delay_s:
            self._clock.call_later(delay_s, lambda: self._start(0.0))
            return
        Deferred.fromCoroutine(self._run()).addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        """Cannot happen; if it does, what waits is written by the next change that comes."""
        self._is_running = False
        assert failure.value is not None, "a failure has its exception"
        self._tell_failure("writing queue files", failure.value)

    async def _run(self) -> None:
        """Write groups until nothing waits."""
        while self._waiting:
            group = {queue_id: self._waiting[queue_id].pop(0) for queue_id in list(self._waiting)[:_GROUP]}
            try:
                answers = await self._apply([change for change, _ in group.values()])
            except BaseException:
                for queue_id, item in group.items():
                    self._take_back(queue_id, item)
                raise
            trouble = None
            done: list[Deferred[None]] = []
            for (queue_id, item), answer in zip(group.items(), answers, strict=True):
                if answer is None:
                    done += item[1]
                    if isinstance(item[0], Remove) and item[0].may_sync_later:
                        self._sync_soon()
                else:
                    self._take_back(queue_id, item)
                    trouble = answer
                if not self._waiting[queue_id]:
                    del self._waiting[queue_id]
            self._note(trouble)
            for waiting in done:
                waiting.callback(None)
            if trouble is not None:
                await self._clock.sleep(_RETRY_S)
            elif all(isinstance(changes[0][0], Remove) for changes in self._waiting.values()):
                await self._clock.sleep(_GATHER_S)
        self._is_running = False
        idle, self._idle = self._idle, []
        for one in idle:
            one.callback(None)

    async def _apply(self, changes: list[Change]) -> list[Answer]:
        try:
            return await self._blocking.run(Lane.QUEUE, self._spool.apply, changes)
        except Overloaded:
            return [StorageTrouble("too many calls wait for the disk")] * len(changes)
        except Exception as error:  # noqa: BLE001
            # Nobody named this one; it is temporary like all trouble of ours (promise 3), and the traceback is logged.
            self._tell_failure("writing queue files", error)
            return [StorageTrouble(type(error).__name__)] * len(changes)

    def _take_back(self, queue_id: QueueId, item: tuple[Change, list["Deferred[None]"]]) -> None:
        """Put a refused change back in front; a later state that came meanwhile takes its place."""
        changes = self._waiting[queue_id]
        if changes and isinstance(item[0], WriteState) and isinstance(changes[0][0], WriteState):
            changes[0] = (changes[0][0], item[1] + changes[0][1])
        else:
            changes.insert(0, item)

    def _note(self, trouble: Answer) -> None:
        """One line when the trouble begins, not one for each attempt."""
        if trouble is not None and not self._is_told:
            self._sink(Trouble("", "queue files cannot be written", str(trouble), "outcomes wait; tried every 10 s"))
        self._is_told = trouble is not None
