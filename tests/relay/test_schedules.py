"""Other times for some destinations: retries, the delay notice and the end, in one message and over a restart."""

from email import message_from_bytes
from email.utils import parsedate_to_datetime

import pytest

from mailserver.relay.schedule import Schedule
from tests.fakes.relay import DAY, DOWN, HOUR, LATER, Office

SLOW = Schedule((12 * HOUR,), 10 * DAY, 0.0)
QUICK = Schedule((60.0,), HOUR, 600.0)


@pytest.fixture
def office(tmp_path):
    """Mail to example.net in the usual way, to a dial-up site slowly, to a partner with little patience."""
    schedules = {"dialup.example": SLOW, "partner.example": QUICK}
    return Office(tmp_path, answer=lambda route, recipient: LATER, schedules=schedules)


def times(office, address):
    """When it was tried, in seconds since the start."""
    (events,) = [[event for event in office.events if event.word == "deferred" and event.recipient == address]]
    return [event.next_attempt_s for event in events]


def test_each_recipient_of_one_message_has_the_times_of_its_domain(office):
    office.put("a@example.net", "b@dialup.example", "c@sub.partner.example")
    office.settle()
    assert 300.0 <= times(office, "a@example.net")[0] <= 330.0
    assert 12 * HOUR <= times(office, "b@dialup.example")[0] <= 13.2 * HOUR
    assert 60.0 <= times(office, "c@sub.partner.example")[0] <= 66.0


def test_the_end_and_the_delay_notice_are_those_of_the_domain(office):
    office.put("b@dialup.example", "c@partner.example")
    for _ in range(130):
        office.advance(60.0)
    bounced = [event.recipient for event in office.events if event.word == "bounced"]
    reports = [event.action for event in office.events if event.word == "report"]
    assert bounced == ["c@partner.example"] and reports == ["delayed", "failed"]
    for _ in range(9 * 24):
        office.advance(HOUR)
    assert [event.word for event in office.events].count("bounced") == 1
    assert [event.action for event in office.events if event.word == "report"] == reports, "no notice for the slow one"
    for _ in range(2 * 24):
        office.advance(HOUR)
    assert [event.recipient for event in office.events if event.word == "bounced"] == [
        "c@partner.example",
        "b@dialup.example",
    ]
    assert office.on_disk() == []


def test_the_delay_notice_names_the_end_of_its_own_domain(office):
    office.put("c@partner.example")
    arrived = office.clock.now()
    for _ in range(12):
        office.advance(60.0)
    ((_, notice),) = office.mailboxes.filed
    part = message_from_bytes(notice).get_payload()[1].get_payload()[1]
    assert abs(parsedate_to_datetime(part["Will-Retry-Until"]).timestamp() - arrived - HOUR) < 5


def test_after_a_restart_a_long_wait_is_still_a_long_wait(office):
    office.put("a@example.net", "b@dialup.example")
    office.settle()
    sent = len(office.transmitter.sent)
    office.restart()
    office.advance(11 * HOUR)
    tried = [to for route, to in office.transmitter.sent[sent:] if route == "dialup.example"]
    assert tried == []
    office.advance(3 * HOUR)
    assert [route for route, _ in office.transmitter.sent[sent:]].count("dialup.example") == 1


def test_a_destination_that_is_down_rests_no_longer_than_the_shortest_wait_of_all(tmp_path):
    office = Office(
        tmp_path, answer=lambda route, recipient: DOWN, schedules={"partner.example": Schedule((2.0,), 60.0, 0.0)}
    )
    office.put("c@partner.example")
    for _ in range(100):
        office.advance(1.0)
    assert [event.recipient for event in office.events if event.word == "bounced"] == ["c@partner.example"]
    assert len(office.transmitter.sent) > 20
