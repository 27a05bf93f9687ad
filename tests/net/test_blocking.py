"""The lanes, on the real reactor: threads are what is tested here."""

import threading
import weakref

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError

from mailserver.net.blocking import WIDTHS, BlockingLanes, Width
from mailserver.ports import Lane, Overloaded

LIMIT_S = 20


@pytest.fixture
def lanes():
    return BlockingLanes(reactor, {lane: Width(threads=2, waiting=3) for lane in Lane})


class Gate:
    """Holds calls in their threads until it is opened."""

    def __init__(self):
        self._open = threading.Event()
        self.running = threading.Semaphore(0)

    def wait(self, value=None):
        self.running.release()
        assert self._open.wait(LIMIT_S)
        return value

    def open(self):
        self._open.set()


@pytest_twisted.ensureDeferred
async def test_a_call_runs_in_another_thread_and_its_result_comes_back_in_the_reactor_thread(lanes):
    where = await lanes.run(Lane.GENERAL, threading.get_ident)
    assert where != threading.get_ident()
    assert threading.current_thread() is threading.main_thread()
    await lanes.close()


@pytest_twisted.ensureDeferred
async def test_arguments_are_handed_on(lanes):
    assert await lanes.run(Lane.MAILBOX, divmod, 17, 5) == (3, 2)
    await lanes.close()


@pytest_twisted.ensureDeferred
async def test_an_exception_comes_back_as_itself(lanes):
    with pytest.raises(ZeroDivisionError):
        await lanes.run(Lane.GENERAL, divmod, 1, 0)
    assert await lanes.run(Lane.GENERAL, int, "7") == 7, "the thread lives on"
    await lanes.close()


@pytest_twisted.ensureDeferred
async def test_no_more_than_the_width_run_at_once_and_the_rest_wait(lanes):
    gate = Gate()
    calls = [lanes.run(Lane.QUEUE, gate.wait, number) for number in range(5)]
    for _ in range(2):
        assert gate.running.acquire(timeout=LIMIT_S)
    assert not gate.running.acquire(timeout=0.05)
    gate.open()
    assert [await call for call in calls] == [0, 1, 2, 3, 4]
    await lanes.close()


@pytest_twisted.ensureDeferred
async def test_a_full_lane_refuses_at_once_and_takes_calls_again_when_one_has_ended(lanes):
    gate = Gate()
    calls = [lanes.run(Lane.PASSWORDS, gate.wait) for _ in range(5)]
    with pytest.raises(Overloaded):
        lanes.run(Lane.PASSWORDS, gate.wait)
    gate.open()
    for call in calls:
        await call
    assert await lanes.run(Lane.PASSWORDS, int, "1") == 1
    await lanes.close()


@pytest_twisted.ensureDeferred
async def test_a_lane_that_is_full_does_not_hold_up_another(lanes):
    gate = Gate()
    stuck = [lanes.run(Lane.PASSWORDS, gate.wait) for _ in range(5)]
    assert await lanes.run(Lane.CONTENT, int, "3") == 3
    gate.open()
    for call in stuck:
        await call
    await lanes.close()


def test_passwords_are_hashed_by_exactly_two_threads():
    assert WIDTHS[Lane.PASSWORDS].threads == 2


@pytest_twisted.ensureDeferred
async def test_a_cancelled_call_still_counts_until_its_thread_is_free(lanes):
    gate = Gate()
    calls = [lanes.run(Lane.GENERAL, gate.wait) for _ in range(5)]
    calls[0].addErrback(lambda failure: failure.trap(CancelledError))
    calls[0].cancel()
    with pytest.raises(Overloaded):
        lanes.run(Lane.GENERAL, gate.wait)
    gate.open()
    await lanes.close()


@pytest_twisted.ensureDeferred
async def test_closing_waits_for_what_was_taken_and_takes_nothing_more(lanes):
    gate = Gate()
    calls = [lanes.run(Lane.CONTENT, gate.wait, number) for number in range(3)]
    closed = lanes.close()
    assert not closed.called
    with pytest.raises(Overloaded):
        lanes.run(Lane.CONTENT, int)
    gate.open()
    await closed
    assert [await call for call in calls] == [0, 1, 2]
    await lanes.close()


@pytest_twisted.ensureDeferred
async def test_closing_lanes_that_never_worked_answers_at_once(lanes):
    await lanes.close()


@pytest_twisted.ensureDeferred
async def test_an_idle_thread_keeps_nothing_of_its_last_call_alive(lanes):
    class Message:
        pass

    message = Message()
    alive = weakref.ref(message)
    await lanes.run(Lane.GENERAL, id, message)
    del message
    # The second call proves that the first one's thread has gone round its loop.
    await lanes.run(Lane.GENERAL, int)
    await lanes.run(Lane.GENERAL, int)
    assert alive() is None
    await lanes.close()


@pytest_twisted.ensureDeferred
async def test_threads_are_named_for_their_lane_and_never_keep_the_process_alive(lanes):
    thread = await lanes.run(Lane.PASSWORDS, threading.current_thread)
    assert thread.name == "passwords-1"
    assert thread.daemon
    await lanes.close()


@pytest_twisted.ensureDeferred
async def test_a_call_begins_in_a_lull_and_closing_comes_behind_it():
    lulls = []
    lanes = BlockingLanes(reactor, at_lull=lulls.append)
    call = lanes.run(Lane.QUEUE, int, "7")
    closed = lanes.close()
    assert not call.called
    for lull in lulls:
        lull()
    assert await call == 7
    await closed


@pytest_twisted.ensureDeferred
async def test_pieces_of_a_large_content_wait_for_no_lull():
    lanes = BlockingLanes(reactor, at_lull=lambda call: None)
    assert await lanes.run(Lane.CONTENT, int, "7") == 7
