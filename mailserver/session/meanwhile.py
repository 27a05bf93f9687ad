"""Something that is found out while a client goes on talking, and that is never waited for longer than a limit."""

from collections.abc import Coroutine

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailserver.ports import Cancellable, Clock

_log = Logger()


class Meanwhile:
    """Base of what asks others. It `is_over` when all is known, time is over, or nobody wants to know any more.

    What comes after that is for the subclass to throw away.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._left = 0
        self._waiting: list[Deferred[None]] = []
        self._timer: Cancellable | None = None

    def _begin(self, work: list[Coroutine[object, object, None]], clock: Clock, limit_s: float, what: str) -> None:
        """Run all of it at once, for the last time. `what` is for the log, should one of them break."""
        self._left = len(work)
        for one in work:
            Deferred.fromCoroutine(self._to_its_end(one)).addErrback(
                lambda failure: _log.failure("{what} broke", failure=failure, what=what)
            )
        if not self.is_over:
            self._timer = clock.call_later(limit_s, self._time_is_over)

    async def _to_its_end(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        finally:
            self._left -= 1
            if not self._left:
                self._end()

    async def settled(self) -> None:
        """Return when all is known, or time is over."""
        if not self.is_over:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting

    def forget(self) -> None:
        """Nobody wants to know any more; may be called at any time."""
        self._end()

    def _time_is_over(self) -> None:
        self._end()

    def _end(self) -> None:
        if self.is_over:
            return
        self.is_over = True
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)
