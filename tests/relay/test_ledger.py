"""The queue's own writes: groups, order, a disk that refuses."""

import pytest

from mailserver.mail.ids import QueueId
from mailserver.ports import Overloaded, StorageTrouble
from mailserver.relay.ledger import Ledger
from mailserver.store.spool_changes import Remove, SyncRemovals, WriteState
from mailserver.store.spool_state import RecipientProgress, RecipientState
from tests.fakes.clock import FakeClock
from tests.fakes.relay import AtOnce

A, B = QueueId("0000000000001"), QueueId("0000000000002")
WAITS = (RecipientProgress(attempts=1),)
DONE = (RecipientProgress(state=RecipientState.DELIVERED, attempts=2),)


class Disk:
    """`Spool.apply` in memory: remembers the groups, answers as told."""

    def __init__(self):
        self.groups = []
        self.answers = []

    def apply(self, changes):
        self.groups.append(list(changes))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception) and not isinstance(answer, StorageTrouble):
            raise answer
        return [answer] * len(changes)


class Desk:
    def __init__(self):
        self.clock, self.disk, self.blocking, self.events, self.failures = FakeClock(), Disk(), AtOnce(), [], []
        self.ledger = Ledger(
            self.disk, self.blocking, self.clock, self.events.append, lambda *about: self.failures.append(about)
        )

    def advance(self, seconds=0.1):
        for _ in range(100):
            self.clock.advance(seconds / 100)


@pytest.fixture
def desk():
    return Desk()


def test_removals_wait_a_moment_for_company(desk):
    done = [desk.ledger.remove(A), desk.ledger.remove(B)]
    assert desk.disk.groups == []
    desk.advance()
    assert all(one.called for one in done)
    assert desk.disk.groups == [[Remove(A), Remove(B)]]


def test_a_state_is_written_at_once(desk):
    assert desk.ledger.write_state(A, WAITS).called
    assert desk.disk.groups == [[WriteState(A, WAITS)]]


def test_changes_of_one_message_keep_their_order_and_never_share_a_group(desk):
    first = desk.ledger.remove(B)  # opens a group that gathers
    second = desk.ledger.write_state(A, WAITS)
    third = desk.ledger.write_state(A, DONE)
    fourth = desk.ledger.remove(A)
    desk.advance()
    assert desk.disk.groups == [[Remove(B), WriteState(A, DONE)], [Remove(A)]]
    assert all(one.called for one in (first, second, third, fourth))


@pytest.mark.parametrize("trouble", [StorageTrouble("read-only file system"), RuntimeError("nobody named this")])
def test_a_disk_that_refuses_is_tried_until_it_takes_it_and_told_once(desk, trouble):
    desk.disk.answers = [trouble] * 4
    done = desk.ledger.write_state(A, WAITS)
    assert not done.called
    desk.advance(35)
    later = desk.ledger.write_state(A, DONE)
    assert not later.called
    desk.advance(10)
    assert done.called
    assert later.called
    assert desk.disk.groups[-1] == [WriteState(A, DONE)]  # the last state holds what the first said
    assert [event.word for event in desk.events] == ["trouble"]
    assert len(desk.failures) == (4 if isinstance(trouble, RuntimeError) else 0)


def test_a_full_lane_is_waited_for(desk):
    desk.blocking.trouble = [Overloaded("queue")]
    done = desk.ledger.remove(A)
    desk.advance()
    assert not done.called
    desk.advance(11)
    assert done.called


def test_idle_waits_for_everything(desk):
    assert desk.ledger.idle().called
    desk.ledger.remove(A)
    idle = desk.ledger.idle()
    assert not idle.called
    desk.advance()
    assert idle.called


def test_a_later_change_while_a_group_is_being_written_is_not_lost(desk):
    from twisted.internet.defer import Deferred

    gate = Deferred()
    real = desk.blocking.run

    async def slow(lane, call, *args):
        if not gate.called:
            await gate
        return await real(lane, call, *args)

    desk.blocking.run = slow
    first = desk.ledger.write_state(A, WAITS)
    second = desk.ledger.write_state(A, DONE)
    third = desk.ledger.remove(B)
    assert not (first.called or second.called)
    gate.callback(None)
    desk.advance()
    assert desk.disk.groups == [[WriteState(A, WAITS)], [WriteState(A, DONE), Remove(B)]]
    assert all(one.called for one in (first, second, third))


def test_what_a_broken_group_held_is_written_with_the_next_change(desk):
    """An error that nobody catches, such as a thread that is told to exit, loses no change."""
    real, desk.disk.apply = desk.disk.apply, lambda changes: (_ for _ in ()).throw(SystemExit)
    first = desk.ledger.write_state(A, WAITS)
    assert len(desk.failures) == 1
    desk.disk.apply = real
    second = desk.ledger.write_state(B, WAITS)
    desk.advance()
    assert first.called
    assert second.called
    assert desk.disk.groups == [[WriteState(A, WAITS), WriteState(B, WAITS)]]


# --- removals that are synced together later --------------------------------------------------------------------------

LATER_A, LATER_B = Remove(A, may_sync_later=True), Remove(B, may_sync_later=True)


def test_removals_after_delivery_share_one_sync_half_a_second_later(desk):
    first = desk.ledger.remove_delivered(A)
    desk.advance(0.1)
    assert first.called
    second = desk.ledger.remove_delivered(B)
    desk.advance(0.1)
    assert second.called
    assert desk.disk.groups == [[LATER_A], [LATER_B]]
    desk.advance(0.5)
    assert desk.disk.groups[2:] == [[SyncRemovals()]]
    desk.advance(5)
    assert len(desk.disk.groups) == 3


def test_a_removal_that_the_disk_refused_is_synced_after_it_succeeded(desk):
    desk.disk.answers = [StorageTrouble("read-only file system")]
    desk.ledger.remove_delivered(A)
    desk.advance(5)
    assert desk.disk.groups == [[LATER_A]]
    desk.advance(6)
    assert desk.disk.groups == [[LATER_A], [LATER_A], [SyncRemovals()]]


@pytest.mark.parametrize("wait", [0.0, 0.1])
def test_the_end_does_not_wait_for_company(desk, wait):
    desk.ledger.remove_delivered(A)
    if wait:
        desk.advance(wait)
    idle = desk.ledger.idle()
    desk.advance(0.1)
    assert idle.called
    assert desk.disk.groups == [[LATER_A], [SyncRemovals()]]
