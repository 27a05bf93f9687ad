"""Running a coroutine that usually has nothing to wait for, without the price of a Deferred.

Most answers of a session come at once. `Deferred.fromCoroutine` and its callbacks cost about as much as such an answer
itself (docs/performance.md), so the coroutine is driven by hand: tried first, and taken up again by a callback on
whatever Deferred it waits for.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], done: Callable[[T], object], failed: Callable[[Failure], object]) -> None:
    """Run `coroutine`; call `done` with its result or `failed` with what it, or `done`, raised; at once if possible."""
    _step(coroutine, done, failed, partial(coroutine.send, None))


def _step(
    coroutine: Coroutine[Any, Any, T],
    done: Callable[[T], object],
    failed: Callable[[Failure], object],
    go_on: Callable[[], Any],
) -> None:
    try:
        waits_for: Deferred[Any] = go_on()
    except StopIteration as end:
        try:
            done(end.value)
        except Exception:  # noqa: BLE001 - as an errback behind a callback would get it
            failed(Failure())
    except Exception:  # noqa: BLE001 - whatever it is, it goes to `failed`
        failed(Failure())
    else:
        waits_for.addBoth(_resume, coroutine, done, failed)


def _resume(
    result: Any,
    coroutine: Coroutine[Any, Any, T],
    done: Callable[[T], object],
    failed: Callable[[Failure], object],
) -> None:
    """The Deferred that was waited for has fired. A good result the coroutine takes from it itself."""
    if isinstance(result, Failure):
        _step(
            coroutine, done, failed, partial(coroutine.throw, result.value or RuntimeError("a failure without cause"))
        )
    else:
        _step(coroutine, done, failed, partial(coroutine.send, None))
