"""Emptying the drop folder over fakes: what is taken, what waits, what comes back, and that nothing is taken twice."""

import errno
import os

import pytest
from twisted.internet.defer import Deferred

from mailserver.mail.envelope import Envelope, Notify, Recipient
from mailserver.mail.ids import QueueId
from mailserver.pickup import PAUSE_S, POSTPONED_S, Pickup
from mailserver.ports import Lane, Report, StorageFull, StorageTrouble
from mailserver.session.local_submission import LocalSubmission
from mailserver.session.smtp_profile import SmtpSettings
from mailserver.store.drop import DropFolder
from mailserver.store.drop_folders import make_drop_folder
from mailserver.store.drop_format import DropHead, DropRecipient, encode_drop, new_name
from mailserver.store.drop_write import leave_message
from tests.fakes.awaiting import run, start
from tests.fakes.blocking import DirectBlocking
from tests.fakes.directory import box
from tests.fakes.smtp import World, example_directory

CONTENT = b"Subject: hi\r\n\r\nhello\r\n"
LIMIT = 600_000


class Place:
    """A folder, a pickup, and what became of everything."""

    def __init__(self, folder, directory=None):
        make_drop_folder(folder)
        self.folder = folder
        self.world = World(directory)
        self.blocking = DirectBlocking()
        self.reports = []
        settings = SmtpSettings(hostname="mail.example.test", max_message_octets=LIMIT)
        self.drop = DropFolder(folder, max_octets=2 * LIMIT)
        self.pickup = Pickup(
            self.drop,
            LocalSubmission(settings, self.world.doors, self.report),
            "example.test",
            blocking=self.blocking,
            clock=self.world.clock,
            log=self.world.events.append,
        )

    def report(self, report_id, queue_id, envelope, now, reply, content):
        if envelope.reverse_path is None:
            return None
        self.reports.append((str(envelope.reverse_path), reply.code, content))
        to = Envelope(None, (Recipient(envelope.reverse_path),))
        return Report(QueueId(report_id), to, b"Subject: report\r\n\r\n")

    def leave(self, *recipients, sender=None, content=CONTENT, notify=frozenset()):
        head = DropHead(sender, tuple(DropRecipient(one, notify) for one in recipients))
        return leave_message(self.folder, encode_drop(head, content))

    def look(self):
        run(self.pickup.look())

    @property
    def waiting(self):
        return sorted(name for name in os.listdir(self.folder) if name != "set-aside")

    @property
    def stored(self):
        return self.world.committer.stored

    def lines(self, word):
        return self.world.lines(word)


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path / "drop")
    yield made
    made.drop.close()


def test_a_message_is_committed_and_then_removed(place):
    place.leave("alice", "x@far.example", sender="me@far.example")
    place.look()
    [stored] = place.stored
    assert [copy.mailbox for copy in stored.acceptance.local] == [box("alice@example.test")]
    assert [one.mailbox for one in stored.acceptance.remote] == [box("x@far.example")]
    assert stored.acceptance.received.startswith(b"Received: from ")
    assert f" (uid {os.getuid()})\r\n\tby mail.example.test with local\r\n".encode() in stored.acceptance.received
    assert place.waiting == []
    [line] = place.lines("accepted")
    assert " accepted [local] reverse_path=<me@far.example> " in line
    assert "protocol=local login=" in line


@pytest.mark.parametrize(
    ("sender", "expected"), [("", "<>"), ("joe", "<joe@example.test>"), ("a@far.example", "<a@far.example>")]
)
def test_the_sender_is_whom_the_caller_names(place, sender, expected):
    place.leave("alice", sender=sender)
    place.look()
    assert f"reverse_path={expected} " in place.lines("accepted")[0]


def test_without_a_sender_it_is_the_owner_of_the_file(place):
    place.leave("alice")
    place.look()
    assert place.stored[0].acceptance.envelope.reverse_path.domain == "example.test"


def test_mail_to_root_reaches_the_postmaster(place):
    place.leave("root")
    place.look()
    assert [copy.mailbox for copy in place.stored[0].acceptance.local] == [box("alice@example.test")]


def test_root_is_an_alias_like_every_other(tmp_path):
    directory = example_directory()
    directory.aliases["root@example.test"] = [box("bob@example.test")]
    place = Place(tmp_path / "drop", directory)
    place.leave("root")
    place.look()
    assert [copy.mailbox for copy in place.stored[0].acceptance.local] == [box("bob@example.test")]
    place.drop.close()


def test_an_unknown_recipient_goes_to_the_queue_which_bounces_it(place):
    place.leave("nobody", "alice", notify=frozenset({Notify.FAILURE}))
    place.look()
    [stored] = place.stored
    assert [one.mailbox for one in stored.acceptance.remote] == [box("nobody@example.test")]
    assert stored.acceptance.remote[0].notify == frozenset({Notify.FAILURE})
    assert len(stored.acceptance.local) == 1


def test_a_large_message_streams(place):
    content = b"From: joe\r\nSubject: hi\r\n\r\n" + b"x" * 70 + b"\r\n" * 200_000
    place.leave("alice", content=content)
    place.look()
    [stored] = place.stored
    assert stored.was_large
    assert stored.content.endswith(content[content.index(b"Subject") :])
    assert b"From: joe@example.test\r\n" in stored.content
    assert place.waiting == []


@pytest.mark.parametrize("size", [LIMIT + 10, LIMIT + 300_000])
def test_what_is_too_large_comes_back_and_is_removed(place, size):
    place.leave("alice", sender="bob", content=b"Subject: big\r\n\r\n" + b"x" * size)
    place.look()
    [(sender, code, content)] = place.reports
    assert (sender, code) == ("bob@example.test", 552)
    assert content.startswith(b"Subject: big\r\n")
    assert [one.mailbox for one in place.stored[0].acceptance.remote] == [box("bob@example.test")]
    assert place.stored[0].acceptance.source == "our own report", "no rule holds it"
    assert all(writer.is_discarded for writer in place.world.committer.writers)
    assert place.waiting == []


def test_without_anybody_to_tell_it_is_set_aside(place):
    place.leave("alice", sender="", content=b"Subject: x\0\r\n\r\n")
    place.look()
    assert place.stored == []
    assert place.waiting == []
    assert len(os.listdir(place.folder / "set-aside")) == 1
    assert 'reason="554 5.6.0 The message holds a NUL" effect=set-aside' in place.lines("set-aside")[0]


def test_a_report_that_cannot_be_stored_leaves_the_message(place):
    name = place.leave("alice", sender="bob", content=b"\0")
    place.world.committer.trouble = StorageTrouble("broken")
    place.look()
    assert place.waiting == [name]


@pytest.mark.parametrize("address", ["a b", "x@", "", "a\nb"])
def test_an_address_that_is_none_is_set_aside(place, address):
    place.leave(address)
    place.leave("alice", sender=address or "@")
    place.look()
    assert place.stored == []
    assert len(os.listdir(place.folder / "set-aside")) == 2


def test_what_was_set_aside_names_whom_it_was_from_and_for(place):
    """So that `mailserver why` finds it."""
    place.leave("bob", "carol@far.example", sender="@")
    (place.folder / "no-message").write_bytes(b"")
    place.look()
    events = {event.reverse_path: event for event in place.world.events if event.word == "set-aside"}
    assert events["@"].recipients == ("bob@example.test", "carol@far.example")
    (own,) = events.keys() - {"@"}
    assert own == f"{events[own].owner}@example.test" and events[own].recipients == ()


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_puts_everything_off_and_loses_nothing(place):
    names = sorted([place.leave("alice"), place.leave("bob")])
    place.world.committer.room = 0
    place.look()
    place.world.committer.room = 10**9
    place.look()
    assert place.waiting == names
    place.world.clock.advance(PAUSE_S)
    place.look()
    assert place.waiting == []
    assert len(place.stored) == 2


@pytest.mark.parametrize("trouble", [StorageTrouble("broken"), ZeroDivisionError("ours")])
def test_trouble_with_one_message_postpones_that_one_only(place, trouble):
    name = place.leave("alice")
    place.world.committer.trouble = trouble
    place.look()
    place.world.committer.trouble = None
    place.leave("bob")
    place.look()
    assert place.waiting == [name]
    place.world.clock.advance(POSTPONED_S)
    place.look()
    assert place.waiting == []
    assert len(place.stored) == 2


def test_a_message_that_goes_on_making_trouble_is_tried_less_and_less_often(place):
    place.leave("alice")
    place.world.committer.trouble = StorageTrouble("broken")
    for _ in range(3600):
        place.look()
        place.world.clock.advance(1)
    assert 8 <= len(place.lines("trouble")) <= 16


def test_the_disk_filling_up_meanwhile_is_a_full_disk(place):
    place.leave("alice")
    place.leave("alice")
    place.world.committer.trouble = StorageFull("no space")
    place.look()
    assert len(place.lines("trouble")) == 1


def test_a_busy_machine_is_patient(place):
    name = place.leave("alice")
    place.blocking.full.add(Lane.GENERAL)
    place.look()
    place.blocking.full.clear()
    place.world.clock.advance(PAUSE_S)
    assert place.waiting == [name]
    place.look()
    assert place.waiting == []


def test_a_file_that_its_owner_shortens_keeps_nobody_waiting(place, monkeypatch):
    name = place.leave("alice", content=b"x" * 100)
    real = DropFolder.open

    def shortened(self, wanted):
        dropped = real(self, wanted)
        if wanted == name:
            os.truncate(place.folder / name, dropped.head.length)
        return dropped

    monkeypatch.setattr(DropFolder, "open", shortened)
    place.leave("bob")
    place.look()
    assert [str(stored.acceptance.local[0].mailbox) for stored in place.stored] == ["bob@example.test"]


def test_what_cannot_be_removed_is_told_and_not_sent_again(place, monkeypatch):
    place.leave("alice")

    def fail(*arguments, **options):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", fail)
        place.look()
        place.look()
    assert len(place.stored) == 1
    assert "cannot be removed" in place.lines("trouble")[0]
    place.look()
    assert place.waiting == []
    assert len(place.stored) == 1


# --- stop -------------------------------------------------------------------------------------------------------------


def test_stop_waits_for_the_message_under_way_and_begins_no_other(place, monkeypatch):
    place.leave("alice")
    place.leave("bob")
    disk = Deferred()
    store = place.world.committer.store

    async def slowly(*arguments, **options):
        await disk
        return await store(*arguments, **options)

    monkeypatch.setattr(place.world.committer, "store", slowly)
    looking = start(place.pickup.look())
    stopped = place.pickup.stop()
    assert not stopped.called
    disk.callback(None)
    assert stopped.called
    assert looking.called
    assert len(place.stored) == 1
    assert len(place.waiting) == 1
    run(place.pickup.look())
    assert len(place.waiting) == 1


def test_trouble_with_the_folder_is_told_once(tmp_path):
    place = Place(tmp_path / "none" / "drop")
    for _ in range(3):
        place.look()
    assert len(place.lines("trouble")) == 1
    assert "the drop folder cannot be used" in place.lines("trouble")[0]


def test_odd_files_are_told_with_their_owner_and_nothing_of_theirs_breaks_the_line(place):
    (place.folder / "a\nb").write_bytes(b"")
    place.look()
    [line] = place.lines("set-aside")
    assert "\n" not in line
    assert "owner=" in line


def test_names_are_looked_at_in_the_order_of_their_time(place):
    for number in (3, 1, 2):
        head = DropHead("", (DropRecipient(f"x{number}@far.example"),))
        (place.folder / f"{number:016d}.{new_name()[17:]}").write_bytes(encode_drop(head, CONTENT))
    place.look()
    assert [str(stored.acceptance.remote[0].mailbox) for stored in place.stored] == [
        "x1@far.example",
        "x2@far.example",
        "x3@far.example",
    ]


def test_a_user_who_keeps_many_files_from_being_read_does_not_fill_the_log(place, monkeypatch):
    """With a lease on his own file (fcntl F_SETLEASE) everybody can do that, as often as he likes."""

    def leased(name):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(place.drop, "open", leased)
    for _ in range(150):
        place.leave("alice")
    for _ in range(5):
        place.look()
        place.world.clock.advance(POSTPONED_S)
    assert len(place.lines("trouble")) == 20
    monkeypatch.undo()
    place.world.clock.advance(600)
    for _ in range(5):
        place.look()
    assert len(place.stored) == 150
