"""The small services that `service` builds the process from; each starts and stops one thing.

`OrderedService` starts its children in order and stops them in reverse order, each only when the one after it has
stopped: nothing is taken away from under somebody who still works with it.
"""

import signal
from collections.abc import Awaitable, Callable, Iterable
from types import FrameType
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from mailserver.net.admission import GuestList
from mailserver.ports import Cancellable, Clock

_log = Logger()


class OrderedService(MultiService):
    """Children start in the order in which they were added, and stop in reverse, one after the other.

    All stops together have `limit_s` seconds; what has not stopped then is told and left behind, because whoever sent
    SIGTERM will send SIGKILL next. One child's failure to stop is logged and keeps no other from stopping.
    """

    def __init__(self, clock: Clock, limit_s: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._clock = clock
        self._limit_s = limit_s

    def stopService(self) -> "Deferred[None]":
        """Fires when everything has stopped, or the limit has passed."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop_children())

    async def _stop_children(self) -> None:
        end = self._clock.monotonic() + self._limit_s
        for child in reversed(list(self)):
            stopping = maybeDeferred(child.stopService)
            # What has no time left is asked to stop all the same: much of it needs none.
            late = self._clock.call_later(max(0.0, end - self._clock.monotonic()), stopping.cancel)
            try:
                await stopping
            except CancelledError:
                _log.warn("{name} did not stop in time", name=child.name)
            except Exception:  # noqa: BLE001 - one that cannot stop must not keep the others from stopping
                _log.failure("{name} did not stop well", name=child.name)
            finally:
                late.cancel()


class Starter(Service):
    """A named child made of two calls: `start` at the start, `stop` at the stop (it may answer with an awaitable)."""

    def __init__(
        self,
        name: str,
        start: Callable[[], object] | None = None,
        stop: Callable[[], "Awaitable[object] | object"] | None = None,
    ) -> None:
        self.setName(name)  # type: ignore[no-untyped-call]
        self._start = start
        self._stop = stop

    def startService(self) -> None:
        """Blocks as long as `start` does; what it raises ends the start."""
        if self._start is not None:
            self._start()
        super().startService()  # type: ignore[no-untyped-call]

    def stopService(self) -> "Deferred[object] | None":
        """As `stop` answers."""
        if not self.running:
            return None
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(_awaited(self._stop())) if self._stop is not None else None


async def _awaited(answer: "Awaitable[object] | object") -> object:
    return await answer if isinstance(answer, Awaitable) else answer


class Poll(Service):
    """Runs `look` every `interval_s` seconds, the next time only after the last one has answered."""

    def __init__(self, name: str, clock: Clock, interval_s: float, look: Callable[[], Awaitable[None]]) -> None:
        self.setName(name)  # type: ignore[no-untyped-call]
        self._clock = clock
        self._interval_s = interval_s
        self._look = look
        self._next: Cancellable | None = None

    def startService(self) -> None:
        """The first look is after one interval."""
        super().startService()  # type: ignore[no-untyped-call]
        self._wait()

    def stopService(self) -> None:
        """No further look; one under way ends by itself."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._next is not None:
            self._next.cancel()

    def _wait(self) -> None:
        if self.running:
            self._next = self._clock.call_later(self._interval_s, self._run)

    def _run(self) -> None:
        looking = Deferred.fromCoroutine(self._looked())
        looking.addErrback(lambda failure: _log.failure("{name} broke", failure=failure, name=self.name))
        looking.addCallback(lambda _: self._wait())

    async def _looked(self) -> None:
        await self._look()


class Farewell(Service):
    """At the stop: who is in the middle of a command gets its answer, everybody else 421; then the rest is dropped."""

    def __init__(self, guests: Iterable[GuestList], clock: Clock, grace_s: float) -> None:
        self.setName("farewell")  # type: ignore[no-untyped-call]
        self._guests = tuple(guests)
        self._clock = clock
        self._grace_s = grace_s

    def stopService(self) -> "Deferred[None]":
        """Fires when nobody is left. Listeners are closed already, so nobody comes either."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._see_off())

    async def _see_off(self) -> None:
        for guests in self._guests:
            for guest in guests:
                guest.shut_down()
        end = self._clock.monotonic() + self._grace_s
        while self._is_anybody_left() and self._clock.monotonic() < end:
            await self._clock.sleep(0.02)
        for guests in self._guests:
            for guest in guests:
                guest.abort()
        if self._is_anybody_left():
            # A connection that was dropped is gone in the reactor's next turns.
            await self._clock.sleep(0.02)

    def _is_anybody_left(self) -> bool:
        return any(len(guests) for guests in self._guests)


class HangupService(Service):
    """SIGHUP calls `reload` in the reactor's loop while the service runs. Only for the process's main thread."""

    def __init__(self, reactor: IReactorFromThreads, reload: Callable[[], object]) -> None:
        self.setName("hangup")  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self._reload = reload
        self._before: Any = None

    def startService(self) -> None:
        """Take the signal over; without this it would end the process."""
        super().startService()  # type: ignore[no-untyped-call]
        self._before = signal.signal(signal.SIGHUP, self._hung_up)

    def stopService(self) -> None:
        """Ignore it from now on: a reload while stopping must not kill what is being finished."""
        super().stopService()  # type: ignore[no-untyped-call]
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        # In a signal there is little that may be done; the reactor does the rest.
        self._reactor.callFromThread(self._reload)
