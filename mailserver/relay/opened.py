"""A queued message while something is done with it: its file's contents and the state of its recipients, in memory.

There is at most one for a message, shared by all its jobs that run; it goes when the last of them is over, so that
memory is for what is being sent and not for what waits.
"""

from twisted.internet.defer import Deferred

from mailserver.mail.ids import QueueId
from mailserver.ports import Blocking, Lane
from mailserver.store.spool import Spool, StoredMessage, Unreadable
from mailserver.store.spool_state import Progress, RecipientProgress


class Opened:
    """`progress` is the truth about the recipients; the state file follows it."""

    __slots__ = ("is_removing", "message", "progress", "reports_under_way", "users")

    def __init__(self) -> None:
        self.users = 0
        self.message: StoredMessage | None = None
        self.progress: list[RecipientProgress] = []
        self.reports_under_way: set[str] = set()
        self.is_removing = False

    @property
    def snapshot(self) -> Progress:
        """What the state file is to hold."""
        return tuple(self.progress)

    @property
    def is_done(self) -> bool:
        """Whether nothing but the removal is left."""
        return all(one.is_done for one in self.progress)


class OpenMessages:
    """Opens and closes; counted, because two jobs of one message may run at once."""

    def __init__(self, spool: Spool, blocking: Blocking) -> None:
        self._spool = spool
        self._blocking = blocking
        self._opened: dict[QueueId, Opened] = {}

    async def open(self, queue_id: QueueId) -> tuple[Opened, list[Unreadable]]:
        """Read the message unless another job has; `message` stays None when it cannot be read, and the list says why.

        `close` must follow in any case. Raises `Overloaded`, counted all the same.
        """
        opened = self._opened.setdefault(queue_id, Opened())
        # Counted before the wait: what another job notes meanwhile must not be lost with it.
        opened.users += 1
        trouble: list[Unreadable] = []
        if opened.message is None:
            for item in await self._blocking.run(Lane.QUEUE, self._read, queue_id):
                if isinstance(item, Unreadable):
                    trouble.append(item)
                elif opened.message is None:
                    opened.message = item
                    opened.progress = list(item.progress)
        return opened, trouble

    def keep_until(self, queue_id: QueueId, written: "Deferred[None]") -> None:
        """Whoever opens it before `written` fires must see what is being written, and not what is on disk still."""
        self._opened[queue_id].users += 1
        written.addCallback(lambda _: self.close(queue_id))

    def close(self, queue_id: QueueId) -> None:
        """The job is over."""
        opened = self._opened[queue_id]
        opened.users -= 1
        if not opened.users:
            del self._opened[queue_id]

    def _read(self, queue_id: QueueId) -> list[StoredMessage | Unreadable]:
        return list(self._spool.load((queue_id,)))
