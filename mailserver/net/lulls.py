"""Lulls: the moments when the reactor has served all that is ready and is about to wait.

Python runs one thread at a time. A thread that works with files while the reactor is busy asks for the interpreter
after each system call, waits for it, and makes the reactor wait in turn; on two processors a small file then takes four
times as long, and both pay for the hand-overs (docs/performance.md). So work for threads begins in a lull: everybody
who has said something is answered first, and the threads then have the interpreter for themselves while the reactor
sleeps. While more work keeps coming, the wait is `LONGEST_WAIT_S` at most, and else a sixth of that.
"""

import time
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

# Under steady load there may be no lull at all. Then it is one when for so long no more work for threads has come ...
NO_MORE_S = 0.005
# ... and after so long in any case. Fifty clients are served in half of it, and their messages make one group.
LONGEST_WAIT_S = 0.03

_log = Logger()

AtLull = Callable[[Callable[[], object]], object]


def at_once(call: Callable[[], object]) -> None:
    """An `AtLull` that waits for nothing."""
    call()


class Lulls:
    """Calls that wait for the next lull of `reactor`. For the reactor thread.

    `start` takes the place of the reactor's own turn, which it can for Twisted's epoll reactor; before that, and with
    any other reactor, a call is made at once.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: list[Callable[[], object]] = []
        self._last: list[Callable[[], object]] = []
        self._wait_until = self._wait_at_most_until = 0.0
        self._is_watching = False

    def wait(self, call: Callable[[], object]) -> None:
        """Make `call` in the next lull, in the order of coming. It must not block; when it raises, that is logged."""
        self._put(self._waiting, call)

    def wait_last(self, call: Callable[[], object]) -> None:
        """The same behind all others, for what nobody waits for: threads are at work already meanwhile."""
        self._put(self._last, call)

    def _put(self, line: list[Callable[[], object]], call: Callable[[], object]) -> None:
        if not self._is_watching:
            call()
            return
        now = time.monotonic()
        if not (self._waiting or self._last):
            self._wait_at_most_until = now + LONGEST_WAIT_S
        self._wait_until = min(now + NO_MORE_S, self._wait_at_most_until)
        line.append(call)

    def start(self) -> None:
        """Watch for lulls from now on."""
        reactor = self._reactor
        if all(hasattr(reactor, name) for name in ("_poller", "_selectables", "_doReadOrWrite")):
            self._is_watching = True
            reactor.doIteration = self._turn

    def stop(self) -> None:
        """Make the calls that wait, and every later one at once."""
        self._is_watching = False
        self._make_calls()

    def _turn(self, timeout_s: float | None) -> None:
        """What `EPollReactor.doPoll` does, with lulls, and without a log context for each event."""
        reactor = self._reactor
        poll, selectables, serve = reactor._poller.poll, reactor._selectables, reactor._doReadOrWrite
        if self._waiting or self._last:
            is_late = time.monotonic() >= self._wait_until
            events = () if is_late else poll(0, len(selectables))
            # With a timer that is due this is no lull.
            if is_late or not (events or timeout_s == 0):
                self._make_calls()
                # They may have set a timer, and perhaps one of them has stopped the reactor.
                return
        else:
            events = poll(-1 if timeout_s is None else timeout_s, len(selectables))
        for descriptor, event in events:
            # Somebody served before may have closed it.
            selectable = selectables.get(descriptor)
            if selectable is not None:
                try:
                    serve(selectable, descriptor, event)
                except Exception:  # noqa: BLE001 - nobody's mistake may end the loop that serves everybody
                    _log.failure("a mistake while a connection was served")

    def _make_calls(self) -> None:
        calls = self._waiting + self._last
        self._waiting, self._last = [], []
        for call in calls:
            try:
                call()
            except Exception:  # noqa: BLE001 - as above
                _log.failure("a mistake in what waited for a lull")
