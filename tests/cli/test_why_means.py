"""`mailserver why` and bounces tell the same cause: one way from the facts of an attempt to what it means."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from mailserver.cli.why_life import Life
from mailserver.cli.why_means import of_given_up, of_waiting
from mailserver.config.load import load_config
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.outcome import Bounced, Deferred, Stage
from mailserver.mail.reply import Reply
from mailserver.maillog import Accepted
from mailserver.ports import StoredContent
from mailserver.relay.diagnosis import explain
from mailserver.relay.lanes import Entry as QueueEntry
from mailserver.relay.lanes import Job, Lane
from mailserver.relay.progress import Moment, after_attempt, delay_report, failure_report
from mailserver.relay.schedule import Schedule
from mailserver.relay.telling import tell_outcomes
from mailserver.store.journal_facts import Facts
from mailserver.store.journal_read import Entry
from mailserver.store.spool import StoredMessage
from mailserver.store.spool_state import RecipientProgress
from tests.fakes.directory import box

ID = "0000000000001"
SCHEDULE = Schedule((300.0,), 1000.0, 1000.0)
HOST = "mx.example.net[192.0.2.1]"
BUSY = Reply(421, "4.3.2", ("Too busy",))
OUTCOMES = [
    Bounced("the recipient was refused", Stage.RCPT, "5.1.1", Reply(550, "5.1.1", ("no such", "user here")), HOST),
    Bounced("the domain x does not exist", Stage.DNS, "5.1.2"),
    Bounced("the domain x does not take mail (null MX)", Stage.DNS, "5.1.10"),
    Bounced("the message was refused", Stage.EOD, "5.7.1", Reply(554, "", ("spam",)), "mx.example.net[2001:db8::1]"),
    Bounced("there is no such mailbox", Stage.LOCAL, "5.1.1"),
    Deferred("connection refused", Stage.CONNECT, host=HOST),
    Deferred("the host does not want our mail now", Stage.BANNER, BUSY, HOST),
    Deferred("the TLS handshake did not succeed", Stage.STARTTLS, host=HOST),
    Deferred("the mailbox has no room", Stage.LOCAL),
    Deferred("the login was refused", Stage.AUTH, Reply(535, "5.7.8", ("no",)), "smtp.isp.example[192.0.2.3]"),
]


@pytest.fixture
def config(tmp_path):
    path = Path(tmp_path) / "mailserver.toml"
    path.write_text(
        'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "alice@example.org"\n'
        '[storage]\nmaildirs = "maildirs"\nstate = "var"\n[relay]\nsmarthost = "smtp.isp.example:587"\n'
    )
    return load_config(path)


def queued(outcome, age_s, sender="alice@example.org"):
    envelope = Envelope(box(sender), (Recipient(box("bob@example.net")),))
    one = after_attempt(RecipientProgress(), outcome, SCHEDULE, Moment(time.time(), age_s, 0.0))
    content = StoredContent(Path("/none"), 0, 0)
    return StoredMessage(ID, time.time() - age_s, envelope, f"[192.0.2.9:1] {sender} ESMTPSA", content, (one,))


def is_smarthost(outcome):
    return outcome.host.startswith("smtp.isp.example")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_given_up_means_what_the_bounce_says(config, outcome):
    """By way of the event, the journal's row and back; a deferral that was the last is one that expired."""
    message = queued(outcome, 2000.0)
    (recipient,), (one,) = message.envelope.recipients, message.progress
    report = failure_report(recipient, one)
    events = []
    job = Job(QueueEntry(ID, 0.0), Lane("example.net", 10), (0,), 0, 0.0)
    tell_outcomes(events.append, message, message.progress, {0: outcome}, Moment(0.0, 0.0, 0.0), job)
    accepted = Accepted(
        ID, "192.0.2.9:1", "<alice@example.org>", ("bob@example.net",), 1, "ESMTPSA", "alice@example.org"
    )
    facts = [Facts().of(1.0, event)[0] for event in (accepted, *events)]
    rows = [Entry(number, row[0], row[1], row[2], row[3]) for number, row in enumerate(facts)]
    expected = explain(replace(report, is_smarthost=is_smarthost(outcome)))
    assert of_given_up(config, Life(ID, rows), rows[-1]) == expected


@pytest.mark.parametrize("outcome", [one for one in OUTCOMES if isinstance(one, Deferred)])
def test_waiting_means_what_the_delay_notice_says(config, outcome):
    message = queued(outcome, 10.0)
    report = delay_report(message.envelope.recipients[0], message.progress[0], 0.0)
    assert of_waiting(config, message, 0) == explain(replace(report, is_smarthost=is_smarthost(outcome)))


def test_a_strangers_message_that_was_passed_on_is_no_matter_for_the_stranger(config):
    outcome = Bounced("refused", Stage.EOD, "5.7.26", Reply(550, "5.7.26", ("DMARC policy of the sender",)), HOST)
    message = queued(outcome, 10.0, "tony@outside.example")
    (one,) = message.progress
    fields = {
        "recipient": "bob@example.net", "enhanced": "5.7.26", "reason": one.reason, "reply": str(one.reply),
        "host": HOST, "stage": "eod",
    }  # fmt: skip
    accepted = Entry(1, 1.0, ID, "accepted", {"reverse_path": "<tony@outside.example>"})
    told = of_given_up(config, Life(ID, [accepted]), Entry(2, 1.0, ID, "bounced", fields))
    assert told.cause.value == "forwarding_dmarc"


def test_what_was_not_tried_or_does_not_tell_its_stage_means_nothing(config):
    message = queued(OUTCOMES[5], 10.0)
    untried = StoredMessage(ID, 0.0, message.envelope, "", message.content, (RecipientProgress(),))
    assert of_waiting(config, untried, 0) is None
    old = Entry(1, 1.0, ID, "bounced", {"recipient": "bob@example.net", "reason": "refused"})
    assert of_given_up(config, Life(ID, [old]), old) is None
