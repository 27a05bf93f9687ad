"""The waits that a login is made to take: those of a guesser before it is looked at, and those of a failure after it.

Guesses are slowed by address (`policy.limits.LoginGuesses`), and a failed login is answered at a moment that does not
tell why it failed. Both are waits of ours and not work, so the session tells that its client may be sent away in one.
"""

from mailserver.mail.peer import Peer
from mailserver.policy.limits import LoginGuesses
from mailserver.ports import Clock

# How much of a login name goes into the log; a client may send twelve thousand octets.
LOGGED_CHARS = 255


class Patience:
    """The waits of one session. `is_waiting` while its client is kept waiting by intention."""

    __slots__ = ("_clock", "_guesses", "_peer", "is_waiting")

    def __init__(self, guesses: LoginGuesses, peer: Peer, clock: Clock) -> None:
        self._guesses = guesses
        self._peer = peer
        self._clock = clock
        self.is_waiting = False

    async def before_check(self) -> bool:
        """Let a guesser wait; whether there was a wait at all."""
        return await self._wait(self._guesses.delay_s(self._peer, self._clock.monotonic()))

    async def after_failure(self, began: float) -> None:
        """Hold the answer back. `began`: monotonic seconds when the check began. To be called when all is noted."""
        await self._wait(self._guesses.answer_in_s(began, self._clock.monotonic()))

    async def _wait(self, delay_s: float) -> bool:
        if delay_s <= 0.0:
            return False
        self.is_waiting = True
        try:
            await self._clock.sleep(delay_s)
        finally:
            self.is_waiting = False
        return True
