"""The queue's timer: work is started in order and in time, and finished when the queue stops."""

from twisted.internet.defer import Deferred

from mailserver.relay.pump import Pump
from tests.fakes.clock import FakeClock


class Bench:
    """Work that is due at times, on a clock of its own."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.due: list[tuple[float, Deferred[None]]] = []
        self.started: list[float] = []
        self.failures: list[BaseException] = []
        self.looks = 0
        self.pump = Pump(self.clock, self.take, self.next_due, lambda _, fault: self.failures.append(fault))

    def take(self, now):
        self.looks += 1
        if not self.due or self.due[0][0] > now:
            return None
        work = self.due.pop(0)[1]

        async def run() -> None:
            self.started.append(self.clock.monotonic())
            await work

        return run()

    def next_due(self):
        return self.due[0][0] if self.due else None

    def plan(self, in_s: float) -> "Deferred[None]":
        work: Deferred[None] = Deferred()
        self.due.append((self.clock.monotonic() + in_s, work))
        return work


def test_nothing_starts_before_start_and_all_in_time_afterwards():
    bench = Bench()
    begin = bench.clock.monotonic()
    bench.plan(0.0)
    bench.plan(50.0)
    bench.pump.wake()
    bench.clock.advance(10.0)
    assert bench.started == []
    bench.pump.start()
    assert bench.started == []  # in the next turn, not within the caller's
    bench.clock.advance(0.0)
    assert bench.started == [begin + 10.0]
    bench.clock.advance(40.0)
    assert bench.started == [begin + 10.0, begin + 50.0]


def test_an_earlier_wish_moves_the_timer_and_there_is_only_one():
    bench = Bench()
    bench.plan(3000.0)
    bench.pump.start()
    bench.clock.advance(0.0)
    for _ in range(5):
        bench.pump.wake()
    looks = bench.looks
    bench.clock.advance(0.0)
    assert bench.looks == looks + 1


def test_what_work_raises_is_told_and_the_rest_goes_on():
    bench = Bench()
    broken, fine = bench.plan(0.0), bench.plan(0.0)
    bench.pump.start()
    bench.clock.advance(0.0)
    broken.errback(ValueError("ours"))
    assert [str(one) for one in bench.failures] == ["ours"]
    fine.callback(None)
    assert len(bench.started) == 2


def test_stopping_starts_nothing_new_and_waits_for_what_runs():
    bench = Bench()
    running = bench.plan(0.0)
    bench.plan(5.0)
    bench.pump.start()
    bench.clock.advance(0.0)
    bench.pump.stop()
    over = Deferred.fromCoroutine(bench.pump.drained())
    bench.pump.wake()
    bench.clock.advance(10.0)
    assert (len(bench.started), over.called) == (1, False)
    running.callback(None)
    assert over.called
