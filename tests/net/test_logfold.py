"""How many lines strangers can make."""

from mailserver.maillog import Disconnected, Folded, LoginRefused, Refused, SetAside, Trouble
from mailserver.net.logfold import LINES_IN_ALL, LINES_PER_CLIENT, PERIOD_S, FoldingSink
from tests.fakes.clock import FakeClock


class Log:
    def __init__(self):
        self.clock = FakeClock()
        self.events = []
        self.sink = FoldingSink(self.events.append, self.clock)

    def broken(self, count, client="192.0.2.1"):
        for number in range(count):
            self.sink(Disconnected(f"{client}:{number + 1}", "smtp", "closed by the client"))

    def folded(self):
        return [event for event in self.events if isinstance(event, Folded)]


def test_few_events_are_all_written_and_nothing_is_said_of_folding():
    log = Log()
    log.broken(LINES_PER_CLIENT)
    log.clock.advance(10 * PERIOD_S)
    assert len(log.events) == LINES_PER_CLIENT and not log.folded()


def test_one_client_makes_so_many_lines_and_then_one_that_counts_the_rest():
    log = Log()
    log.broken(5_000)
    assert len(log.events) == LINES_PER_CLIENT
    log.clock.advance(PERIOD_S)
    assert log.events[LINES_PER_CLIENT:] == [
        Folded("disconnected", 5_000 - LINES_PER_CLIENT, 1, "192.0.2.1", 5_000 - LINES_PER_CLIENT)
    ]
    assert log.folded()[0].line() == "folded what=disconnected count=4980 clients=1 most=192.0.2.1 of_most=4980"


def test_another_client_is_still_written():
    log = Log()
    log.broken(100)
    log.broken(1, "192.0.2.2")
    assert log.events[-1].peer == "192.0.2.2:1"


def test_many_clients_together_have_a_limit_too():
    log = Log()
    for number in range(3_000):
        log.broken(1, f"10.0.{number // 256}.{number % 256}")
    assert len(log.events) == LINES_IN_ALL
    log.clock.advance(PERIOD_S)
    [folded] = log.folded()
    assert folded.count == 3_000 - LINES_IN_ALL and folded.clients == 1_000


def test_each_kind_has_its_own_limit_and_trouble_of_ours_has_none():
    log = Log()
    log.broken(100)
    log.sink(LoginRefused("192.0.2.1:9", "smtp", "alice", "PLAIN"))
    log.sink(Refused("", "192.0.2.1:9", "RCPT", "550 5.1.1 x"))
    for _ in range(500):
        log.sink(Trouble("", "disk", "full"))
    assert len(log.events) == LINES_PER_CLIENT + 2 + 500


def test_after_the_minute_lines_are_written_again():
    log = Log()
    log.broken(100)
    log.clock.advance(PERIOD_S)
    log.broken(100)
    assert len(log.events) == LINES_PER_CLIENT + 1 + LINES_PER_CLIENT


def test_lines_that_come_slowly_are_never_folded():
    log = Log()
    for _ in range(50):
        log.broken(2)
        log.clock.advance(PERIOD_S / 4)
    assert len(log.events) == 100


def test_at_the_end_what_was_left_out_is_told_once():
    log = Log()
    log.broken(100)
    log.sink.flush()
    log.clock.advance(10 * PERIOD_S)
    assert len(log.folded()) == 1


def test_a_user_of_this_machine_cannot_fill_the_log_either():
    """A thousand odd files a second in the drop folder: anybody on the machine can do that."""
    log = Log()
    for number in range(1_000):
        log.sink(SetAside(f"/drop/{number}", "eve", "it is a symbolic link", "set-aside"))
    log.sink(SetAside("/drop/x", "joe", "it is a symbolic link", "set-aside"))
    assert len(log.events) == LINES_PER_CLIENT + 1
    log.clock.advance(PERIOD_S)
    assert log.folded() == [Folded("set-aside", 1_000 - LINES_PER_CLIENT, 1, "eve", 1_000 - LINES_PER_CLIENT)]
