"""Waiting for several answers at once, and for none too long."""

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from mailserver.ports import Clock

T = TypeVar("T")


async def together(asking: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All their results, in order; all run at once. They must not raise: the first that does is what is raised here."""
    waiting = [Deferred.fromCoroutine(one) for one in asking]
    return [await one for one in waiting]


async def within(clock: Clock, limit_s: float, asking: Coroutine[Any, Any, T], otherwise: T) -> T:
    """Its result; `otherwise` when there is none in time. What it waits for is canceled then."""
    waiting = Deferred.fromCoroutine(asking)
    has_ended = False

    def give_up() -> None:
        nonlocal has_ended
        has_ended = True
        waiting.cancel()

    timer = clock.call_later(limit_s, give_up)
    try:
        return await waiting
    except CancelledError:
        if not has_ended:
            raise
        return otherwise
    finally:
        timer.cancel()
