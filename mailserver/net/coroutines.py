"""Running a coroutine that usually has nothing to wait for, without the price of a Deferred.

Most answers of a session come at once. `Deferred.fromCoroutine` and its callbacks cost about as much as such an answer
itself (docs/performance.md), so the coroutine is tried first, and only one that really waits is given a Deferred.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], done: Callable[[T], object], failed: Callable[[Failure], object]) -> None:
    """Run `coroutine`; call `done` with its result or `failed` with what it, or `done`, raised; at once if possible."""
    try:
        waits_for = coroutine.send(None)
    except StopIteration as end:
        try:
            done(end.value)
        except Exception:  # noqa: BLE001 - as an errback behind a callback would get it
            failed(Failure())
    except Exception:  # noqa: BLE001 - whatever it is, it goes to `failed`
        failed(Failure())
    else:
        Deferred.fromCoroutine(_rest(coroutine, waits_for)).addCallback(done).addErrback(failed)


async def _rest(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> T:
    """Drive a coroutine on that has begun to wait for a Deferred."""
    while True:
        error = await _outcome(waits_for)
        try:
            waits_for = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration as end:
            result: T = end.value
            return result


async def _outcome(waits_for: Any) -> Exception | None:
    """Wait; the exception if it ended in one. A result the coroutine fetches from the Deferred itself."""
    try:
        await waits_for
    except Exception as error:  # noqa: BLE001 - it belongs to the coroutine, which gets it
        return error
    return None
