"""Messages that the operator takes out of the queue, without a bounce. Async over doors.

What is being sent just now cannot be called back: it goes when the last of its jobs is over, whatever came of them.
"""

from collections.abc import Awaitable, Callable, Iterable

from twisted.internet.defer import Deferred

from mailserver.mail.ids import QueueId
from mailserver.maillog import Removed, Sink
from mailserver.relay.lanes import Entry
from mailserver.relay.ledger import Ledger
from mailserver.relay.pump import Work
from mailserver.relay.queue import Queue


class Removal:
    """One for each runner; `run` is its way to start work that nobody waits for."""

    def __init__(self, ledger: Ledger, queue: Queue, sink: Sink, run: Callable[[Work], None]) -> None:
        self._ledger = ledger
        self._queue = queue
        self._sink = sink
        self._run = run

    async def remove(self, ids: Iterable[QueueId]) -> int:
        """Take these out; how many were known. Durable when it answers, but for those that are being tried."""
        going: list[Awaitable[None]] = []
        count = 0
        for queue_id in ids:
            entry = self._queue.entry(queue_id)
            if entry is None or entry.is_removed:
                continue
            count += 1
            is_running = self._queue.is_running(queue_id)
            self._queue.withdraw(queue_id)
            if not is_running:
                going.append(Deferred.fromCoroutine(self._take_out(queue_id)))
        for one in going:
            await one
        return count

    def job_is_over(self, entry: Entry) -> None:
        """If that was the last job of a message that the operator took out, it goes now."""
        queue_id = entry.queue_id
        if entry.is_removed and self._queue.entry(queue_id) is entry and not self._queue.is_running(queue_id):
            self._run(self._take_out(queue_id))

    def is_removed(self, queue_id: QueueId) -> bool:
        """Whether the operator took it out, and an attempt is still under way."""
        entry = self._queue.entry(queue_id)
        return entry is not None and entry.is_removed

    async def _take_out(self, queue_id: QueueId) -> None:
        await self._ledger.remove(queue_id)
        self._queue.forget(queue_id)
        self._sink(Removed(queue_id, "by the operator"))
