"""The `Clock` door on a reactor.

Wall time is what is written down; monotonic time is what is measured. The reactor runs the later calls.
"""

import time
from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class ScheduledCall:
    """A later call that may be cancelled at any time, also when it has run."""

    __slots__ = ("_call",)

    def __init__(self, call: IDelayedCall) -> None:
        self._call = call

    def cancel(self) -> None:
        """Forget it; nothing happens when it has run already."""
        if self._call.active():
            self._call.cancel()


class ReactorClock:
    """`mailserver.ports.Clock` on `reactor`. A call that raises is logged by the reactor, and the loop lives on."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor

    # Asked ten times a message, so without a call in between. `now` may jump, `monotonic` only grows; both in seconds.
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    def call_later(self, delay_s: float, call: Callable[[], object]) -> ScheduledCall:
        """Run `call` in `delay_s` seconds, at once when that is negative."""
        return ScheduledCall(self._reactor.callLater(max(0.0, delay_s), call))

    def sleep(self, delay_s: float) -> Awaitable[None]:
        """Wait; cancelling the Deferred cancels the timer with it."""
        # A lambda, because the Deferred's canceller must know the timer and the timer the Deferred.
        done: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self.call_later(delay_s, lambda: done.callback(None))
        return done


def use_monotonic_time(reactor: IReactorTime) -> None:
    """Let the reactor's timers run on monotonic time; to be called before any is set.

    Twisted counts them in wall time. When somebody sets the clock an hour ahead, every deadline of every connection
    would pass at once; an hour back, and nothing would ever time out.
    """
    reactor.seconds = time.monotonic  # type: ignore[method-assign]
