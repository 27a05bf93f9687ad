"""What an outcome does to a recipient: the rules of giving up, and which report is due."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.envelope import Envelope, Notify, Recipient
from mailserver.mail.outcome import Bounced, Deferred, Delivered, Stage
from mailserver.mail.reply import Reply
from mailserver.relay.dsn_fields import Action
from mailserver.relay.progress import (
    Moment,
    after_attempt,
    failure_report,
    is_delay_notice_due,
    is_destination_trouble,
    success_report,
    why_no_report,
)
from mailserver.relay.schedule import Schedule
from mailserver.store.spool_state import RecipientProgress, RecipientState
from tests.fakes.directory import box

SCHEDULE = Schedule((300.0, 600.0), 86400.0, 3600.0)
BOB = Recipient(box("bob@example.net"))
REPLIES = st.none() | st.builds(Reply, st.integers(200, 599), st.text(max_size=9), st.tuples(st.text(max_size=5000)))
DEFERRED = st.builds(Deferred, st.text(max_size=2000), st.sampled_from(Stage), REPLIES, st.text(max_size=2000))


@given(outcome=DEFERRED, age=st.floats(0, 86000), attempts=st.integers(0, 50))
def test_a_deferral_before_expiry_never_ends_anything_whatever_the_reply_says(outcome, age, attempts):
    """Even a reply of 550 in a `Deferred`: who made the outcome has weighed it."""
    after = after_attempt(RecipientProgress(attempts=attempts), outcome, SCHEDULE, Moment(1e9, age, 0.0))
    assert after.is_waiting
    assert after.attempts == attempts + 1
    assert 1e9 < after.next_attempt <= 1e9 + 660
    assert len(after.reason) <= 500
    assert len(after.host) <= 500
    assert failure_report(BOB, after) is None


@given(outcome=DEFERRED, age=st.floats(86400, 1e9))
def test_a_deferral_after_expiry_gives_up_with_the_last_words(outcome, age):
    after = after_attempt(RecipientProgress(), outcome, SCHEDULE, Moment(1e9, age, 0.0))
    assert after.state is RecipientState.EXPIRED
    report = failure_report(BOB, after)
    assert (report.action, report.status, report.is_expired) == (Action.FAILED, "4.4.7", True)


def test_the_first_deferral_is_remembered():
    later = Deferred("busy", Stage.CONNECT)
    first = after_attempt(RecipientProgress(), later, SCHEDULE, Moment(100.0, 0.0, 0.0))
    second = after_attempt(first, later, SCHEDULE, Moment(500.0, 400.0, 0.0))
    assert (second.first_deferred, second.last_attempt, second.next_attempt) == (100.0, 500.0, 1100.0)


def test_a_delivery_forgets_old_trouble():
    deferred = after_attempt(RecipientProgress(), Deferred("busy", Stage.EOD), SCHEDULE, Moment(1.0, 0.0, 0.0))
    done = after_attempt(deferred, Delivered(Reply(250, "2.0.0", ("ok",)), "mx"), SCHEDULE, Moment(2.0, 1.0, 0.0))
    assert (done.state, done.reason, done.stage, done.host) == (RecipientState.DELIVERED, "", None, "mx")
    assert done.is_done


@pytest.mark.parametrize(
    ("state", "notify", "is_failure_told", "is_success_told"),
    [
        (RecipientState.BOUNCED, set(), True, False),
        (RecipientState.EXPIRED, {Notify.FAILURE, Notify.DELAY}, True, False),
        (RecipientState.BOUNCED, {Notify.NEVER}, False, False),
        (RecipientState.BOUNCED, {Notify.SUCCESS}, False, False),
        (RecipientState.DELIVERED, set(), False, False),
        (RecipientState.DELIVERED, {Notify.SUCCESS}, False, True),
        (RecipientState.DELIVERED, {Notify.NEVER}, False, False),
        (RecipientState.WAITING, {Notify.SUCCESS, Notify.FAILURE}, False, False),
    ],
)
def test_which_report_is_due(state, notify, is_failure_told, is_success_told):
    recipient, progress = Recipient(BOB.mailbox, frozenset(notify)), RecipientProgress(state=state, attempts=1)
    assert bool(failure_report(recipient, progress)) == is_failure_told
    assert bool(success_report(recipient, progress)) == is_success_told


def test_a_success_is_relayed_or_delivered():
    recipient = Recipient(BOB.mailbox, frozenset({Notify.SUCCESS}))
    here = RecipientProgress(state=RecipientState.DELIVERED)
    there = RecipientProgress(state=RecipientState.DELIVERED, reply=Reply(250, "2.0.0", ("ok",)))
    assert success_report(recipient, here).action is Action.DELIVERED
    assert success_report(recipient, there).action is Action.RELAYED


def test_a_delay_is_told_once_and_only_of_who_waits():
    waits = RecipientProgress(attempts=3)
    assert is_delay_notice_due(BOB, waits, SCHEDULE, 3600.0)
    assert not is_delay_notice_due(BOB, waits, SCHEDULE, 3599.0)
    assert not is_delay_notice_due(BOB, RecipientProgress(attempts=3, is_delay_told=True), SCHEDULE, 9999.0)
    assert not is_delay_notice_due(BOB, RecipientProgress(attempts=0), SCHEDULE, 9999.0)
    assert not is_delay_notice_due(BOB, RecipientProgress(RecipientState.DELIVERED, 3), SCHEDULE, 9999.0)


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        (Deferred("x", Stage.CONNECT), True),
        (Deferred("x", Stage.DNS), True),
        (Deferred("greylisted", Stage.RCPT), False),
        (Bounced("no", Stage.BANNER, "5.0.0"), False),
        (Delivered(), False),
    ],
)
def test_what_is_the_destinations_own_trouble(outcome, answer):
    assert is_destination_trouble(outcome) is answer


def test_why_nobody_is_told():
    assert "null" in why_no_report(Envelope(None), Action.FAILED)
    assert "asked not to" in why_no_report(Envelope(box("a@b.example")), Action.FAILED)
