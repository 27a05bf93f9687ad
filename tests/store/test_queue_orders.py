"""What orders do to recipients: only to those that wait, and time while held does not count."""

import pytest

from mailserver.mail.envelope import Envelope, Notify, Recipient
from mailserver.mail.outcome import Stage
from mailserver.mail.reply import Reply
from mailserver.store.queue_orders import Choice, counted_age, given_up, held, released, with_report
from mailserver.store.spool_state import RecipientProgress, RecipientState
from tests.fakes.directory import box

WAITING = RecipientProgress(attempts=2, next_attempt=900.0, reply=Reply(450, "4.7.1", ("later",)), host="mx")
FINAL = [RecipientProgress(state=state) for state in RecipientState if state is not RecipientState.WAITING]


@pytest.mark.parametrize("one", FINAL)
def test_who_is_at_the_end_is_left_alone(one):
    assert held(one, "eva", "why", 1.0) is one
    assert released(one, 1.0) is one
    assert given_up(one, "why", 1.0) is one


def test_held_and_released():
    one = held(WAITING, "eva", "asked the sender", 1000.0)
    assert (one.held_by, one.held_reason, one.held_since, one.shown_state) == (
        "eva",
        "asked the sender",
        1000.0,
        "held",
    )
    assert held(one, "tom", "another", 1100.0) == one
    assert counted_age(one, 5000.0, 1300.0) == 4700.0
    again = released(one, 1500.0)
    assert (again.is_held, again.next_attempt, again.held_s, again.attempts) == (False, 0.0, 500.0, 2)
    assert counted_age(again, 5000.0, 9999.0) == 4500.0
    assert released(held(again, "eva", "", 2000.0), 2100.0).held_s == 600.0


def test_a_clock_that_was_set_back_takes_no_time_away():
    assert released(held(WAITING, "eva", "", 1000.0), 10.0).held_s == 0.0


def test_given_up_keeps_the_other_sides_words():
    one = given_up(held(WAITING, "eva", "", 1000.0), "we know it is spam", 1500.0)
    assert (one.state, one.stage, one.enhanced, one.held_by) == (RecipientState.BOUNCED, Stage.LOCAL, "5.0.0", "")
    assert one.reason == "the administrator of this mail server stopped the delivery: we know it is spam"
    assert one.reply == WAITING.reply


def test_a_report_is_owed_only_to_who_wants_it():
    envelope = Envelope(
        box("alice@example.org"),
        (Recipient(box("a@x.example")), Recipient(box("b@x.example"), frozenset({Notify.NEVER}))),
    )
    progress = (WAITING, WAITING)
    assert [one.report for one in with_report(envelope, progress, [0, 1], "ID")] == ["ID", ""]
    assert with_report(Envelope(None, envelope.recipients), progress, [0, 1], "ID") == progress


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (Choice(), [0, 1]),
        (Choice(domain="example.net"), [0]),
        (Choice(recipient="EVE@"), [1]),
        (Choice(state="held"), [1]),
        (Choice(state="waiting"), [0]),
        (Choice("example.net", "eve"), []),
    ],
)
def test_a_choice_narrows_to_recipients(choice, taken):
    envelope = Envelope(None, tuple(Recipient(box(one)) for one in ("bob@example.net", "eve@x.example", "a@b.example")))
    progress = (WAITING, held(WAITING, "eva", "", 1.0), FINAL[0])
    assert list(choice.waiting(envelope, progress)) == taken
