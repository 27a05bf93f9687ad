"""The index: grouping, claims, fairness, memory."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.ids import QueueId, QueueIds
from mailserver.mail.route import MxRoute
from mailserver.ports import LocalMailboxes
from mailserver.relay.lanes import Entry, Job, Lane
from mailserver.relay.queue import Queue
from mailserver.store.spool_state import RecipientProgress, RecipientState

COMMANDS = ("add", "end", "retry", "withdraw", "put back")
A, B, C = (QueueId(f"000000000000{number}") for number in (1, 2, 3))


def to(*addresses):
    return Envelope(None, tuple(Recipient(Mailbox(*one.split("@"))) for one in addresses))


def find(mailbox, attempts=0):
    return LocalMailboxes((mailbox,)) if mailbox.domain == "here" else MxRoute(mailbox.domain)


def queue(limit=10, total=100):
    return Queue(find, max_per_destination=limit, max_total=total, wake=lambda: None)


def take_all(index, now):
    jobs = []
    while (job := index.take(now)) is not None:
        jobs.append(job)
    return jobs


def end(index, job, envelope, wanted):
    index.turns.leave_lane(job.lane)
    index.turns.finish(job)
    index.reschedule(job, envelope, wanted)


def test_recipients_are_grouped_by_destination():
    index = queue()
    index.added(A, to("a@x", "b@y", "c@x", "d@here", "e@here"), 0.0)
    jobs = {job.lane.key: job.recipients for job in take_all(index, 0.0)}
    assert jobs == {"x": (0, 2), "y": (1,), "local": (3, 4)}


def test_a_message_is_known_once_however_it_comes():
    index = queue()
    envelope = to("a@x")
    assert index.added(A, envelope, 0.0)
    assert not index.added(A, envelope, 0.0)
    assert not index.loaded(A, envelope, (RecipientProgress(),), 0.0, lambda _, at: at)
    assert len(take_all(index, 0.0)) == 1
    assert take_all(index, 1e9) == []  # claimed


def test_what_was_finished_while_loading_is_not_taken_up_again():
    index = queue()
    index.begin_loading()
    index.added(A, to("a@x"), 0.0)
    index.forget(A)
    assert not index.loaded(A, to("a@x"), (RecipientProgress(),), 0.0, lambda _, at: at)
    index.end_loading()
    assert len(index) == 0


def test_recipients_far_apart_in_time_are_tried_apart_and_close_ones_together():
    index = queue()
    waiting = [RecipientProgress(attempts=1, next_attempt=at) for at in (100.0, 130.0, 5000.0)]
    progress = (*waiting, RecipientProgress(state=RecipientState.DELIVERED))
    index.loaded(A, to("a@x", "b@x", "c@x", "d@x"), progress, 0.0, lambda _, at: at)
    assert index.next_due() == 130.0
    assert take_all(index, 129.0) == []
    assert [job.recipients for job in take_all(index, 130.0)] == [(0, 1)]
    assert [job.recipients for job in take_all(index, 5000.0)] == [(2,)]


def test_a_job_that_was_brought_forward_runs_once():
    index = queue()
    index.loaded(A, to("a@x"), (RecipientProgress(next_attempt=500.0),), 0.0, lambda _, at: at)
    assert index.bring_forward([A, B], 10.0) == 1
    (job,) = take_all(index, 10.0)
    assert take_all(index, 1000.0) == []
    end(index, job, to("a@x"), {0: (1, 2000.0)})
    assert index.next_due() == 2000.0


def test_a_withdrawn_message_is_not_started():
    index = queue(limit=1)
    for queue_id in (A, B, C):
        index.added(queue_id, to("a@x"), 0.0)
    (first,) = take_all(index, 0.0)
    index.withdraw(B)
    end(index, first, to("a@x"), {})
    index.forget(A)
    assert [job.entry.queue_id for job in take_all(index, 1.0)] == [C]


def test_a_lane_grows_with_success_and_shrinks_with_failure():
    lane = Lane("x", 5)
    sizes = [lane.window]
    for _ in range(5):
        lane.succeeded()
        sizes.append(lane.window)
    assert sizes == [2, 3, 4, 5, 5, 5]
    assert lane.failed(0.0, 300.0)
    assert lane.window == 1 and not lane.can_start
    assert Lane("x", 1).window == 1


def test_lanes_take_turns():
    index = queue(limit=1, total=100)
    envelopes = {}
    for number in range(30):
        queue_id = QueueId(f"{number:013d}")
        envelopes[queue_id] = to(f"a@d{number % 3}")
        index.added(queue_id, envelopes[queue_id], 0.0)
    order = []
    running = take_all(index, 0.0)
    while running:
        job = running.pop(0)
        order.append(job.lane.key)
        end(index, job, envelopes[job.entry.queue_id], {})
        running += take_all(index, 0.0)
    assert order == ["d0", "d1", "d2"] * 10


def test_new_mail_first_yet_the_backlog_moves():
    index = queue(limit=1)
    for number in range(40):
        fresh = number % 2
        progress = (RecipientProgress(attempts=0 if fresh else 3),)
        index.loaded(QueueId(f"{number:013d}"), to("a@x"), progress, 0.0, lambda _, at: at)
    order = []
    while (job := index.take(0.0)) is not None:
        order.append(job.attempts)
        end(index, job, to("a@x"), {})
    assert order[:10] == [0, 0, 0, 0, 3, 0, 0, 0, 0, 3]
    assert len(order) == 40


@given(
    commands=st.lists(
        st.tuples(st.sampled_from(COMMANDS), st.integers(0, 5), st.integers(0, 3)),
        max_size=60,
    )
)
def test_no_sequence_of_commands_runs_a_recipient_twice_at_once_or_breaks_a_limit(commands):
    index = queue(limit=2, total=3)
    envelopes = {QueueId(f"{number:013d}"): to("a@x", "b@y", "c@x") for number in range(6)}
    running, now = [], 0.0
    for command, number, more in commands:
        now += more * 50.0
        queue_id = QueueId(f"{number:013d}")
        if command == "add":
            index.added(queue_id, envelopes[queue_id], now)
        elif command == "retry":
            index.bring_forward([queue_id], now)
        elif command == "withdraw":
            index.withdraw(queue_id)
        elif running and command == "put back":
            job = running.pop(number % len(running))
            index.turns.leave_lane(job.lane)
            index.turns.finish(job)
            index.put_back(job, now + 10)
        elif running:
            job = running.pop(number % len(running))
            wanted = {} if more == 0 else dict.fromkeys(job.recipients, (1, now + 100.0 * more))
            end(index, job, envelopes[job.entry.queue_id], wanted)
        running += take_all(index, now)
        claims = [(job.entry.queue_id, place) for job in running for place in job.recipients]
        assert len(claims) == len(set(claims))
        assert len(running) == index.turns.active <= 3
        assert all(job.state is Job.RUNNING for job in running)
        for key in ("x", "y"):
            assert len([job for job in running if job.lane.key == key]) <= 2


def test_a_queued_message_costs_less_than_a_kibibyte():
    new_id = QueueIds(lambda: 1_750_000_000.0)
    index = queue()
    progress = (RecipientProgress(attempts=3, next_attempt=9.0),)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(5000):
            address = f"somebody.{number}@domain{number % 500}"
            index.loaded(new_id(), to(address), progress, 1.5 * number, lambda _, at: at)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used / 5000 < 1024


# --- many dead destinations -------------------------------------------------------------------------------------------


def test_destinations_in_doubt_get_half_of_the_places():
    """Ten dead domains with a backlog stand in line before one whose mail is new."""
    index = queue(limit=1, total=6)
    for number in range(10):
        about = (RecipientProgress(attempts=2),)
        index.loaded(QueueId(f"{number:013d}"), to(f"a@dead{number}"), about, 0.0, lambda _, at: at)
    assert [job.lane.key for job in take_all(index, 0.0)] == ["dead0", "dead1", "dead2"]
    index.added(QueueId("0000000000099"), to("a@live"), 0.0)
    assert [job.lane.key for job in take_all(index, 0.0)] == ["live"]


def test_a_destination_that_answered_is_in_doubt_no_more_and_one_that_failed_is():
    index = queue(limit=3, total=4)
    for number in range(9):
        about = (RecipientProgress(attempts=2),)
        index.loaded(QueueId(f"{number:013d}"), to("a@x"), about, 0.0, lambda _, at: at)
    first, second = take_all(index, 0.0)
    first.lane.succeeded()
    end(index, first, to("a@x"), {})
    assert len(take_all(index, 0.0)) == 2, "three at once are this destination's limit, and none of them is doubted now"
    while second.lane.active > 1:
        index.turns.leave_lane(second.lane)
    second.lane.failed(0.0, 300.0)
    assert second.lane.is_doubtful


def test_a_failure_beside_others_that_are_served_is_a_crowd_and_no_death():
    lane = Lane("x", 10)
    for _ in range(8):
        lane.succeeded()
    lane.active = 8
    assert not lane.failed(0.0, 300.0)
    assert not lane.is_closed and not lane.is_doubtful and lane.window == 7
    lane.add(Job(Entry(A, 0.0), lane, (0,), 1, 0.0))
    assert not lane.succeeded(), "somebody stands in line"
    lane.take()
    assert lane.succeeded(), "whom it turned away may come again"
    lane._growth = 0
    sizes = []
    for _ in range(7 * 8 + 8 * 8):
        lane.succeeded()
        sizes.append(lane.window)
    assert sizes == [7] * 55 + [8] * 64 + [9], "it grows slowly from where it was too much"


def test_a_closed_lane_rests_twice_as_long_each_time_up_to_a_limit_and_a_success_ends_that():
    lane = Lane("x", 10)
    rests = []
    for _ in range(8):
        lane.failed(1000.0, 300.0)
        assert not lane.failed(1000.0, 300.0), "another attempt that began with it says nothing new"
        rests.append(lane.closed_until - 1000.0)
        lane.is_closed = False
    assert rests == [10, 20, 40, 80, 160, 300, 300, 300]
    assert lane.succeeded() and not lane.succeeded()
    lane.failed(0.0, 4.0)
    assert lane.closed_until == 4.0


def test_attempts_that_take_long_make_room_and_are_bounded_too():
    index = queue(limit=1, total=2)
    for number in range(20):
        index.added(QueueId(f"{number:013d}"), to(f"a@d{number}"), 0.0)
    running = take_all(index, 0.0)
    while fresh := [job for job in running if index.turns.park(job)]:
        assert index.turns.active <= 8
        running = take_all(index, 0.0)
        assert len(running) == len(fresh)
    assert index.turns.active == 8, "two places, and three times as many for those that take long"
    for job in running:
        end(index, job, to("a@x"), {})
    assert len(take_all(index, 0.0)) == 2
