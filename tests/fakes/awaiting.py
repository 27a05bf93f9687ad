"""Runs a coroutine over fakes to its end, in memory."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


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
