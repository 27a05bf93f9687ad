"""A coroutine that has nothing to wait for ends at once; one that waits ends as a Deferred would."""

import pytest
from twisted.internet.defer import Deferred

from mailserver.net.coroutines import run


class Ends:
    def __init__(self):
        self.results = []
        self.failures = []

    def run(self, coroutine):
        run(coroutine, self.results.append, lambda failure: self.failures.append(failure.value))


@pytest.fixture
def ends():
    return Ends()


def test_a_result_that_is_there_comes_at_once(ends):
    async def now():
        return 7

    ends.run(now())
    assert ends.results == [7]


def test_an_exception_that_is_there_comes_at_once(ends):
    async def now():
        raise KeyError("x")

    ends.run(now())
    assert isinstance(ends.failures[0], KeyError)


def test_it_waits_for_one_thing_after_the_other(ends):
    first, second, third = Deferred(), Deferred(), Deferred()

    async def later():
        return [await first, await second, await inner()]

    async def inner():
        return await third

    ends.run(later())
    first.callback(1)
    third.callback(3)
    assert ends.results == []
    second.callback(2)
    assert ends.results == [[1, 2, 3]]


def test_a_failure_waited_for_is_raised_in_the_coroutine_and_may_be_handled_there(ends):
    broken = Deferred()

    async def later():
        try:
            await broken
        except ZeroDivisionError:
            return "handled"

    ends.run(later())
    broken.errback(ZeroDivisionError())
    assert ends.results == ["handled"] and ends.failures == []


def test_a_failure_that_is_not_handled_is_told(ends):
    broken = Deferred()

    async def later():
        await broken

    ends.run(later())
    broken.errback(ZeroDivisionError())
    assert isinstance(ends.failures[0], ZeroDivisionError)


def test_what_the_receiver_raises_is_told_too():
    failures = []

    async def now():
        return 1

    run(now(), lambda result: 1 / 0, lambda failure: failures.append(failure.value))
    assert isinstance(failures[0], ZeroDivisionError)


def test_a_deferred_that_has_fired_already_is_no_reason_to_wait(ends):
    fired = Deferred()
    fired.callback(5)

    async def now():
        return await fired

    ends.run(now())
    assert ends.results == [5]
