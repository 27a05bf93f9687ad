"""When work for threads begins: after everybody who is ready was served, and never much later."""

import os

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.selectreactor import SelectReactor

from mailserver.net import lulls as lulls_module
from mailserver.net.lulls import LONGEST_WAIT_S, NO_MORE_S, Lulls

# As long as the reactor may wait; each test wakes it at once.
LONG_S = 30.0


class Pipe:
    """Readable for the reactor as long as something is in it; what is done with it is up to the test."""

    def __init__(self, reactor, served):
        self.read_end, self.write_end = os.pipe()
        self._reactor, self._served = reactor, served
        reactor.addReader(self)

    def fileno(self):
        return self.read_end

    def logPrefix(self):
        return "pipe"

    def doRead(self):
        self._served(self)

    def connectionLost(self, reason):
        self.close()

    def say(self):
        os.write(self.write_end, b"x")

    def take(self):
        os.read(self.read_end, 1)

    def close(self):
        self._reactor.removeReader(self)
        for end in (self.read_end, self.write_end):
            os.close(end)
        self.read_end = -1


@pytest.fixture
def reactor():
    made = EPollReactor()
    made.running = True
    yield made
    made.removeAll()
    for waker in made._internalReaders:
        waker.connectionLost(None)
    made._poller.close()


@pytest.fixture
def lulls(reactor):
    made = Lulls(reactor)
    made.start()
    return made


@pytest.fixture
def moment(monkeypatch):
    """The monotonic clock, which a test may move."""
    made = [100.0]
    monkeypatch.setattr(lulls_module.time, "monotonic", lambda: made[0])
    return made


def pipe_of(reactor, seen):
    def served(pipe):
        pipe.take()
        seen.append("served")

    return Pipe(reactor, served)


def test_whoever_is_ready_is_served_before(reactor, lulls):
    seen = []
    pipe = pipe_of(reactor, seen)
    lulls.wait(lambda: seen.append("first"))
    lulls.wait(lambda: seen.append("second"))
    pipe.say()
    pipe.say()
    for _ in range(3):
        reactor.iterate(LONG_S)
    assert seen == ["served", "served", "first", "second"]
    pipe.close()


def test_with_nobody_ready_it_is_now_and_only_once(reactor, lulls):
    seen = []
    lulls.wait(lambda: seen.append("called"))
    reactor.iterate(LONG_S)
    assert seen == ["called"]
    pipe = pipe_of(reactor, seen)
    pipe.say()
    reactor.iterate(LONG_S)
    assert seen == ["called", "served"]
    pipe.close()


def test_what_nobody_waits_for_comes_behind_all_others(reactor, lulls):
    seen = []
    lulls.wait_last(lambda: seen.append("log"))
    lulls.wait(lambda: seen.append("disk"))
    reactor.iterate(LONG_S)
    assert seen == ["disk", "log"]
    lulls.wait_last(lambda: seen.append("log alone"))
    reactor.iterate(LONG_S)
    assert seen[2:] == ["log alone"]


def test_under_steady_load_it_is_late_but_not_very(reactor, lulls, moment):
    seen = []
    pipe = Pipe(reactor, lambda _: seen.append("served"))
    pipe.say()
    lulls.wait(lambda: seen.append("called"))
    for _ in range(5):
        reactor.iterate(LONG_S)
    assert seen == ["served"] * 5
    moment[0] += NO_MORE_S
    reactor.iterate(LONG_S)
    assert seen[5:] == ["called"]
    reactor.iterate(LONG_S)
    assert seen[6:] == ["served"]
    pipe.close()


def test_while_more_work_comes_it_waits_longer_but_not_for_ever(reactor, lulls, moment):
    seen, pipe = [], Pipe(reactor, lambda _: None)
    pipe.say()
    while not seen:
        lulls.wait(lambda: seen.append(moment[0]))
        moment[0] += NO_MORE_S / 2
        reactor.iterate(LONG_S)
    assert 100.0 + LONGEST_WAIT_S <= seen[0] <= 100.0 + LONGEST_WAIT_S + NO_MORE_S
    pipe.close()


def test_a_timer_that_is_due_comes_first(reactor, lulls):
    seen = []
    lulls.wait(lambda: seen.append("called"))
    reactor.iterate(0)
    assert seen == []
    reactor.iterate(LONG_S)
    assert seen == ["called"]


def test_a_timer_set_in_a_lull_is_not_slept_over(reactor, lulls):
    seen = []
    lulls.wait(lambda: reactor.callLater(0, seen.append, "timer"))
    reactor.doIteration(None)
    reactor.iterate(0)
    assert seen == ["timer"]


def test_who_waits_from_within_a_lull_waits_for_the_next(reactor, lulls):
    seen = []
    lulls.wait(lambda: lulls.wait(lambda: seen.append("second")))
    reactor.iterate(LONG_S)
    assert seen == []
    reactor.iterate(LONG_S)
    assert seen == ["second"]


def test_a_mistake_stops_nobody_else(reactor, lulls):
    seen = []
    lulls.wait(lambda: 1 / 0)
    lulls.wait(lambda: seen.append("called"))
    reactor.iterate(LONG_S)
    assert seen == ["called"]


def test_a_mistake_at_the_end_of_a_connection_stops_nobody_else(reactor, lulls):
    class Broken(Pipe):
        def connectionLost(self, reason):
            super().connectionLost(reason)
            raise ZeroDivisionError

    seen = []
    broken = Broken(reactor, lambda _: seen.append(1 / 0))
    pipe = pipe_of(reactor, seen)
    broken.say()
    pipe.say()
    while "served" not in seen:
        reactor.iterate(LONG_S)
    assert broken.read_end == -1
    pipe.close()


def test_before_the_start_and_with_another_reactor_it_is_at_once(reactor):
    seen = []
    Lulls(reactor).wait(lambda: seen.append("not started"))
    other = SelectReactor()
    try:
        lulls = Lulls(other)
        lulls.start()
        lulls.wait(lambda: seen.append("another reactor"))
    finally:
        other.removeAll()
    assert seen == ["not started", "another reactor"]


def test_at_the_stop_nothing_waits_any_more(reactor, lulls):
    seen = []
    lulls.wait(lambda: seen.append("waited"))
    lulls.stop()
    lulls.wait(lambda: seen.append("later"))
    assert seen == ["waited", "later"]
