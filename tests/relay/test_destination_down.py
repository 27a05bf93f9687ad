"""A destination that fails as a whole, and comes back: what rests, what drains, what is told in time."""

import time

import pytest

from mailserver.mail.outcome import Deferred, Stage
from mailserver.mail.reply import Reply
from mailserver.relay.schedule import Schedule
from tests.fakes.relay import DAY, DOWN, HOUR, LATER, OK, Office

CROWD = Deferred(
    "the host does not want our mail now", Stage.BANNER, Reply(421, "4.7.0", ("too many",)), "mx.example.net"
)


@pytest.fixture
def office(tmp_path):
    return Office(tmp_path, answer=lambda route, recipient: DOWN)


def step(office, seconds, by=5.0):
    for _ in range(int(seconds / by)):
        office.clock.advance(by)
    office.settle()


def put_many(office, count, domain="example.net"):
    ids = [office.put(f"u{number}@{domain}") for number in range(count)]
    office.settle()
    return ids


def attempts(office):
    return len(office.transmitter.sent)


def test_two_thousand_messages_for_a_host_that_comes_back_go_within_seconds_and_in_order(office):
    ids = put_many(office, 2000)
    for _ in range(60):
        office.settle()
    assert len(office.words("deferred")) == 2000
    assert attempts(office) <= 4, "a connection for each would take hours"
    step(office, HOUR, by=60.0)
    assert office.on_disk() == ids
    assert attempts(office) < 20
    # One more message is written just when the host is back: its attempt shows it.
    office.transmitter.answer = lambda route, recipient: OK
    office.transmitter.sent.clear()
    step(office, 300)
    office.put("news@example.net")
    began, clock = time.monotonic(), office.clock.monotonic()
    while office.on_disk():
        office.clock.advance(0.02)
        assert office.clock.monotonic() - clock < 15
    assert time.monotonic() - began < 20
    old = [to[0] for _, to in office.transmitter.sent if to[0] != "news@example.net"]
    number = [int(address[1:].partition("@")[0]) for address in old]
    assert sorted(number) == list(range(2000))
    # The first was a probe, before anything was known.
    assert number[1:] == sorted(number[1:])
    assert office.transmitter.most <= 10


def test_the_drain_starts_slowly(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: DOWN)
    put_many(office, 40)
    step(office, 15)
    seen = []

    def answer(route, recipient):
        seen.append(office.transmitter.busy)
        return OK

    office.transmitter.answer = answer
    step(office, 400, by=0.02)
    assert office.on_disk() == [] and seen[0] == 1


def test_what_a_host_asked_of_one_recipient_is_not_brought_forward(office):
    office.transmitter.answer = lambda route, recipient: LATER if recipient.mailbox.local_part == "grey" else OK
    grey = office.put("grey@example.net", "u1@example.net")
    office.settle()
    office.transmitter.answer = lambda route, recipient: DOWN
    office.put("u2@example.net")
    office.settle()
    office.transmitter.answer = lambda route, recipient: OK
    step(office, 20)
    office.put("u3@example.net")
    office.settle()
    assert office.on_disk() == [grey], "u2 went with u3; grey keeps its five minutes"
    assert ("example.net", ("grey@example.net",)) not in office.transmitter.sent
    step(office, 320)
    assert office.on_disk() == []


def test_a_greylisted_recipient_and_one_without_connection_stay_apart_over_a_restart(office):
    office.transmitter.answer = lambda route, recipient: LATER if recipient.mailbox.local_part == "grey" else DOWN
    office.put("grey@example.net")
    office.put("u1@example.org.example")
    office.settle()
    office.restart()
    office.transmitter.answer = lambda route, recipient: OK
    office.put("u2@example.org.example")
    office.put("u3@example.net")
    office.settle()
    assert [to for _, to in office.transmitter.sent].count(("grey@example.net",)) == 1
    assert len(office.on_disk()) == 1


def test_a_destination_never_seen_yet_drains_after_a_restart(office):
    put_many(office, 30)
    step(office, 2 * HOUR, by=60.0)
    office.restart()
    office.transmitter.answer = lambda route, recipient: OK
    office.put("news@example.net")
    step(office, 2, by=0.02)
    assert office.on_disk() == []


def test_each_message_keeps_its_own_times_for_the_delay_notice_and_the_end(office):
    started = office.clock.monotonic()
    for number in range(20):
        office.put(f"u{number}@example.net")
        step(office, 10 * 60, by=60.0)
    ended = {}
    for _ in range(int(5.3 * DAY / 300)):
        before = len(office.events)
        office.clock.advance(300.0)
        office.settle()
        age = office.clock.monotonic() - started
        for event in office.events[before:]:
            if event.word == "bounced":
                ended[event.recipient] = age
    for number in range(20):
        late = ended[f"u{number}@example.net"] - number * 600 - 5 * DAY
        assert 0 <= late <= 1000, (number, late)
    notices = [one for one in office.mailboxes.filed if b"delayed" in one[1].lower()]
    assert len(notices) >= 20
    assert office.on_disk() == []


def test_a_lone_message_keeps_exactly_the_configured_times(office):
    office.put("u@example.net")
    office.settle()
    times = []
    for _ in range(int(4 * HOUR / 10)):
        before = attempts(office)
        office.advance(10)
        if attempts(office) > before:
            times.append(office.clock.monotonic())
    gaps = [b - a for a, b in zip([0.0, *times], times, strict=False)]
    for gap, wanted in zip(gaps, (300, 600, 1200, 2400, 3600), strict=False):
        assert wanted - 1 <= gap <= wanted * 1.1 + 12


def test_new_mail_for_a_closed_destination_waits_for_the_next_attempt_and_not_longer(office):
    put_many(office, 1)
    first = attempts(office)
    late = put_many(office, 5, "example.net")
    assert attempts(office) == first
    step(office, 15)
    assert attempts(office) == first + 1
    assert len(office.words("deferred")) == 6, late


def test_a_crowded_host_closes_nothing(tmp_path):
    taken = []

    def answer(route, recipient):
        taken.append(recipient)
        return CROWD if office.transmitter.busy > 3 else office.clock.sleep_then(OK)

    office = Office(tmp_path, answer=answer)
    office.clock.sleep_then = lambda outcome: _later(office.clock, outcome)
    put_many(office, 60)
    step(office, 60, by=0.5)
    done = 60 - len(office.on_disk())
    assert done >= 55, "those who were served went on all the time"
    step(office, 400)
    assert office.on_disk() == []


async def _later(clock, outcome):
    await clock.sleep(0.1)
    return outcome


def test_a_flapping_host_costs_no_attempt_of_those_who_only_hoped(office):
    ids = put_many(office, 50)
    step(office, HOUR, by=10.0)
    answers = [OK]
    office.transmitter.answer = lambda route, recipient: answers.pop() if answers else DOWN
    before = len(office.words("deferred"))
    office.put("news@example.net")
    step(office, 12, by=0.02)
    assert set(office.on_disk()) <= set(ids)
    assert len(office.words("deferred")) - before <= 3, "the others wait on as if nothing had happened"


def test_the_operator_who_retries_is_believed(office):
    ids = put_many(office, 3)
    step(office, HOUR, by=60.0)
    office.transmitter.answer = lambda route, recipient: OK
    office.transmitter.sent.clear()
    office.runner.retry()
    step(office, 1, by=0.02)
    assert office.on_disk() == [] and len(office.transmitter.sent) == len(ids)


def test_short_times_are_kept_short(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: DOWN, schedule=Schedule((2.0,), HOUR, HOUR))
    office.put("u@example.net")
    office.settle()
    office.transmitter.answer = lambda route, recipient: OK
    step(office, 2.4, by=0.1)
    assert office.on_disk() == []


def told(office):
    return [event for event in office.events if event.word.startswith("destination")]


def test_that_a_destination_is_down_and_back_is_told_once_each(office):
    put_many(office, 3)
    assert [event.line() for event in told(office)] == [
        'destination-down destination=example.net reason="connection refused"'
    ]
    step(office, 2 * HOUR, by=60.0)
    assert len(told(office)) == 1, "each deferral says it again already"
    office.put("other@example.com")  # another destination is another matter
    office.settle()
    assert [event.destination for event in told(office)] == ["example.net", "example.com"]
    office.transmitter.answer = lambda route, recipient: OK
    step(office, HOUR, by=60.0)
    _, _, *back = told(office)
    assert sorted(event.destination for event in back) == ["example.com", "example.net"]
    (ours,) = (event for event in back if event.destination == "example.net")
    assert ours.line() == f"destination-back destination=example.net down_s={ours.down_s:.3f}"
    assert 2 * HOUR < ours.down_s < 3 * HOUR
    assert office.on_disk() == []


def test_a_message_that_shares_anothers_attempt_says_so(office):
    put_many(office, 5)
    deferred = [event for event in office.events if event.word == "deferred"]
    assert {event.destination for event in deferred} == {"example.net"}
    assert sum(not event.is_shared for event in deferred) == attempts(office) < 5


def test_an_asking_back_by_the_host_is_no_destination_that_is_down(office):
    office.transmitter.answer = lambda route, recipient: LATER
    put_many(office, 3)
    assert told(office) == []
