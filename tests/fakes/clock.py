"""A clock that moves only by `advance`."""

import itertools
from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as TwistedClock

EPOCH = 1_750_000_000.0


class _Call:
    def __init__(self, call):
        self._call = call

    def cancel(self) -> None:
        if self._call.active():
            self._call.cancel()


class FakeClock:
    """`mailserver.ports.Clock` over Twisted's test clock; `step` moves wall time alone, as an administrator does."""

    def __init__(self, now: float = EPOCH) -> None:
        self.twisted = TwistedClock()
        self._epoch = now

    def now(self) -> float:
        return self._epoch + self.twisted.seconds()

    def monotonic(self) -> float:
        return self.twisted.seconds()

    def call_later(self, delay_s: float, call: Callable[[], object]) -> _Call:
        return _Call(self.twisted.callLater(delay_s, call))

    def sleep(self, delay_s: float) -> Awaitable[None]:
        done: Deferred[None] = Deferred()
        self.twisted.callLater(delay_s, done.callback, None)
        return done

    def advance(self, seconds: float) -> None:
        self.twisted.advance(seconds)

    def step(self, seconds: float) -> None:
        self._epoch += seconds


class Counter:
    """Queue ids for tests: readable, in order."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self):
        from mailserver.mail.ids import QUEUE_ID_LENGTH, QueueId

        return QueueId(f"{next(self._numbers):0{QUEUE_ID_LENGTH}d}")
