"""The queue, its destinations, and the suppression list."""

import pytest

from mailserver.doctor.check import Verdict
from mailserver.doctor.queue import (
    QueueFacts,
    Waiting,
    check_destinations,
    check_queue,
    check_suppression,
    count,
    read_queue,
    read_suppression,
    span,
)
from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.ids import QueueIds
from mailserver.mail.outcome import Stage
from mailserver.mail.reply import Reply
from mailserver.ports import StoredContent
from mailserver.store.spool import StoredMessage
from mailserver.store.spool_state import RecipientProgress, RecipientState
from tests.doctor.configs import configured

PASS, WARN, FAIL, UNKNOWN, SKIP = Verdict
NOW = 1_750_000_000.0
HOUR, DAY = 3600.0, 86400.0


def worst(checks):
    order = [FAIL, WARN, UNKNOWN, PASS, SKIP]
    return min(checks, key=lambda check: order.index(check.verdict))


@pytest.mark.parametrize(
    ("facts", "verdict", "words"),
    [
        (QueueFacts(), PASS, "it is empty"),
        (QueueFacts(1, NOW - 2 * HOUR), PASS, "1 message waits, the oldest for 2 hours"),
        (QueueFacts(3, NOW - 2 * DAY), PASS, "3 messages wait, the oldest for 2 days"),
        (QueueFacts(1000, NOW - HOUR), WARN, "1000 messages wait"),
        (QueueFacts(2, NOW - DAY, overdue=2), FAIL, "2 recipients should have been tried"),
        (
            QueueFacts(2, NOW - DAY, held=1, held_since=NOW - 8 * DAY),
            WARN,
            "1 recipients are held, the first for 8 days",
        ),
        (QueueFacts(2, NOW - DAY, held=1, held_since=NOW - DAY), PASS, "2 messages wait"),
        (QueueFacts(damaged=2), WARN, "2 files of the queue could not be read"),
    ],
)
def test_the_queue(facts, verdict, words):
    found = worst(check_queue(facts, NOW, is_running=True))
    assert (found.verdict, words in found.finding) == (verdict, True), found


def test_what_is_overdue_is_no_wonder_while_the_server_is_down():
    facts = QueueFacts(2, NOW - DAY, overdue=2)
    assert worst(check_queue(facts, NOW, is_running=False)).verdict is PASS


def domains(number, age_s=HOUR, **more):
    return {f"d{index}.example": Waiting(NOW - age_s, 1, "no connection", **more) for index in range(number)}


@pytest.mark.parametrize(
    ("waiting", "verdict", "words"),
    [
        ({}, PASS, "no destination keeps mail waiting"),
        (domains(2), PASS, "no destination keeps mail waiting"),
        (domains(2, 30 * HOUR), WARN, "mail for d0.example, d1.example waits, since 1 day: no connection"),
        (domains(5), FAIL, "none of 5 destinations can be reached: no connection"),
        (domains(5, is_unreached=False), PASS, "no destination"),
        (domains(9, 2 * DAY, is_unreached=False), WARN, "and 6 more waits"),
    ],
)
def test_destinations(waiting, verdict, words):
    (found,) = check_destinations(QueueFacts(len(waiting), NOW, domains=waiting), NOW)
    assert (found.verdict, words in found.finding) == (verdict, True), found


def message(*progress, received_at=NOW - DAY, domain="example.net"):
    recipients = tuple(Recipient(Mailbox(f"u{number}", domain)) for number in range(len(progress)))
    content = StoredContent("x", 0, 1)
    return StoredMessage(
        QueueIds(lambda: received_at)(), received_at, Envelope(None, recipients), "", content, progress
    )


def test_recipients_are_counted():
    facts = QueueFacts()
    refused = RecipientProgress(
        attempts=2, next_attempt=NOW + 60, stage=Stage.RCPT, reply=Reply(451, "4.7.1", ("later",))
    )
    unreached = RecipientProgress(attempts=1, next_attempt=NOW - 2 * HOUR, stage=Stage.CONNECT, reason="no connection")
    held = RecipientProgress(held_by="carol", held_since=NOW - HOUR)
    done = RecipientProgress(state=RecipientState.DELIVERED)
    untried = RecipientProgress(next_attempt=NOW)
    count(facts, message(refused, unreached, held, done), NOW)
    count(facts, message(unreached, untried, domain="example.com"), NOW)
    assert (facts.overdue, facts.held, facts.held_since) == (2, 1, NOW - HOUR)
    assert facts.domains["example.net"] == Waiting(NOW - DAY, 1, "no connection", is_unreached=False)
    assert facts.domains["example.com"].is_unreached


def test_an_empty_queue_is_read(tmp_path):
    assert read_queue(tmp_path, NOW) == QueueFacts()


@pytest.mark.parametrize(
    ("found", "verdict"), [((0, 0), PASS), ((30, 3), PASS), ((30, 20), WARN), ("it cannot be read: damaged", UNKNOWN)]
)
def test_the_suppression_list(found, verdict):
    assert check_suppression(found).verdict is verdict


def test_the_suppression_list_is_read_from_its_file(tmp_path):
    config = configured(tmp_path)
    assert read_suppression(config, NOW) == (0, 0)
    config.storage.state.mkdir()
    (config.storage.state / "suppression.json").write_text("nonsense")
    assert read_suppression(config, NOW).startswith("the suppression list cannot be read")


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "less than a minute"), (61, "1 minute"), (7300, "2 hours"), (86400, "1 day")]
)
def test_spans(seconds, text):
    assert span(seconds) == text
