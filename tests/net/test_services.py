"""The order of starting and stopping, and the small services, with a clock that moves by hand."""

import os
import signal

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher

from mailserver.net.services import Farewell, HangupService, OrderedService, Poll, Starter
from tests.fakes.clock import FakeClock


class Noted(Service):
    def __init__(self, name, notes, stopping=None):
        self.setName(name)
        self.notes = notes
        self.stopping = stopping

    def startService(self):
        super().startService()
        self.notes.append(f"{self.name} started")

    def stopService(self):
        super().stopService()
        self.notes.append(f"{self.name} stops")
        return self.stopping


@pytest.fixture
def seen():
    observer = EventLoggingObserver.createWithCleanup(_Case(), globalLogPublisher)
    yield observer
    globalLogPublisher.removeObserver(observer)


class _Case:
    def addCleanup(self, *_):
        pass


def tree(clock, notes, *children):
    service = OrderedService(clock, 10)
    for child in children:
        child.setServiceParent(service)
    return service


def test_children_start_in_order_and_stop_in_reverse_one_after_the_other():
    clock, notes, slow = FakeClock(), [], Deferred()
    service = tree(clock, notes, Noted("a", notes), Noted("b", notes, slow), Noted("c", notes))
    service.startService()
    assert notes == ["a started", "b started", "c started"]
    notes.clear()
    stopped = service.stopService()
    assert notes == ["c stops", "b stops"], "a waits for b"
    assert not stopped.called
    slow.callback(None)
    assert notes == ["c stops", "b stops", "a stops"]
    assert stopped.called
    assert clock.twisted.getDelayedCalls() == []


def test_a_child_that_cannot_stop_keeps_no_other_from_stopping(seen):
    clock, notes = FakeClock(), []
    service = tree(clock, notes, Noted("a", notes), Noted("b", notes, fail(ValueError("stuck"))))
    service.startService()
    assert service.stopService().called
    assert notes[-1] == "a stops"
    assert any("did not stop well" in str(event.get("log_format")) for event in seen)


def test_after_the_limit_the_stop_is_over_whatever_still_runs(seen):
    clock, notes = FakeClock(), []
    service = tree(clock, notes, Noted("a", notes), Noted("b", notes, Deferred()))
    service.startService()
    stopped = service.stopService()
    clock.advance(9.9)
    assert not stopped.called
    clock.advance(0.2)
    assert stopped.called
    assert notes[-1] == "a stops", "what comes after it is asked to stop all the same"
    assert any("did not stop in time" in str(event.get("log_format")) for event in seen)


def test_a_starter_makes_its_two_calls_and_waits_for_the_second():
    calls, stopping = [], Deferred()
    starter = Starter("x", lambda: calls.append("start"), lambda: calls.append("stop") or stopping)
    assert starter.stopService() is None, "what never started is not stopped"
    starter.startService()
    stopped = starter.stopService()
    assert calls == ["start", "stop"]
    assert not stopped.called
    stopping.callback(None)
    assert stopped.called


def test_a_starter_stops_by_a_plain_call_too():
    starter = Starter("x", None, lambda: None)
    starter.startService()
    assert starter.stopService().called


# --- poll -------------------------------------------------------------------------------------------------------------


def test_a_poll_looks_again_only_after_the_last_look_has_answered():
    clock, looks = FakeClock(), []

    def look():
        looks.append(Deferred())
        return looks[-1]

    poll = Poll("accounts", clock, 1.0, look)
    poll.startService()
    clock.advance(1)
    assert len(looks) == 1
    clock.advance(10)
    assert len(looks) == 1, "the first look has not answered yet"
    looks[0].callback(None)
    clock.advance(1)
    assert len(looks) == 2
    poll.stopService()
    looks[1].callback(None)
    clock.advance(10)
    assert len(looks) == 2
    assert clock.twisted.getDelayedCalls() == []


def test_a_look_that_breaks_is_logged_and_the_poll_goes_on(seen):
    clock, looks = FakeClock(), []

    def look():
        looks.append(1)
        return fail(ValueError("nobody named this")) if len(looks) == 1 else succeed(None)

    poll = Poll("accounts", clock, 1.0, look)
    poll.startService()
    clock.advance(1)
    clock.advance(1)
    assert len(looks) == 2
    assert any("{name} broke" in str(event.get("log_format")) for event in seen)
    poll.stopService()


# --- farewell ---------------------------------------------------------------------------------------------------------


class LeavingGuest:
    def __init__(self, guests, *, leaves_when_asked=True):
        self.guests = guests
        self.leaves_when_asked = leaves_when_asked
        self.told = []
        guests.append(self)

    def shut_down(self):
        self.told.append("shut down")
        if self.leaves_when_asked:
            self.guests.remove(self)

    def abort(self):
        self.told.append("aborted")
        self.guests.remove(self)


def farewell(clock, *lists):
    service = Farewell([_Snapshot(guests) for guests in lists], clock, grace_s=5)
    service.startService()
    return service


class _Snapshot:
    """As `GuestList`: safe to walk through while guests leave."""

    def __init__(self, guests):
        self._guests = guests

    def __iter__(self):
        return iter(tuple(self._guests))

    def __len__(self):
        return len(self._guests)


def test_when_everybody_leaves_at_once_the_farewell_is_over_at_once():
    clock, guests = FakeClock(), []
    polite = LeavingGuest(guests)
    assert farewell(clock, guests).stopService().called
    assert polite.told == ["shut down"]


def test_who_does_not_leave_within_the_grace_is_dropped():
    clock, guests = FakeClock(), []
    stubborn = LeavingGuest(guests, leaves_when_asked=False)
    stopped = farewell(clock, guests, []).stopService()
    for _ in range(400):
        clock.advance(0.02)
    assert stopped.called
    assert stubborn.told == ["shut down", "aborted"]


def test_who_finishes_within_the_grace_is_waited_for():
    clock, guests = FakeClock(), []
    busy = LeavingGuest(guests, leaves_when_asked=False)
    stopped = farewell(clock, guests).stopService()
    clock.advance(0.02)
    assert not stopped.called
    guests.remove(busy)
    clock.advance(0.02)
    assert stopped.called
    assert busy.told == ["shut down"]


# --- hangup -----------------------------------------------------------------------------------------------------------


class OnePass:
    """`callFromThread` that keeps the calls for the test to run."""

    def __init__(self):
        self.calls = []

    def callFromThread(self, call, *args):
        self.calls.append((call, args))


def test_hangup_reloads_from_the_reactor_and_not_from_the_signal():
    before = signal.getsignal(signal.SIGHUP)
    reactor_, reloads = OnePass(), []
    service = HangupService(reactor_, lambda: reloads.append(1))
    try:
        service.startService()
        os.kill(os.getpid(), signal.SIGHUP)
        assert reloads == []
        for call, args in reactor_.calls:
            call(*args)
        assert reloads == [1]
        service.stopService()
        os.kill(os.getpid(), signal.SIGHUP)
        assert len(reactor_.calls) == 1, "ignored while it stops, and no death by it either"
    finally:
        signal.signal(signal.SIGHUP, before)
