"""The queue's one timer and the work that it starts. Async over the clock; knows nothing of messages.

`take` gives a piece of work while there is one that may start, `next_due` tells when to look again.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.ports import Cancellable, Clock
from mailserver.relay.doors import TellFailure

Work = Coroutine[Any, Any, None]

# A timer never sleeps longer than this, whatever it was told.
_LONGEST_SLEEP_S = 3600.0


class Pump:
    """Starts nothing before `start` and nothing after `stop`; work that was started is finished."""

    def __init__(
        self,
        clock: Clock,
        take: Callable[[float], Work | None],
        next_due: Callable[[], float | None],
        tell_failure: TellFailure,
    ) -> None:
        self._clock = clock
        self._take = take
        self._next_due = next_due
        self._tell_failure = tell_failure
        self._timer: Cancellable | None = None
        self._wakes_at = 0.0
        self._is_started = False
        self._running = 0
        self._drained: list[Deferred[None]] = []
        self.is_stopping = False

    def start(self) -> None:
        """Begin to look for work."""
        self._is_started = True
        self.wake()

    def stop(self) -> None:
        """Look for no more work."""
        self.is_stopping = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wake(self) -> None:
        """Look for work in the next turn of the reactor, so that a reply goes out before its message is sent on."""
        self._set_timer(0.0)

    def _set_timer(self, delay_s: float) -> None:
        if self.is_stopping or not self._is_started:
            return
        at = self._clock.monotonic() + delay_s
        if self._timer is not None:
            if self._wakes_at <= at:
                return
            self._timer.cancel()
        self._wakes_at = at
        self._timer = self._clock.call_later(delay_s, self._look)

    def _look(self) -> None:
        """Start all that may start, then set the timer for the earliest that waits."""
        self._timer = None
        if self.is_stopping:
            return
        while (work := self._take(self._clock.monotonic())) is not None:
            self.run(work)
        due = self._next_due()
        if due is not None:
            wait = due - self._clock.monotonic()
            self._set_timer(min(max(0.0, wait), _LONGEST_SLEEP_S))

    def run(self, work: Work) -> None:
        """Run work of our own; what it raises is a fault of ours, logged, and the queue lives."""
        self._running += 1
        Deferred.fromCoroutine(work).addErrback(self.broken).addCallback(self._over)

    def broken(self, failure: Failure) -> None:
        """An errback that logs."""
        assert failure.value is not None, "a failure has its exception"
        self._tell_failure("the queue", failure.value)

    def _over(self, _: object) -> None:
        self._running -= 1
        if not self._running:
            drained, self._drained = self._drained, []
            for one in drained:
                one.callback(None)

    async def drained(self) -> None:
        """Wait until nothing runs."""
        if self._running:
            drained: Deferred[None] = Deferred()
            self._drained.append(drained)
            await drained
