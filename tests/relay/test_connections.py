"""Conversations that wait for the next message: who is taken, when they end."""

import pytest

from mailserver.mail.route import MxRoute
from mailserver.relay.connections import IdleConversations
from tests.fakes.clock import FakeClock

HERE, THERE = MxRoute("here.example"), MxRoute("there.example")


class Kept:
    """A conversation that can do nothing but end."""

    can_send = True

    def __init__(self):
        self.ended = False

    async def quit(self):
        self.ended = True


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def idle(clock):
    return IdleConversations(clock, keep_s=3.0, max_idle=10)


def test_each_ends_at_its_own_time_with_one_timer_for_all(idle, clock):
    first, second, third = Kept(), Kept(), Kept()
    idle.give(HERE, first)
    clock.advance(1)
    idle.give(THERE, second)
    clock.advance(1)
    idle.give(HERE, third)
    assert len(clock.twisted.getDelayedCalls()) == 1
    clock.advance(1)
    assert [one.ended for one in (first, second, third)] == [True, False, False]
    clock.advance(1)
    assert [one.ended for one in (first, second, third)] == [True, True, False]
    clock.advance(1)
    assert third.ended
    assert clock.twisted.getDelayedCalls() == []


def test_one_that_is_in_use_does_not_end_and_has_its_full_time_again(idle, clock):
    kept = Kept()
    idle.give(HERE, kept)
    clock.advance(2)
    assert idle.take(HERE) == (kept, False)
    clock.advance(2)
    assert not kept.ended
    idle.give(HERE, kept)
    clock.advance(2)
    assert not kept.ended
    clock.advance(1)
    assert kept.ended


def test_the_last_one_given_is_taken_first_and_only_for_its_own_route(idle):
    first, second = Kept(), Kept()
    idle.give(HERE, first)
    idle.give(HERE, second, is_tls_missing=True)
    assert idle.take(THERE) is None
    assert idle.take(HERE) == (second, True)
    assert idle.take(HERE) == (first, False)
    assert idle.take(HERE) is None


def test_close_ends_all_and_leaves_no_timer(idle, clock):
    kept = Kept()
    idle.give(HERE, kept)
    idle.close()
    assert kept.ended
    assert clock.twisted.getDelayedCalls() == []
    late = Kept()
    idle.give(HERE, late)
    assert late.ended
