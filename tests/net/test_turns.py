"""Those who flood share a part of the time, in order."""

from mailserver.net.turns import SHARE_S, Turns


class Reactor:
    """A clock whose `turn` runs what was scheduled before, and nothing that is scheduled meanwhile."""

    def __init__(self):
        self.now_s = 0.0
        self.later = []

    def monotonic(self):
        return self.now_s

    def call_later(self, delay_s, call):
        assert delay_s == 0
        self.later.append(call)

    def turn(self):
        calls, self.later = self.later, []
        for call in calls:
            call()


def test_each_has_its_turn_in_the_order_of_coming_and_not_at_once():
    clock, seen = Reactor(), []
    turns = Turns(clock)
    for number in range(3):
        turns.wait(lambda number=number: seen.append(number))
    assert seen == []
    clock.turn()
    assert seen == [0, 1, 2]


def test_who_comes_back_waits_for_the_next_turn():
    clock, seen = Reactor(), []
    turns = Turns(clock)

    def again():
        seen.append("a")
        turns.wait(again)

    turns.wait(again)
    turns.wait(lambda: seen.append("b"))
    clock.turn()
    assert seen == ["a", "b"]
    clock.turn()
    assert seen == ["a", "b", "a"]


def test_all_together_have_no_more_than_their_share_of_a_turn():
    clock, seen = Reactor(), []
    turns = Turns(clock)

    def work():
        clock.now_s += SHARE_S / 3
        seen.append(1)

    for _ in range(10):
        turns.wait(work)
    clock.turn()
    assert len(seen) in (3, 4)
    for _ in range(5):
        clock.turn()
    assert len(seen) == 10


def test_one_that_was_cancelled_never_runs_and_costs_nobody_a_turn():
    clock, seen = Reactor(), []
    turns = Turns(clock)
    first = turns.wait(lambda: seen.append("first"))
    turns.wait(lambda: seen.append("second"))
    first.cancel()
    clock.turn()
    first.cancel()
    assert seen == ["second"]
    clock.turn()
    turns.wait(lambda: seen.append("third"))
    clock.turn()
    assert seen == ["second", "third"]
