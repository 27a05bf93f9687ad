"""The spool's folders: writing in groups, reading strictly, setting damage aside, newer formats."""

import errno
import os

import pytest

from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.ids import QUEUE_ID_LENGTH, QueueId
from mailserver.ports import Report, StorageFull, StorageTrouble
from mailserver.store.files import Files
from mailserver.store.spool import Spool, StoredMessage, Unreadable
from mailserver.store.spool_changes import AddReport, Remove, SyncRemovals, WriteState
from mailserver.store.spool_format import SpoolPaths, encode_head
from mailserver.store.spool_json import Damaged, NewerFormat
from mailserver.store.spool_state import RecipientProgress, RecipientState
from tests.fakes.directory import box
from tests.fakes.disk import FaultyFiles

CONTENT = b"Subject: x\r\n\r\nbody\r\n"
ENVELOPE = Envelope(box("alice@example.org"), (Recipient(box("bob@example.net")),))
GONE = (RecipientProgress(state=RecipientState.DELIVERED, attempts=1),)
WAITS = (RecipientProgress(attempts=1, next_attempt=5.0),)


def qid(number) -> QueueId:
    return QueueId(f"{number:0{QUEUE_ID_LENGTH}d}")


@pytest.fixture
def spool(tmp_path):
    spool = Spool(SpoolPaths(tmp_path), Files())
    spool.prepare()
    return spool


def put(spool, *numbers, content=CONTENT):
    changes = [AddReport(Report(qid(number), ENVELOPE, content), 100.0) for number in numbers]
    assert spool.apply(changes) == [None] * len(numbers)


def loaded(spool, **options):
    return list(spool.load(spool.ids(), **options))


def test_what_was_written_is_read_back(spool):
    put(spool, 1)
    message = spool.read(qid(1))
    assert (message.envelope, message.received_at, message.size_octets) == (ENVELOPE, 100.0, len(CONTENT))
    assert spool.read_content(message.content, 1 << 20) == CONTENT
    assert spool.read_content(message.content, 3) == CONTENT[:3]
    assert message.progress == (RecipientProgress(),)
    assert not message.is_done
    assert spool.apply([WriteState(qid(1), GONE)]) == [None]
    assert spool.read(qid(1)).progress == GONE
    assert spool.read(qid(1)).is_done


def test_files_are_private_and_a_pager_shows_them(spool):
    put(spool, 1)
    path = spool.paths.message(qid(1))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().decode("ascii").splitlines()[0] == "mailserver-queue 1"


def test_a_group_costs_one_fsync_a_folder_and_a_removal_takes_the_message_first(tmp_path):
    files = FaultyFiles()
    spool = Spool(SpoolPaths(tmp_path), files)
    spool.prepare()
    put(spool, 1, 2, 3)
    assert spool.apply([WriteState(qid(number), WAITS) for number in (1, 2, 3)]) == [None] * 3
    files.log.clear()
    assert spool.apply([Remove(qid(1)), Remove(qid(2)), WriteState(qid(3), GONE)]) == [None] * 3
    folders = [path for operation, path in files.log if operation == "sync_folder"]
    assert folders == [str(spool.paths.states), str(spool.paths.messages)]
    operations = [operation for operation, _ in files.log]
    assert operations.index("sync") < operations.index("rename") < operations.index("sync_folder")
    assert [path.name for path in spool.paths.states.iterdir()] == [qid(3)]


def test_removing_what_is_gone_is_fine(spool):
    assert spool.apply([Remove(qid(7))]) == [None]


@pytest.mark.parametrize("operation", ["create", "write", "sync", "close", "rename"])
@pytest.mark.parametrize(("code", "trouble"), [(errno.EIO, StorageTrouble), (errno.ENOSPC, StorageFull)])
def test_a_change_that_fails_leaves_nothing_and_fails_no_other(tmp_path, operation, code, trouble):
    spool = Spool(SpoolPaths(tmp_path), FaultyFiles((operation, qid(2)), code=code))
    spool.prepare()
    changes = [AddReport(Report(qid(number), ENVELOPE, CONTENT), 1.0) for number in (1, 2, 3)]
    answers = spool.apply(changes)
    assert [type(answer) for answer in answers] == [type(None), trouble, type(None)]
    assert spool.ids() == [qid(1), qid(3)]
    assert list(spool.paths.tmp.iterdir()) == []
    assert spool.apply(changes[1:2]) == [None]
    assert spool.ids() == [qid(1), qid(2), qid(3)]


def test_what_a_killed_command_left_keeps_no_change_from_being_made(spool):
    """`queue retry` without a server, killed between writing and renaming: the next one must not stumble over it."""
    put(spool, 1)
    spool.paths.temporary_state(qid(1)).write_bytes(b"half a sta")
    assert spool.apply([WriteState(qid(1), WAITS)]) == [None]
    assert spool.read(qid(1)).progress == WAITS
    assert list(spool.paths.tmp.iterdir()) == []


def test_a_folder_that_cannot_be_synced_is_trouble_for_all_of_its_changes(tmp_path):
    spool = Spool(SpoolPaths(tmp_path), FaultyFiles(("sync_folder", "states")))
    spool.prepare()
    put(spool, 1)
    assert [type(answer) for answer in spool.apply([WriteState(qid(1), GONE)])] == [StorageTrouble]
    assert spool.apply([WriteState(qid(1), GONE)]) == [None]


def test_messages_come_oldest_first_and_their_age_is_in_the_name(spool):
    put(spool, 3, 1, 2)
    assert spool.ids() == [qid(1), qid(2), qid(3)]


HEAD = encode_head(qid(1), 1.0, ENVELOPE)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\0" * 4096,  # what a crash leaves of a file that was never synced
        HEAD[:-1],
        HEAD[:40],
        HEAD.replace(b"mailserver-queue 1", b"mailserver-queue x"),
        HEAD.replace(qid(1).encode(), qid(2).encode()),  # another message's file
        b"From somebody's mbox\n\n",
    ],
)
def test_a_damaged_message_is_set_aside_and_told_and_fails_no_other(spool, octets):
    put(spool, 1, 2)
    spool.paths.message(qid(1)).write_bytes(octets)
    damaged, message = loaded(spool)
    assert isinstance(damaged, Unreadable)
    assert damaged.is_set_aside
    assert damaged.path == spool.paths.damaged / f"{qid(1)}.message"
    assert damaged.path.read_bytes() == octets
    assert message.queue_id == qid(2)
    assert spool.ids() == [qid(2)]


def test_nothing_that_was_set_aside_is_ever_overwritten(spool):
    for number in range(3):
        spool.paths.message(qid(1)).write_bytes(b"damage %d" % number)
        loaded(spool)
    assert len(list(spool.paths.damaged.iterdir())) == 3


def test_a_reader_sets_nothing_aside(spool):
    spool.paths.message(qid(1)).write_bytes(b"damage")
    (damaged,) = loaded(spool, may_set_aside=False)
    assert not damaged.is_set_aside
    assert spool.ids() == [qid(1)]


def test_a_newer_message_is_left_where_it_is_with_a_text_that_helps(spool):
    path = spool.paths.message(qid(1))
    path.write_bytes(HEAD.replace(b"mailserver-queue 1", b"mailserver-queue 9"))
    (newer,) = loaded(spool)
    assert not newer.is_set_aside
    assert "start the release that wrote it" in newer.reason
    assert path.exists()
    with pytest.raises(NewerFormat):
        spool.read(qid(1))


def test_a_newer_state_keeps_its_message_from_being_sent(spool):
    put(spool, 1)
    spool.paths.state(qid(1)).write_bytes(b'{"version": 9}')
    (newer,) = loaded(spool)
    assert isinstance(newer, Unreadable)
    assert spool.ids() == [qid(1)]
    assert spool.paths.state(qid(1)).exists()


def test_trouble_with_the_disk_is_not_damage(spool, monkeypatch):
    put(spool, 1)
    real = os.open

    def failing(path, *rest, **more):
        if str(path).endswith(qid(1)):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", failing)
    (trouble,) = loaded(spool)
    assert not trouble.is_set_aside
    assert "Input/output error" in trouble.reason
    assert spool.ids() == [qid(1)]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/passwd", path)])
def test_what_is_no_regular_file_never_hangs_or_leads_away(spool, make):
    make(spool.paths.message(qid(1)))
    (damaged,) = loaded(spool)
    assert damaged.is_set_aside
    with pytest.raises((Damaged, OSError)):
        make(spool.paths.state(qid(2)))
        put(spool, 2)
        spool.read(qid(2))


def test_a_name_that_is_no_queue_id_is_set_aside(spool):
    (spool.paths.messages / "notes.txt~").write_text("hello")
    (damaged,) = loaded(spool)
    assert damaged.path.name == "notes.txt~.message"


def test_a_large_envelope_is_read_whole(spool):
    many = ENVELOPE.with_recipients(Recipient(box(f"user{number}@example.net")) for number in range(20_000))
    assert spool.apply([AddReport(Report(qid(1), many, CONTENT), 1.0)]) == [None]
    message = spool.read(qid(1))
    assert message.envelope == many
    assert spool.read_content(message.content, 1 << 20) == CONTENT


def test_a_hostile_head_without_end_is_bounded(spool):
    with spool.paths.message(qid(1)).open("wb") as file:
        file.write(b"mailserver-queue 1\n")
        file.truncate(1 << 30)
    (damaged,) = loaded(spool)
    assert damaged.is_set_aside


def test_a_message_that_goes_while_it_is_listed_is_left_out(spool):
    put(spool, 1, 2)
    names = spool.ids()
    spool.apply([Remove(qid(1))])
    assert [item.queue_id for item in spool.load(names) if isinstance(item, StoredMessage)] == [qid(2)]


# --- removals that are synced together later --------------------------------------------------------------------------


def test_a_removal_may_wait_for_its_sync_when_nothing_was_written_about_the_message(tmp_path):
    files = FaultyFiles()
    spool = Spool(SpoolPaths(tmp_path), files)
    spool.prepare()
    put(spool, 1, 2)
    files.log.clear()
    assert spool.apply([Remove(qid(1), may_sync_later=True), Remove(qid(2), may_sync_later=True)]) == [None] * 2
    assert spool.ids() == []
    assert files.log == []
    assert spool.apply([SyncRemovals()]) == [None]
    assert files.log == [("sync_folder", str(spool.paths.messages))]


def test_a_message_with_a_state_never_waits_for_its_sync(tmp_path):
    """Else a power cut could keep the removal of the state and lose that of the message: row 4 turned around."""
    files = FaultyFiles()
    spool = Spool(SpoolPaths(tmp_path), files)
    spool.prepare()
    put(spool, 1)
    assert spool.apply([WriteState(qid(1), GONE)]) == [None]
    files.log.clear()
    assert spool.apply([Remove(qid(1), may_sync_later=True)]) == [None]
    assert files.log == [("sync_folder", str(spool.paths.messages))]
    assert not spool.paths.state(qid(1)).exists()


def test_a_sync_of_removals_that_fails_says_so(tmp_path):
    spool = Spool(SpoolPaths(tmp_path), FaultyFiles(("sync_folder", "messages")))
    spool.prepare()
    (answer,) = spool.apply([SyncRemovals()])
    assert isinstance(answer, StorageTrouble)
