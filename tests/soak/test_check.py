"""The check of the soak can fail: whatever is done by hand to a sound state is found."""

import json
import shutil

import pytest

from tests.integration.server import ALICE, BOB
from tests.soak.book import Book, Message
from tests.soak.check import Check
from tests.soak.letters import STRANGER, Damaged, Letter, content_of, read_copy

PID = 4711
FAR = "n3-0.ok@remote.test"
REFUSED = "n4-0.no@remote.test"
WAITING = "n5-0.late.1@remote.test"
RECEIVED = "Received: from x\r\n\tby y with ESMTP\r\n\tid {id};\r\n\tMon, 5 Jan 2026 10:00:00 +0000\r\n"


class Scene:
    """A folder as a run leaves it: messages 1 and 2 filed, 3 at the next hop, 4 bounced to alice, 5 in the queue."""

    def __init__(self, folder):
        self.folder = folder
        self.new = folder / "maildirs" / "example.test" / "alice" / "new"
        self.queue = folder / "var" / "queue"
        self.sink = folder / "sink"
        self.drop = folder / "drop"
        for one in (self.new, self.queue / "messages", self.queue / "states", self.drop):
            one.mkdir(parents=True)
        self.book = Book(folder / "ledger")
        self.check = Check(folder, folder / "ledger", self.sink)
        self._count = 0
        self.one, self.two = self.filed(1), self.filed(2)
        self.send(3, FAR)
        self.taken(3, FAR)
        self.send(4, REFUSED, sender=ALICE)
        self.says("refused", recipients=[REFUSED])
        self.bounce = self.file(bounce(4, REFUSED, "Q4", "R4"))
        self.send(5, WAITING)
        self.queued = self.enqueue(5, WAITING)

    def file(self, octets, pid=PID):
        self._count += 1
        path = self.new / f"{1750000000 + self._count}.M000001P{pid}Q{self._count}.host,S=1,W=1"
        path.write_bytes(octets.replace(b"\r\n", b"\n"))
        return path

    def filed(self, number):
        self.send(number, ALICE)
        return self.file(copy_of(number))

    def send(self, number, recipient, *, sender=STRANGER, way="smtp", notify=None, answer="acknowledged"):
        message = Message(number, way, sender, (recipient,), 100, {recipient: notify} if notify else {}, 1)
        self.book.sending(message)
        if answer == "acknowledged":
            self.book.acknowledged(message, f"Q{number}")
        else:
            self.book.not_acknowledged(message, "" if answer == "unanswered" else "451 no")

    def says(self, what, at=1.0, **about):
        with self.sink.open("a") as file:
            file.write(json.dumps({"what": what, "at": at, **about}) + "\n")

    def taken(self, number, recipient, *, at=1.0, taking=1, is_answered=True):
        self.says("took", at, taking=taking, to=[recipient], n=number, attempt=1, id=f"Q{number}")
        if is_answered:
            self.says("answered", at, taking=taking)

    def enqueue(self, number, recipient):
        head = f'mailserver-queue 1\n{{"id": "Q{number}"}}\n{json.dumps({"recipient": recipient})}\n\n'
        path = self.queue / "messages" / f"Q{number}"
        path.write_bytes(head.encode() + copy_of(number))
        return path

    def state(self, number, **state):
        (self.queue / "states" / f"Q{number}").write_text(json.dumps({"recipients": [state]}))

    def kill(self, at, pid=PID):
        with self.book.path.open("a") as file:
            file.write(json.dumps({"what": "kill", "at": at, "pid": pid}) + "\n")


def copy_of(number, attempt=1):
    return RECEIVED.format(id=f"Q{number}").encode() + content_of(number, attempt, 100, STRANGER)


def bounce(number, recipient, queue_id, report_id):
    fields = f"Final-Recipient: rfc822; {recipient}\nAction: failed\nStatus: 5.1.1\nFinal-Log-ID: {queue_id}\n"
    head = f"From: Mail Delivery System <p@x>\nMessage-ID: <{report_id}@x>\n\n--b\n\nReporting-MTA: dns; x\n\n"
    returned = f"\n--b\n\nSubject: s\nX-Number: {number}\nX-Try: 1\nX-Sum: 0\n\n--b--\n"
    return (head + fields + returned).encode()


@pytest.fixture
def scene(tmp_path):
    made = Scene(tmp_path)
    assert made.check.problems() == []
    assert made.check.problems() == []
    yield made
    made.book.close()


def only(problems, *words):
    assert len(problems) == 1, problems
    assert all(word in problems[0] for word in words), problems


# --- lost -------------------------------------------------------------------------------------------------------------


def test_a_file_that_is_removed_has_vanished(scene):
    scene.one.unlink()
    only(scene.check.problems(), ALICE, "vanished")


def test_a_file_that_is_removed_before_it_was_ever_seen_is_lost(scene):
    scene.filed(7).unlink()
    only(scene.check.problems(), "message 7, try 1 for alice@example.test", "is lost")


@pytest.mark.parametrize("recipient", [BOB, "n8-0.ok@remote.test"])
def test_an_acknowledgment_that_is_added_by_hand_is_a_loss(scene, recipient):
    scene.send(8, recipient)
    only(scene.check.problems(), f"message 8, try 1 for {recipient}", "is lost")


def test_another_try_of_the_same_message_is_not_the_one_that_was_acknowledged(scene):
    scene.send(8, ALICE)
    message = Message(8, "smtp", STRANGER, (ALICE,), 100, {}, 2)
    scene.book.sending(message)
    scene.file(copy_of(8, attempt=2))
    only(scene.check.problems(), "message 8, try 1", "is lost")


def test_a_queue_file_that_is_removed_is_a_loss(scene):
    scene.queued.unlink()
    only(scene.check.problems(), WAITING, "is lost")


def test_a_state_that_says_delivered_is_believed_only_with_the_next_hop(scene):
    scene.state(5, state="delivered")
    only(scene.check.problems(), WAITING, "is lost")


def test_a_final_state_is_under_way_until_its_report_is_marked(scene):
    scene.says("refused", recipients=[WAITING])
    scene.state(5, state="bounced", report="R5", is_reported=False)
    assert scene.check.problems() == []
    scene.state(5, state="bounced", report="R5", is_reported=True)
    only(scene.check.problems(), WAITING, "is lost")


def test_a_dropped_message_that_is_neither_there_nor_delivered_is_a_loss(scene):
    name = scene.drop / "0001.abc"
    scene.send(6, BOB, way="drop")
    name.write_bytes(copy_of(6))
    assert scene.check.problems() == []
    name.unlink()
    only(scene.check.problems(), "message 6", "is lost")


def test_a_refused_recipient_whose_sender_wants_no_bounce_is_no_loss(scene):
    for number, notify in ((8, "NEVER"), (9, "FAILURE")):
        recipient = f"n{number}-0.no@remote.test"
        scene.send(number, recipient, sender=ALICE, notify=notify)
        scene.says("refused", recipients=[recipient])
    only(scene.check.problems(), "message 9", "is lost")


def test_what_has_not_arrived_at_the_end_is_told(scene):
    found = scene.check.problems_at_the_end()
    assert [one.split()[0] for one in found] == ["Q5", "message"]
    assert WAITING in found[1]


def test_a_report_of_success_that_was_asked_for_and_is_missing_is_told_at_the_end(scene):
    far = "n8-0.ok@remote.test"
    scene.send(8, far, sender=ALICE, notify="SUCCESS")
    scene.taken(8, far, taking=8)
    assert scene.check.problems() == []
    assert any("no report of success about n8-0.ok" in one for one in scene.check.problems_at_the_end())


# --- twice ------------------------------------------------------------------------------------------------------------


def test_a_file_that_is_copied_is_there_twice(scene):
    shutil.copy(scene.one, scene.new / scene.one.name.replace("Q1", "Q99"))
    only(scene.check.problems(), "message 1, try 1", "2 times")


def test_a_kill_does_not_excuse_a_second_copy_of_what_came_by_smtp(scene):
    scene.kill(5.0)
    scene.file(copy_of(1), pid=PID + 1)
    only(scene.check.problems(), "message 1, try 1", "2 times")


def test_two_tries_are_two_copies(scene):
    message = Message(1, "smtp", STRANGER, (ALICE,), 100, {}, 2)
    scene.book.sending(message)
    scene.file(copy_of(1, attempt=2))
    assert scene.check.problems() == []
    assert sum(scene.check.copies_beyond_the_first().values()) == 1


def test_a_report_may_not_be_there_twice(scene):
    scene.kill(5.0)
    scene.file(bounce(4, REFUSED, "Q4", "R4"), PID + 1)
    only(scene.check.problems(), "report R4 is there 2 times")


@pytest.mark.parametrize(
    ("pid", "is_killed", "is_excused"), [(PID, True, False), (PID + 1, False, False), (PID + 1, True, True)]
)
def test_a_report_that_was_deleted_may_come_again_only_over_a_kill(scene, pid, is_killed, is_excused):
    if is_killed:
        scene.kill(5.0)
    scene.book.write("quitting", box=ALICE, uidls=[scene.bounce.name.partition(",")[0]])
    scene.file(bounce(4, REFUSED, "Q4", "R4"), pid)
    found = scene.check.problems()
    assert found == [] if is_excused else "report R4 is there 2 times" in found[0]


def test_a_message_that_was_turned_away_may_not_be_there(scene):
    scene.send(7, ALICE, answer="turned-away")
    scene.file(copy_of(7))
    only(scene.check.problems(), "message 7", "turned away")


def test_a_message_that_was_not_answered_may_be_there_or_not(scene):
    scene.send(7, ALICE, answer="unanswered")
    scene.send(8, ALICE, answer="unanswered")
    scene.file(copy_of(7))
    assert scene.check.problems() == []


def test_a_message_that_nobody_sent_is_told(scene):
    scene.file(copy_of(99))
    only(scene.check.problems(), "message 99", "never sent")


@pytest.mark.parametrize(
    ("is_answered", "kill_at", "is_excused"),
    [(True, None, False), (False, None, True), (True, 1.5, True), (True, 0.2, False), (True, 3.0, False)],
)
def test_the_next_hop_gets_a_message_again_only_without_its_250_or_over_a_kill(
    tmp_path, is_answered, kill_at, is_excused
):
    scene = Scene(tmp_path)
    scene.send(8, "n8-0.ok@remote.test")
    if kill_at is not None:
        scene.kill(kill_at)
    scene.taken(8, "n8-0.ok@remote.test", at=1.0, taking=8, is_answered=is_answered)
    scene.taken(8, "n8-0.ok@remote.test", at=2.0, taking=9)
    found = scene.check.problems()
    assert found == [] if is_excused else "the next hop got Q8" in found[0]
    scene.book.close()


# --- contents, deletions, orders, reports -----------------------------------------------------------------------------


def test_other_octets_are_noticed(scene):
    path = scene.filed(7)
    path.write_bytes(path.read_bytes().replace(b"abcdefghij", b"abcdefghix", 1))
    found = scene.check.problems()
    assert "other octets" in found[0]
    assert "is lost" in found[1]


def test_a_fetched_message_with_other_octets_than_its_file_is_noticed(scene):
    unique = scene.one.name.partition(",")[0]
    scene.book.write("fetched", box=ALICE, uidl=unique, digest="0" * 64, n=1, attempt=1)
    only(scene.check.problems(), unique, "other octets than before")


@pytest.mark.parametrize("what", ["quitting", "erased"])
def test_a_deletion_that_was_answered_may_not_come_back(scene, what):
    unique = scene.one.name.partition(",")[0]
    for line in ("quitting", what):
        scene.book.write(line, box=ALICE, uidls=[unique])
    found = scene.check.problems()
    assert found == [] if what == "quitting" else "is back" in found[0]
    scene.one.unlink()
    assert scene.check.problems() == []


def test_what_was_fetched_and_deleted_is_not_lost(scene):
    scene.send(7, ALICE)
    scene.book.write("fetched", box=ALICE, uidl="1.M1P1Q1.h", digest="0" * 64, n=7, attempt=1)
    scene.book.write("quitting", box=ALICE, uidls=["1.M1P1Q1.h"])
    assert scene.check.problems() == []


def test_what_was_fetched_and_not_deleted_must_still_be_there(scene):
    scene.send(7, ALICE)
    scene.book.write("fetched", box=ALICE, uidl="1.M1P1Q1.h", digest="0" * 64, n=7, attempt=1)
    only(scene.check.problems(), "1.M1P1Q1.h", "vanished")


@pytest.mark.parametrize("state", [None, {"state": "waiting"}, {"state": "waiting", "held_by": "soak"}])
def test_a_hold_that_was_answered_may_not_be_forgotten(scene, state):
    scene.book.write("held", id="Q5")
    if state is not None:
        scene.state(5, **state)
    found = scene.check.problems()
    assert found == [] if state and "held_by" in state else "not held any more" in found[0]


def test_a_bounce_needs_somebody_who_refused(scene):
    scene.send(7, "n7-0.ok@remote.test", sender=ALICE)
    scene.file(bounce(7, "n7-0.ok@remote.test", "Q7", "R7"))
    only(scene.check.problems(), "Q7 for n7-0.ok@remote.test", "nobody refused it")


def test_two_reports_about_one_end_are_one_too_many(scene):
    scene.file(bounce(4, REFUSED, "Q4", "R4B"))
    only(scene.check.problems(), "two reports, R4 and R4B")


def test_a_file_set_aside_is_told(scene):
    (scene.queue / "damaged").mkdir()
    (scene.queue / "damaged" / "Q9.message").touch()
    only(scene.check.problems(), "Q9.message", "damaged")


@pytest.mark.parametrize("size", [100, 4_000, 60_000])
def test_a_torn_or_changed_copy_is_not_taken_for_a_whole_one(size):
    whole = RECEIVED.format(id="Q7").encode() + content_of(7, 2, size, STRANGER)
    assert read_copy(whole) == read_copy(whole.replace(b"\r\n", b"\n")) == Letter(7, 2, "Q7")
    for bad in (whole[:-3], whole[: len(whole) // 2], whole.replace(b"abcdefghij", b"abcdefghi", 1)):
        with pytest.raises(Damaged):
            read_copy(bad)
