"""Who floods us with commands waits for its turn, and all who do so share a small part of the time.

Hundreds of clients that pipeline thousands of commands each would otherwise have one long round each in every turn of
the reactor, and somebody who says one command would wait for all of them.
"""

from collections import deque
from collections.abc import Callable

from mailserver.ports import Clock

# So much of each turn of the reactor is for those who wait; whoever is ready besides is served in between.
SHARE_S = 0.01


class Turn:
    """A call that waits."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Forget it; nothing happens when it has run already."""
        self.call = None


class Turns:
    """One line for all conversations. For the reactor thread; a call must not raise."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[Turn] = deque()
        self._is_scheduled = False

    def wait(self, call: Callable[[], object]) -> Turn:
        """Run `call` when it is its turn: not before the next turn of the reactor, in the order of coming."""
        turn = Turn(call)
        self._waiting.append(turn)
        self._schedule()
        return turn

    def _schedule(self) -> None:
        if self._waiting and not self._is_scheduled:
            self._is_scheduled = True
            self._clock.call_later(0, self._run)

    def _run(self) -> None:
        self._is_scheduled = False
        end = self._clock.monotonic() + SHARE_S
        # Who comes back while this goes on has its turn in the next one.
        for _ in range(len(self._waiting)):
            turn = self._waiting.popleft()
            call, turn.call = turn.call, None
            if call is not None:
                call()
            if self._clock.monotonic() >= end:
                break
        self._schedule()
