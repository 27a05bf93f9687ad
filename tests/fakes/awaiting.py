"""Runs a coroutine over fakes to its end, in memory; or waits for what real sockets bring."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

T = TypeVar("T")
_LOOKS = 6000
_LOOK_S = 0.005


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result; an error if it still waits for something no test has provided."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    assert results, "the coroutine still waits"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def start(coroutine: Coroutine[Any, Any, T]) -> "Deferred[T]":
    """Begin a coroutine that will wait; the test looks at the Deferred after it has moved the clock."""
    return Deferred.fromCoroutine(coroutine)


async def until(condition: Callable[[], object], between: Callable[[], object] = lambda: None) -> None:
    """Let the reactor run until `condition()` is true, however slow the machine; `between` two looks is called.

    Half a minute of looks and it fails, so a test does not hang.
    """
    for _ in range(_LOOKS):
        if condition():
            return
        await deferLater(reactor, _LOOK_S)
        between()
    raise AssertionError("what is waited for has not come")
