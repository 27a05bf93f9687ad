"""Conversations that wait a moment for the next message to the same place.

Opening a connection costs a handshake or two and, with TLS, more CPU than a small message; so after a message the
conversation stays for a few seconds. The most recently used one is taken first, the others age and end with QUIT.
"""

import math
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailserver.mail.route import Route
from mailserver.ports import Cancellable, Clock, Conversation

_log = Logger()

# Two times that differ by less are the same.
_INSTANT_S = 0.001


@dataclass(frozen=True, slots=True)
class _Idle:
    conversation: Conversation
    is_tls_missing: bool
    expires_at: float


class IdleConversations:
    """At most `max_idle` in all, each for at most `keep_s` seconds. With either at 0 nothing is kept."""

    def __init__(self, clock: Clock, *, keep_s: float, max_idle: int) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._max_idle = max_idle
        self._idle: dict[Route, list[_Idle]] = {}
        self._count = 0
        self._is_closed = False
        # One for all: most conversations are taken again long before their time.
        self._timer: Cancellable | None = None

    def take(self, route: Route) -> tuple[Conversation, bool] | None:
        """One that waits for this route, and what `give` was told of it; the caller has it alone now.

        It may have died in the meantime.
        """
        waiting = self._idle.get(route)
        if not waiting:
            return None
        idle = waiting[-1]
        self._forget(route, idle)
        return idle.conversation, idle.is_tls_missing

    def give(self, route: Route, conversation: Conversation, *, is_tls_missing: bool = False) -> None:
        """Keep it if another message may follow and there is room, else end it. Does not wait.

        `is_tls_missing`: the host has TLS, and this conversation had to do without.
        """
        if self._is_closed or not conversation.can_send or self._keep_s <= 0 or self._count >= self._max_idle:
            _end(conversation)
            return
        expires_at = self._clock.monotonic() + self._keep_s
        self._idle.setdefault(route, []).append(_Idle(conversation, is_tls_missing, expires_at))
        self._count += 1
        if self._timer is None:
            self._timer = self._clock.call_later(self._keep_s, self._expire_old)

    def end(self, conversation: Conversation) -> None:
        """QUIT to one that no other message is to use. Does not wait."""
        _end(conversation)

    def close(self) -> None:
        """End all, and keep none from now on."""
        self._is_closed = True
        self._expire(math.inf)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire_old(self) -> None:
        """End those whose time has come, and look again when it has for the next."""
        self._timer = None
        now = self._clock.monotonic()
        self._expire(now + _INSTANT_S)
        if self._idle:
            earliest = min(idle.expires_at for waiting in self._idle.values() for idle in waiting)
            self._timer = self._clock.call_later(earliest - now, self._expire_old)

    def _expire(self, until: float) -> None:
        for route, waiting in list(self._idle.items()):
            for idle in [one for one in waiting if one.expires_at <= until]:
                self._forget(route, idle)
                _end(idle.conversation)

    def _forget(self, route: Route, idle: _Idle) -> None:
        self._idle[route].remove(idle)
        if not self._idle[route]:
            del self._idle[route]
        self._count -= 1


def _end(conversation: Conversation) -> None:
    """QUIT without holding anybody up."""

    async def end() -> None:
        await conversation.quit()

    Deferred.fromCoroutine(end()).addErrback(lambda why: _log.failure("ending a connection", failure=why))
