"""Writing behind the back of mail what would be pleasant to know after a restart. Async over doors."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredLock

from mailserver.maillog import Sink, Trouble
from mailserver.ports import Cancellable, Clock, Overloaded
from mailserver.store.files import storage_error
from mailserver.store.spool_json import Damaged, NewerFormat

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Movable(Protocol):
    """A file that can be moved away when it is damaged (blocking)."""

    path: Path

    def set_aside(self) -> Path:
        """Where it is now. Raises `OSError`."""
        ...


class KeptFile(Movable, Protocol[T_co]):
    """One that can be read, too (blocking)."""

    def read(self) -> T_co:
        """What is there. Raises `OSError`, `Damaged` or `NewerFormat`."""
        ...


def read_or_set_aside(file: Movable, read: Callable[[], T], anew: str, sink: Sink) -> T | None:
    """What `read` answers (blocking). A damaged file is set aside and told, with what begins `anew`, and it is None.

    Raises `NewerFormat` and `OSError`: it belongs to another release, or its disk is in trouble, and nobody may write
    over it.
    """
    try:
        return read()
    except Damaged as damage:
        try:
            where = f"it was set aside as {file.set_aside()}"
        except OSError as trouble:
            where = f"it could not be set aside: {storage_error(trouble)}"
        sink(Trouble("", f"{file.path} is damaged", str(damage), f"{where}; {anew}"))
    return None


class GatheredWrites:
    """Gathers changes for `gather_s` seconds, then has `write` put down all there is; one write at a time.

    A write that fails is told once, with `effect`, and tried again after as long. `is_allowed` False: the file belongs
    to somebody else, nothing is ever written.
    """

    def __init__(
        self, path: Path, write: Callable[[], Awaitable[None]], gather_s: float, effect: str, clock: Clock, sink: Sink
    ) -> None:
        self._path = path
        self._write_all = write
        self._gather_s = gather_s
        self._effect = effect
        self._clock = clock
        self._sink = sink
        self._timer: Cancellable | None = None
        self._turn = DeferredLock()
        self._is_told = False
        self._is_stopped = False
        self.is_allowed = True

    def read(self, file: KeptFile[T], anew: str, for_this_run: str) -> T | None:
        """What the file holds (blocking). None, and told, when it cannot be used.

        A damaged one is set aside: `anew` says what begins without it. Any other is left alone and never written over:
        `for_this_run` says what that means.
        """
        try:
            return read_or_set_aside(file, file.read, anew, self._sink)
        except (NewerFormat, OSError) as trouble:
            self.is_allowed = False
            self._sink(Trouble("", str(file.path), str(trouble), for_this_run))
        return None

    def later(self) -> None:
        """Something has changed."""
        if self._timer is None and self.is_allowed and not self._is_stopped:
            self._timer = self._clock.call_later(self._gather_s, self._begin)

    def _begin(self) -> None:
        self._timer = None
        Deferred.fromCoroutine(self._write())

    async def _write(self) -> None:
        await self._turn.acquire()
        try:
            await self._write_all()
        except Overloaded:
            self.later()
        except OSError as trouble:
            if not self._is_told:
                what = f"{self._path} cannot be written"
                self._sink(Trouble("", what, str(storage_error(trouble)), self._effect))
            self._is_told = True
            self.later()
        else:
            self._is_told = False
        finally:
            self._turn.release()

    async def stop(self) -> None:
        """Write what was not written yet, once; nothing after that."""
        self._is_stopped = True
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            await self._write()
