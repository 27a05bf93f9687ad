"""One contract for the real clock and the one in tests/fakes."""

import time

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.testing import MemoryReactorClock

from mailserver.net.clock import ReactorClock
from tests.fakes.clock import FakeClock


@pytest.fixture(params=["real", "fake"])
def clock_and_advance(request):
    if request.param == "fake":
        clock = FakeClock()
        return clock, clock.advance
    reactor = MemoryReactorClock()
    return ReactorClock(reactor), reactor.advance


def test_a_call_runs_when_its_time_has_come_and_not_before(clock_and_advance):
    clock, advance = clock_and_advance
    seen = []
    clock.call_later(5, lambda: seen.append("called"))
    advance(4.9)
    assert seen == []
    advance(0.2)
    assert seen == ["called"]


def test_a_cancelled_call_never_runs_and_may_be_cancelled_again(clock_and_advance):
    clock, advance = clock_and_advance
    seen = []
    call = clock.call_later(1, lambda: seen.append("called"))
    call.cancel()
    call.cancel()
    advance(2)
    assert seen == []


def test_cancelling_a_call_that_has_run_is_no_error(clock_and_advance):
    clock, advance = clock_and_advance
    call = clock.call_later(1, lambda: None)
    advance(1)
    call.cancel()


def test_calls_run_in_the_order_of_their_times(clock_and_advance):
    clock, advance = clock_and_advance
    seen = []
    clock.call_later(2, lambda: seen.append(2))
    clock.call_later(1, lambda: seen.append(1))
    advance(2)
    assert seen == [1, 2]


def test_sleep_answers_after_the_delay(clock_and_advance):
    clock, advance = clock_and_advance
    done = []
    clock.sleep(3).addCallback(done.append)
    advance(2)
    assert done == []
    advance(1)
    assert done == [None]


def test_now_is_seconds_since_the_epoch(clock_and_advance):
    clock, _ = clock_and_advance
    assert clock.now() > 1_700_000_000


def test_monotonic_never_goes_back(clock_and_advance):
    clock, advance = clock_and_advance
    before = clock.monotonic()
    advance(1)
    assert clock.monotonic() >= before


def test_the_real_clock_reads_the_system():
    clock = ReactorClock(MemoryReactorClock())
    assert abs(clock.now() - time.time()) < 5
    assert abs(clock.monotonic() - time.monotonic()) < 5


def test_a_sleep_that_is_cancelled_leaves_no_timer_behind():
    reactor = MemoryReactorClock()
    failures = []
    ReactorClock(reactor).sleep(60).addErrback(failures.append).cancel()
    assert failures[0].check(CancelledError)
    assert reactor.getDelayedCalls() == []


def test_a_negative_delay_is_now():
    """A wall clock that stepped back makes such delays; the reactor would refuse them."""
    reactor = MemoryReactorClock()
    seen = []
    ReactorClock(reactor).call_later(-1, lambda: seen.append(1))
    reactor.advance(0)
    assert seen == [1]


def test_timers_of_the_reactor_do_not_follow_the_wall_clock(monkeypatch):
    from twisted.internet.selectreactor import SelectReactor

    from mailserver.net.clock import use_monotonic_time

    moment = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    reactor = SelectReactor()
    try:
        use_monotonic_time(reactor)
        seen = []
        reactor.callLater(10, lambda: seen.append("late"))
        monkeypatch.setattr(time, "time", lambda: 9e9)
        reactor.runUntilCurrent()
        assert seen == []
        moment[0] += 11
        reactor.runUntilCurrent()
        assert seen == ["late"]
    finally:
        reactor.removeAll()
