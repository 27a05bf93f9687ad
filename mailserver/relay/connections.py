"""Conversations that wait a moment for the next message to the same place.

Opening a connection costs a handshake or two and, with TLS, more CPU than a small message; so after a message the
conversation stays for a few seconds. The most recently used one is taken first, the others age and end with QUIT.
"""

from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailserver.mail.route import Route
from mailserver.ports import Cancellable, Clock, Conversation

_log = Logger()


@dataclass(frozen=True, slots=True)
class _Idle:
    conversation: Conversation
    is_tls_missing: bool
    timer: Cancellable


class IdleConversations:
    """At most `max_idle` in all, each for at most `keep_s` seconds. With either at 0 nothing is kept."""

    def __init__(self, clock: Clock, *, keep_s: float, max_idle: int) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._max_idle = max_idle
        self._idle: dict[Route, list[_Idle]] = {}
        self._count = 0
        self._is_closed = False

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
        timer = self._clock.call_later(self._keep_s, lambda: self._expire(route, idle))
        idle = _Idle(conversation, is_tls_missing, timer)
        self._idle.setdefault(route, []).append(idle)
        self._count += 1

    def end(self, conversation: Conversation) -> None:
        """QUIT to one that no other message is to use. Does not wait."""
        _end(conversation)

    def close(self) -> None:
        """End all, and keep none from now on."""
        self._is_closed = True
        for route, waiting in list(self._idle.items()):
            for idle in list(waiting):
                self._expire(route, idle)

    def _expire(self, route: Route, idle: _Idle) -> None:
        self._forget(route, idle)
        _end(idle.conversation)

    def _forget(self, route: Route, idle: _Idle) -> None:
        idle.timer.cancel()
        self._idle[route].remove(idle)
        if not self._idle[route]:
            del self._idle[route]
        self._count -= 1


def _end(conversation: Conversation) -> None:
    """QUIT without holding anybody up."""

    async def end() -> None:
        await conversation.quit()

    Deferred.fromCoroutine(end()).addErrback(lambda why: _log.failure("ending a connection", failure=why))
