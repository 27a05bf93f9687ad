"""Each row of the table in `mailserver.store.spool`: the state a crash leaves, and what becomes of it.

The runner is driven over a disk that stops at a chosen step, as a kill would; then a new one starts on what is there.
"""

import pytest

from mailserver.mail.ids import QueueId
from mailserver.policy.holding import HoldRule, Pattern
from mailserver.store.files import Files
from mailserver.store.spool_changes import Remove, WriteState
from mailserver.store.spool_state import RecipientProgress, RecipientState
from tests.fakes.awaiting import start
from tests.fakes.relay import DOWN, LATER, NO, OK, Office


class Killed(BaseException):
    """The process is gone: nothing that follows in it happens."""


class DyingFiles(Files):
    """Counts every change of the disk and dies at number `at`, before or after it took place; then for good."""

    OPERATIONS = ("create", "write", "sync", "rename", "unlink", "sync_folder")

    def __init__(self):
        self.at, self.after, self.count, self.is_dead = None, False, 0, False

    def die_at(self, at, after=False):
        self.at, self.after, self.count, self.is_dead = at, after, 0, False

    def _step(self, name, *arguments):
        self.count += 1
        if self.is_dead or (self.count == self.at and not self.after):
            self.is_dead = True
            raise Killed
        result = getattr(Files, name)(self, *arguments)
        if self.count == self.at:
            self.is_dead = True
            raise Killed
        return result


for _name in DyingFiles.OPERATIONS:
    setattr(DyingFiles, _name, lambda self, *arguments, _name=_name: self._step(_name, *arguments))


def test_row_1_temporary_files_are_swept(tmp_path):
    office = Office(tmp_path)
    (office.spool.paths.tmp / "0000000000009").write_bytes(b"half a mess")
    (office.spool.paths.tmp / "0000000000009.state").write_bytes(b"{")
    assert office.spool.prepare() == 2
    assert list(office.spool.paths.tmp.iterdir()) == []


def test_row_2_without_a_state_all_recipients_wait(tmp_path):
    office = Office(tmp_path)
    office.put("a@example.net", "b@example.net", tell=False)
    office.restart()
    assert office.transmitter.sent == [("example.net", ("a@example.net", "b@example.net"))]


def test_row_3_a_state_is_followed(tmp_path):
    office = Office(tmp_path)
    queue_id = office.put("a@example.net", "b@example.net", tell=False)
    done = RecipientProgress(state=RecipientState.DELIVERED, attempts=1)
    office.spool.apply([WriteState(queue_id, (done, RecipientProgress()))])
    office.restart()
    assert office.transmitter.sent == [("example.net", ("b@example.net",))]


def test_row_4_orphan_states_are_removed(tmp_path):
    office = Office(tmp_path)
    office.spool.apply([WriteState(QueueId("0000000000009"), (RecipientProgress(),))])
    kept = office.put("a@example.net", tell=False)
    office.transmitter.answer = lambda route, recipient: DOWN
    office.restart()
    assert [path.name for path in office.spool.paths.states.iterdir()] == [kept]


@pytest.mark.parametrize("is_report_there", [False, True])
def test_row_5_a_report_that_is_owed_is_made_once(tmp_path, is_report_there):
    office = Office(tmp_path, answer=lambda route, recipient: OK)
    queue_id = office.put("a@example.net", "b@example.com", tell=False)
    report_id = office.put("alice@example.org", sender=None, tell=False) if is_report_there else office.ids()
    refused = RecipientProgress(RecipientState.BOUNCED, 1, reason="refused", enhanced="5.1.1", report=report_id)
    office.spool.apply([WriteState(queue_id, (refused, RecipientProgress()))])
    office.restart()
    assert [name for name, _ in office.mailboxes.filed] == ["alice@example.org"]
    assert office.transmitter.sent == [("example.com", ("b@example.com",))]
    assert office.words("report") == ([] if is_report_there else ["report"])
    assert office.on_disk() == []


def test_row_6_a_message_with_nothing_left_to_do_is_removed_and_not_sent(tmp_path):
    office = Office(tmp_path)
    queue_id = office.put("a@example.net", tell=False)
    office.spool.apply([WriteState(queue_id, (RecipientProgress(state=RecipientState.DELIVERED),))])
    office.restart()
    assert office.transmitter.sent == []
    assert office.on_disk() == []
    assert office.words() == ["removed"]


def test_row_7_a_damaged_message_is_set_aside_and_told(tmp_path):
    office = Office(tmp_path)
    queue_id = office.put("a@example.net", tell=False)
    path = office.spool.paths.message(queue_id)
    path.write_bytes(path.read_bytes()[:50])
    office.restart()
    assert office.words() == ["damaged"]
    assert office.on_disk() == []
    assert len(list(office.spool.paths.damaged.iterdir())) == 1


def test_row_8_a_damaged_state_is_set_aside_and_its_message_sent(tmp_path):
    office = Office(tmp_path)
    queue_id = office.put("a@example.net", tell=False)
    office.spool.paths.state(queue_id).write_bytes(b"\0" * 100)
    office.restart()
    assert office.words() == ["damaged", "delivered", "removed"]
    assert [path.name for path in office.spool.paths.damaged.iterdir()] == [f"{queue_id}.state"]


def test_row_9_a_newer_format_is_left_and_told_and_not_sent(tmp_path):
    office = Office(tmp_path)
    first, second = office.put("a@example.net", tell=False), office.put("a@example.net", tell=False)
    path = office.spool.paths.message(first)
    path.write_bytes(path.read_bytes().replace(b"mailserver-queue 1", b"mailserver-queue 9"))
    office.spool.paths.state(second).write_bytes(b'{"version": 3}')
    office.restart()
    assert office.words() == ["trouble", "trouble"]
    assert office.transmitter.sent == []
    assert office.on_disk() == [first, second]
    assert office.spool.paths.state(second).exists()


def test_row_11_delivered_but_not_written_down_is_sent_again(tmp_path):
    office = Office(tmp_path, files=DyingFiles())
    office.put("a@example.net")
    office.files.die_at(1)
    office.settle()
    assert office.files.is_dead
    _restart_after_kill(office)
    assert [recipients for _, recipients in office.transmitter.sent] == [("a@example.net",)] * 2
    assert office.on_disk() == []


def _restart_after_kill(office):
    """A new process on the same folder: what was in memory, and every timer, is gone."""
    # The old one is still there as objects; when they are collected, their last words must start nothing.
    office.runner._pump.stop()
    office.files.die_at(None)
    office.events.clear()
    office.failures.clear()
    for call in office.clock.twisted.getDelayedCalls():
        call.cancel()
    office.spool.prepare()
    office.restart(is_first=True)
    start(office.runner.load())
    office.settle()


def _life(tmp_path, at=None, after=False):
    """One message to four recipients with every fate; dies at change number `at`. Answers what happened."""
    files = DyingFiles()
    office = Office(tmp_path, files=files)
    tries: dict[str, int] = {}

    def answer(route, recipient):
        if files.is_dead:
            raise Killed
        name = recipient.mailbox.local_part
        tries[name] = tries.get(name, 0) + 1
        if name == "refused":
            return NO
        if name == "later" and tries[name] == 1:
            return LATER
        return OK

    office.transmitter.answer = answer
    office.put("now@example.net", "later@example.net", "refused@example.net", "other@example.com")
    files.die_at(at, after)
    office.settle()
    office.advance(331)
    if files.is_dead:
        _restart_after_kill(office)
        for _ in range(4):
            office.advance(400)
    return office, tries


def test_a_kill_at_any_change_of_the_disk_loses_nobody_and_repeats_only_what_nobody_can_know(tmp_path):
    """Promise 1 through the queue's whole life: before and after each single step."""
    office, tries = _life(tmp_path / "whole")
    steps = office.files.count
    assert steps > 15
    assert tries == {"now": 1, "later": 2, "refused": 1, "other": 1}
    for at in range(1, steps + 1):
        for after in (False, True):
            office, tries = _life(tmp_path / f"{at}{after}", at, after)
            where = f"killed {'after' if after else 'before'} step {at} of {steps}"
            assert office.on_disk() == [], where
            assert list(office.spool.paths.states.iterdir()) == [], where
            bounces = [content for name, content in office.mailboxes.filed if name == "alice@example.org"]
            assert 1 <= len(bounces) <= 2, where
            assert all(b"refused@example.net" in content for content in bounces), where
            assert set(tries) == {"now", "later", "refused", "other"}, where
            assert sum(tries.values()) <= 5 + 4, where
            assert office.words("damaged", "trouble") == [], where
            assert not office.failures, where


def test_removal_leaves_no_state_before_its_message(tmp_path):
    """A power cut may keep the removal of the one and lose that of the other: the order makes it harmless."""
    files = DyingFiles()
    office = Office(tmp_path, files=files)
    queue_id = office.put("a@example.net", tell=False)
    office.spool.apply([WriteState(queue_id, (RecipientProgress(state=RecipientState.DELIVERED),))])
    files.die_at(2)  # unlink of the message, then the folder's sync
    with pytest.raises(Killed):
        office.spool.apply([Remove(queue_id)])
    assert office.spool.paths.state(queue_id).exists()


def test_row_10_a_hold_by_a_rule_that_was_not_written_is_made_up_for_before_anybody_is_tried(tmp_path):
    office = Office(tmp_path, rules=[HoldRule("hold[0]", recipient=Pattern("a@example.net"))])
    queue_id = office.put("a@example.net", tell=False)
    office.restart()
    assert office.transmitter.sent == []
    assert office.spool.read(queue_id).progress[0].is_held
