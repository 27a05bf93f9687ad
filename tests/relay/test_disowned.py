"""Nothing is reported to a sender whose domain says that it did not send the message (SPF fail)."""

import pytest

from mailserver.mail.envelope import Notify, Recipient
from mailserver.ports import LocalMailboxes
from tests.fakes.directory import box
from tests.fakes.relay import DAY, DOWN, NO, OK, Office

EAGER = Recipient(box("a@example.net"), frozenset({Notify.FAILURE, Notify.DELAY, Notify.SUCCESS}))


@pytest.mark.parametrize("answer", [NO, DOWN, OK])
def test_a_forged_sender_hears_of_nothing(tmp_path, answer):
    office = Office(tmp_path, answer=lambda route, recipient: answer)
    office.put(EAGER, sender="victim@outside.example", is_disowned=True, source="[203.0.113.9:1] ESMTP")
    for _ in range(400):
        office.advance(6 * 3600.0)
    assert office.on_disk() == []
    assert "report" not in office.words()
    dropped = [event.line() for event in office.events if event.word == "report-dropped"]
    assert len(dropped) == (0 if answer is OK else 1)
    assert all("SPF" in line for line in dropped)
    assert {route for route, _ in office.transmitter.sent} == {"example.net"}


def test_it_is_remembered_over_a_restart(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: NO)
    office.put(EAGER, sender="victim@outside.example", is_disowned=True, tell=False)
    office.restart()
    assert office.on_disk() == []
    assert office.words("report", "report-dropped") == ["report-dropped"]


def test_the_same_without_that_is_reported(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: NO)
    office.put(EAGER, sender="victim@outside.example")
    office.advance(1)
    assert "report" in office.words()


def test_the_copies_behind_an_alias_are_disowned_too(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: NO)
    office.local["a@example.net"] = LocalMailboxes((box("alice@example.org"),), (box("far@example.com"),))
    office.put(EAGER, sender="victim@outside.example", is_disowned=True)
    office.advance(DAY)
    assert "expanded" in office.words() and "report" not in office.words()
