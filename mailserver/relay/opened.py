"""A queued message while something is done with it: its file's contents and the state of its recipients, in memory.

There is at most one for a message, shared by all its jobs that run; it goes when the last of them is over, so that
memory is for what is being sent and not for what waits. A message that was accepted a moment ago is the exception: it
is remembered until it is opened for the first time, as long as there is room, for it is tried at once as a rule, and
reading the file twice takes more time than all the rest of handing it on.
"""

from collections import OrderedDict

from twisted.internet.defer import Deferred

from mailserver.mail.ids import QueueId
from mailserver.ports import Blocking, Lane
from mailserver.store.spool import Spool, StoredMessage, Unreadable
from mailserver.store.spool_state import Progress, RecipientProgress

# Each message that is remembered, and all of them.
FRESH_MESSAGE_OCTETS = 64 << 10
FRESH_OCTETS = 8 << 20
# What an envelope takes beside its content; also keeps small messages from being too many.
_FRESH_EXTRA_OCTETS = 2 << 10


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
        self._fresh: OrderedDict[QueueId, StoredMessage] = OrderedDict()
        self._fresh_octets = 0

    def remember(self, message: StoredMessage) -> None:
        """A message that was just made durable, for which nothing is written yet. The oldest make room."""
        octets = message.content.octets
        if octets is None or len(octets) > FRESH_MESSAGE_OCTETS or message.queue_id in self._fresh:
            return
        self._fresh[message.queue_id] = message
        self._fresh_octets += len(octets) + _FRESH_EXTRA_OCTETS
        while self._fresh_octets > FRESH_OCTETS:
            self.forget(next(iter(self._fresh)))

    def forget(self, queue_id: QueueId) -> StoredMessage | None:
        """Remember it no more; what was remembered."""
        message = self._fresh.pop(queue_id, None)
        if message is not None:
            self._fresh_octets -= message.content.length + _FRESH_EXTRA_OCTETS
        return message

    async def open(self, queue_id: QueueId) -> tuple[Opened, list[Unreadable]]:
        """Read the message unless another job has; `message` stays None when it cannot be read, and the list says why.

        `close` must follow in any case. Raises `Overloaded`, counted all the same.
        """
        opened = self._opened.setdefault(queue_id, Opened())
        # Counted before the wait: what another job notes meanwhile must not be lost with it.
        opened.users += 1
        trouble: list[Unreadable] = []
        # Whoever changes anything about it opens it first: what is remembered is what the disk holds.
        fresh = self.forget(queue_id)
        if fresh is not None and opened.message is None:
            opened.message, opened.progress = fresh, list(fresh.progress)
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
