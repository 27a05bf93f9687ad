"""Taking up what is on disk at start, in slices, while the queue sends already. Async over doors.

Nothing that is on disk may be left lying until the next start: a folder that cannot be listed, or a file that cannot be
read just now (no descriptors, a disk in trouble), is told once and tried again.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import TypeVar

from mailserver.maillog import Trouble
from mailserver.ports import Lane, Overloaded
from mailserver.relay.doors import RelayDoors
from mailserver.store.spool import StoredMessage, Unreadable

T = TypeVar("T")

_SLICE = 500
_BUSY_S = 1.0
_FOLDER_S = 10.0
_FILE_S = 300.0


class Loader:
    """Gives each message that is found to `take_up`, which answers whether it was new, and tells the rest to `tell`."""

    def __init__(
        self,
        doors: RelayDoors,
        take_up: Callable[[StoredMessage], bool],
        tell: Callable[[Unreadable], None],
    ) -> None:
        self._doors = doors
        self._take_up = take_up
        self._tell = tell
        self._late: list[str] = []
        # What was there before anything was sent, sorted; and what of it turned out to be damaged.
        self._names: list[str] = []
        self._set_aside: set[str] = set()
        self.is_stopping = False

    def was_there(self, queue_id: str) -> bool:
        """Whether this message lay in the queue when loading began, also if it was sent and removed meanwhile."""
        place = bisect_left(self._names, queue_id)
        return self._names[place : place + 1] == [queue_id] and queue_id not in self._set_aside

    async def read_all(self) -> tuple[list[str], int]:
        """Every message once: the names that were there, and how many messages were new."""
        names = self._names = await self._patiently(self._doors.spool.ids)
        count = 0
        for start in range(0, len(names), _SLICE):
            if self.is_stopping:
                break
            items = await self._patiently(self._read_slice, names[start : start + _SLICE])
            self._note_damage(items)
            for item in items:
                if not isinstance(item, Unreadable):
                    count += self._take_up(item)
                    continue
                self._tell(item)
                if item.may_pass:
                    self._late.append(item.queue_id)
        return names, count

    def _note_damage(self, items: list[StoredMessage | Unreadable]) -> None:
        """Messages that are gone; where only a state was damaged, the message follows it."""
        gone = {item.queue_id for item in items if isinstance(item, Unreadable) and item.is_set_aside}
        self._set_aside |= gone.difference(item.queue_id for item in items if not isinstance(item, Unreadable))

    async def sweep(self, names: list[str]) -> None:
        """Remove the states of messages that are not there any more."""
        await self._patiently(self._doors.spool.sweep_states, names)

    async def read_late(self) -> int:
        """Come back for the files that could not be read, until each was; how many messages were new."""
        count = 0
        while self._late and not self.is_stopping:
            await self._doors.clock.sleep(_FILE_S)
            late, self._late = self._late, []
            for item in await self._patiently(self._read_slice, late):
                if not isinstance(item, Unreadable):
                    count += self._take_up(item)
                elif item.may_pass:
                    self._late.append(item.queue_id)
                else:
                    self._tell(item)
        return count

    async def _patiently(self, call: Callable[..., T], *args: object) -> T:
        """A blocking call that waits for a lane that is full, or for a disk; loading is in no hurry."""
        is_told = False
        while True:
            try:
                return await self._doors.blocking.run(Lane.QUEUE, call, *args)
            except Overloaded:
                await self._doors.clock.sleep(_BUSY_S)
            except OSError as trouble:
                if not is_told:
                    reason = f"{trouble.strerror or trouble} ({trouble.filename})"
                    effect = f"what waits there is not sent; tried every {_FOLDER_S:g} s"
                    self._doors.sink(Trouble("", "the queue's folder cannot be read", reason, effect))
                    is_told = True
                await self._doors.clock.sleep(_FOLDER_S)

    def _read_slice(self, names: list[str]) -> list[StoredMessage | Unreadable]:
        return list(self._doors.spool.load(names))
