"""When each app password was used last, gathered in memory and written once a minute. Async over doors."""

from collections.abc import Callable

from mailserver.maillog import Sink, Trouble
from mailserver.ports import Blocking, Clock, Lane, Use
from mailserver.relay.gathered_writes import GatheredWrites
from mailserver.store.files import storage_error
from mailserver.store.last_use import Key, LastUse, LastUseFile
from mailserver.store.spool_json import Damaged, NewerFormat

GATHER_S = 60.0


class LastUses:
    """Construct, `load` under the state lock (blocking), then `note`; `stop` writes what is left.

    `is_there` tells whether an account (folded) has this device still: the others are forgotten.
    """

    def __init__(
        self,
        file: LastUseFile,
        is_there: Callable[[str, str], bool],
        *,
        blocking: Blocking,
        clock: Clock,
        sink: Sink,
    ) -> None:
        self._file = file
        self._is_there = is_there
        self._blocking = blocking
        self._clock = clock
        self._sink = sink
        self._uses: dict[Key, LastUse] = {}
        self._writes = GatheredWrites(file.path, self._write, GATHER_S, "tried again every minute", clock, sink)

    def load(self) -> None:
        """Read the file (blocking). What cannot be read is told; a damaged file is written over, it is only dates."""
        try:
            self._uses = self._file.read()
        except Damaged as damage:
            self._sink(Trouble("", f"{self._file.path} is damaged", str(damage), "last uses begin anew"))
        except (NewerFormat, OSError) as trouble:
            self._writes.is_allowed = False
            reason = str(storage_error(trouble)) if isinstance(trouble, OSError) else str(trouble)
            self._sink(Trouble("", str(self._file.path), reason, "last uses of app passwords are not noted"))

    def note(self, address: str, device: str, client: str, use: Use) -> None:
        """A login succeeded; costs nothing. `address` is folded."""
        self._uses[address, device] = LastUse(self._clock.now(), client, use.value)
        self._writes.later()

    async def _write(self) -> None:
        self._uses = {key: one for key, one in self._uses.items() if self._is_there(*key)}
        await self._blocking.run(Lane.GENERAL, self._file.write, dict(self._uses))

    async def stop(self) -> None:
        """Write what was not written yet."""
        await self._writes.stop()
