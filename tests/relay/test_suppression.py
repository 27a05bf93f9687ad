"""The suppression list at work in a queue."""

import errno

import pytest

from mailserver.mail.outcome import Bounced, Stage
from mailserver.mail.reply import Reply
from mailserver.ports import StorageTrouble
from mailserver.relay.suppression import Suppressor
from mailserver.store.files import Files
from mailserver.store.suppression import SuppressionFile, SuppressionList
from tests.fakes.awaiting import run, start
from tests.fakes.directory import box
from tests.fakes.disk import FaultyFiles
from tests.fakes.relay import DAY, LATER, NO, OK, Office

BOB = box("bob@example.net")


def suppressor(office, files=None, after=3):
    file = SuppressionFile(office.spool.paths.folder.parent, files or Files())
    made = Suppressor(file, SuppressionList(after, 30 * DAY), office.blocking, office.clock, office.events.append)
    made.load()
    return made


@pytest.fixture
def office(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: NO)
    office.suppression = suppressor(office)
    office.restart()
    yield office
    assert not office.failures


def send(office, *recipients):
    queue_id = office.put(*(recipients or ("bob@example.net",)))
    office.settle()
    return queue_id


def test_three_refusals_and_nobody_asks_again(office):
    for _ in range(4):
        send(office)
    assert len(office.transmitter.sent) == 3
    assert len(office.mailboxes.filed) == 4
    words = " ".join(office.mailboxes.filed[3][1].decode().split())
    assert "own mail server's suppression list since" in words
    assert "3 messages were refused for good, the last one with: 550 5.1.1 no such user" in words
    assert "mailserver suppression remove bob@example.net" in words
    assert "Status: 5.1.1" in words
    assert office.words("suppressed") == ["suppressed"]


def test_others_in_the_same_message_are_not_affected(office):
    for _ in range(3):
        send(office)
    office.transmitter.answer = lambda route, recipient: OK
    send(office, "bob@example.net", "carol@example.net")
    assert office.transmitter.sent[-1] == ("example.net", ("carol@example.net",))
    assert len(office.mailboxes.filed) == 4


def test_a_delivery_in_between_begins_anew(office):
    send(office), send(office)
    office.transmitter.answer = lambda route, recipient: OK
    send(office)
    office.transmitter.answer = lambda route, recipient: NO
    send(office), send(office)
    send(office)
    assert len(office.transmitter.sent) == 6


@pytest.mark.parametrize(
    "outcome",
    [
        Bounced("refused", Stage.RCPT, "5.7.1", Reply(550, "5.7.1", ("spam",)), "mx"),
        Bounced("refused", Stage.RCPT, "5.1.1", Reply(550, "", ("no such user",)), "mx"),
        Bounced("refused", Stage.EOD, "5.1.1", Reply(550, "5.1.1", ("no such user",)), "mx"),
        Bounced("no such domain", Stage.DNS, "5.1.2"),
        LATER,
    ],
)
def test_only_a_mailbox_that_does_not_exist_counts(office, outcome):
    office.transmitter.answer = lambda route, recipient: outcome
    for _ in range(4):
        send(office)
    assert len(office.transmitter.sent) == 4


def test_the_list_survives_a_restart_and_runs_out(office):
    for _ in range(3):
        send(office)
    office.advance(1)
    office.suppression = suppressor(office)
    office.restart()
    send(office)
    assert len(office.transmitter.sent) == 3
    office.advance(31 * DAY)
    send(office)
    assert len(office.transmitter.sent) == 4


def test_counts_are_written_at_the_stop_too(office):
    send(office)
    run(office.suppression.stop())
    found = SuppressionList(3, DAY)
    SuppressionFile(office.spool.paths.folder.parent, Files()).read(found)
    assert len(found.counted(office.clock.now())) == 1


def test_by_hand(office):
    run(office.suppression.add(BOB, "eva", "left the firm", 0.0))
    send(office)
    assert office.transmitter.sent == []
    assert "suppression list since" in " ".join(office.mailboxes.filed[0][1].decode().split())
    assert run(office.suppression.remove(BOB, "eva"))
    assert not run(office.suppression.remove(BOB, "eva"))
    send(office)
    assert len(office.transmitter.sent) == 1
    assert office.words("suppressed", "unsuppressed") == ["suppressed", "unsuppressed"]


def test_a_disk_that_refuses_is_told_once_and_tried_again(office):
    files = FaultyFiles(("write", "suppression"), code=errno.ENOSPC, times=3)
    office.suppression = suppressor(office, files)
    office.restart()
    with pytest.raises(StorageTrouble):
        run(office.suppression.add(BOB, "eva", "", 0.0))
    send(office, "eve@example.com")
    for _ in range(4):
        office.advance(61)
    assert office.words("trouble") == ["trouble"]
    assert b"eve@example.com" in (office.spool.paths.folder.parent / "suppression.json").read_bytes()


def test_damage_is_set_aside_and_a_newer_list_left_alone(office):
    path = office.spool.paths.folder.parent / "suppression.json"
    path.write_bytes(b"\0\0")
    made = suppressor(office)
    assert path.with_name("suppression.json.damaged").exists()
    assert made.verdict(BOB) is None
    path.write_bytes(b'{"version": 2}')
    made = suppressor(office)
    with pytest.raises(StorageTrouble, match="format 2"):
        run(made.add(BOB, "eva", "", 0.0))
    made.note("Q", BOB, NO)
    start(made.stop())
    assert path.read_bytes() == b'{"version": 2}'
    assert office.words("trouble") == ["trouble", "trouble"]
