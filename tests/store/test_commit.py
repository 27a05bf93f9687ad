"""Group commit: what is on disk when it returns, what is left behind when it fails, and the order of the steps."""

import errno
import itertools
import os
from dataclasses import replace
from pathlib import Path

import pytest

from mailserver.mail.envelope import Envelope, Notify, Recipient
from mailserver.mail.ids import QueueId
from mailserver.ports import Acceptance, Filed, LocalCopy, Report, StorageFull, StorageTrouble, SuccessReport
from mailserver.store.commit import CommitWriter, spool_recipients
from mailserver.store.large import Place
from mailserver.store.maildir import Maildirs
from mailserver.store.spool_format import SpoolPaths, decode_head
from tests.fakes.directory import box
from tests.fakes.disk import FaultyFiles

RECEIVED = b"Received: from here\r\n\tby there\r\n"
CONTENT = b"Subject: x\r\n\r\nfirst\r\n.dot\r\n"


class Disk:
    """A state folder and Maildirs with a writer over a disk that may be told to fail."""

    def __init__(self, root: Path, *faults, code=errno.EIO, times=1) -> None:
        self.files = FaultyFiles(*faults, code=code, times=times)
        self.root = root
        self.paths = SpoolPaths(root / "var")
        for folder in (self.paths.tmp, self.paths.messages):
            folder.mkdir(parents=True, exist_ok=True)
        (root / "maildirs").mkdir(exist_ok=True)
        self.maildirs = Maildirs(self.files, root / "maildirs", "mail.example.org", now=lambda: 1_750_000_000.25)
        self.writer = CommitWriter(self.files, self.maildirs, self.paths)

    def new(self, name: str) -> list[bytes]:
        folder = self.root / "maildirs" / "example.org" / name / "new"
        return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []

    def spool(self) -> dict[str, tuple[object, bytes]]:
        found = {}
        for path in self.paths.messages.iterdir():
            octets = path.read_bytes()
            head = decode_head(octets)
            found[path.name] = (head.envelope, octets[head.length :])
        return found

    def leftovers(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.is_file() and "tmp" in path.parts[-2]]


def copy(name: str) -> LocalCopy:
    address = box(f"{name}@example.org")
    trace = b"Return-Path: <tony@outside.example>\r\nDelivered-To: " + str(address).encode() + b"\r\n"
    return LocalCopy(address, (Recipient(address),), trace)


def acceptance(
    *local: str, remote: tuple[str, ...] = (), number: int = 1, success: SuccessReport | None = None
) -> Acceptance:
    copies = tuple(copy(name) for name in local)
    outside = tuple(Recipient(box(text), frozenset({Notify.FAILURE})) for text in remote)
    envelope = Envelope(box("tony@outside.example"), tuple(one.recipients[0] for one in copies) + outside)
    return Acceptance(queue_id(number), 1_750_000_000.0, envelope, RECEIVED, copies, outside, success, "test")


def queue_id(number: int) -> QueueId:
    return QueueId(f"{number:013d}")


def filed_octets(name: str) -> bytes:
    return (copy(name).trace + RECEIVED + CONTENT).replace(b"\r\n", b"\n")


def test_each_mailbox_gets_a_file_with_lf_and_its_own_trace(tmp_path):
    disk = Disk(tmp_path)
    given = acceptance("alice", "bob")
    (result,) = disk.writer.commit([(given, CONTENT)])
    assert result == Filed(given.local)
    assert disk.new("alice") == [filed_octets("alice")]
    assert disk.new("bob") == [filed_octets("bob")]
    assert disk.spool() == {}
    assert disk.leftovers() == []


def test_names_tell_both_sizes(tmp_path):
    disk = Disk(tmp_path)
    disk.writer.commit([(acceptance("alice"), CONTENT)])
    (path,) = (tmp_path / "maildirs/example.org/alice/new").iterdir()
    stored = len(filed_octets("alice"))
    wire = len(copy("alice").trace + RECEIVED + CONTENT)
    assert path.name.endswith(f",S={stored},W={wire}")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_remote_recipients_are_spooled_with_the_content_as_received(tmp_path):
    disk = Disk(tmp_path)
    disk.writer.commit([(acceptance("alice", remote=("x@far.example", "y@far.example")), CONTENT)])
    envelope, content = disk.spool()[queue_id(1)]
    assert [str(one.mailbox) for one in envelope.recipients] == ["x@far.example", "y@far.example"]
    assert content == RECEIVED + CONTENT
    assert disk.new("alice") == [filed_octets("alice")]


def success(*names: str) -> SuccessReport:
    """A report that tells of these mailboxes; the queue ids of the shorter ones go on from 91."""
    numbers = itertools.count(91)

    def make(recipients: tuple[Recipient, ...]) -> Report:
        about = " ".join(str(one.mailbox) for one in recipients).encode()
        return Report(queue_id(next(numbers)), Envelope(None, (Recipient(box("tony@outside.example")),)), about)

    asking = tuple(copy(name).recipients[0] for name in names)
    return SuccessReport(asking, make(asking), make)


def reported(disk: Disk) -> list[bytes]:
    return [content for envelope, content in disk.spool().values() if envelope.reverse_path is None]


def test_a_report_is_a_spool_file_of_its_own(tmp_path):
    disk = Disk(tmp_path)
    wanted = success("alice")
    (result,) = disk.writer.commit([(acceptance("alice", success=wanted), CONTENT)])
    envelope, content = disk.spool()[wanted.report.queue_id]
    assert envelope.reverse_path is None
    assert content == wanted.report.content
    assert result.report == wanted.report


@pytest.mark.parametrize("operation", ["nothing", "create", "sync", "rename"])
def test_a_report_that_is_due_anyway_is_written_once_whatever_becomes_of_the_copies(tmp_path, operation):
    disk = Disk(tmp_path, (operation, "/alice/"), times=2)
    due = Report(queue_id(7), Envelope(None, (Recipient(box("tony@outside.example")),)), b"due")
    given = replace(acceptance("alice", success=success("alice")), reports=(due,))
    disk.writer.commit([(given, CONTENT)])
    assert sorted(reported(disk)) == ([b"alice@example.org", b"due"] if operation == "nothing" else [b"due"])
    assert disk.leftovers() == []


@pytest.mark.parametrize("operation", ["create", "write", "sync", "close", "rename"])
def test_no_success_is_reported_of_a_copy_that_waits(tmp_path, operation):
    """The queue reports it when it is filed; told twice, or told and then bounced, it would be a lie."""
    disk = Disk(tmp_path, (operation, "/alice/"), times=2)
    (result,) = disk.writer.commit([(acceptance("alice", "bob", success=success("alice", "bob")), CONTENT)])
    assert reported(disk) == [b"bob@example.org"]
    assert result.report is not None and result.report.content == b"bob@example.org"
    assert result.report.queue_id in disk.spool()
    assert disk.leftovers() == []


@pytest.mark.parametrize("operation", ["create", "write", "sync", "close", "rename"])
def test_no_report_at_all_when_every_copy_that_was_asked_about_waits(tmp_path, operation):
    disk = Disk(tmp_path, (operation, "/alice/"), times=2)
    (result,) = disk.writer.commit([(acceptance("alice", "bob", success=success("alice")), CONTENT)])
    assert isinstance(result, Filed) and result.report is None
    assert reported(disk) == []
    assert list(disk.spool()) == [queue_id(1)]


def test_an_alias_is_reported_only_when_all_its_mailboxes_have_their_copies(tmp_path):
    disk = Disk(tmp_path, ("create", "/alice/"), times=2)
    team = Recipient(box("team@example.org"), frozenset({Notify.SUCCESS}))
    copies = tuple(replace(copy(name), recipients=(team,)) for name in ("alice", "bob"))
    given = replace(acceptance(success=replace(success(), recipients=(team,))), local=copies)
    (result,) = disk.writer.commit([(given, CONTENT)])
    assert len(result.filed) == 1
    assert reported(disk) == []


@pytest.mark.parametrize("operation", ["create", "write", "sync", "rename"])
def test_a_report_that_cannot_be_written_takes_everything_back(tmp_path, operation):
    disk = Disk(tmp_path, (operation, f"{91:013d}"))
    (result,) = disk.writer.commit([(acceptance("alice", success=success("alice")), CONTENT)])
    assert isinstance(result, StorageTrouble)
    assert disk.new("alice") == [] and disk.spool() == {} and disk.leftovers() == []


def test_everything_is_synced_before_it_returns_and_in_order(tmp_path):
    disk = Disk(tmp_path)
    disk.maildirs.make(disk.maildirs.folder(box("alice@example.org")))
    disk.files.log.clear()
    disk.writer.commit([(acceptance("alice", remote=("x@far.example",)), CONTENT)])
    steps = [operation for operation, _ in disk.files.log if operation != "close"]
    assert steps == [
        "create",
        "write",
        "create",
        "write",
        "sync",
        "sync",
        "rename",
        "rename",
        "sync_folder",
        "sync_folder",
    ]
    renamed = [path for operation, path in disk.files.log if operation == "rename"]
    assert "/queue/messages/" in renamed[0], "spool files first: nothing visible has to be taken back when they fail"
    assert "/alice/new/" in renamed[1]


def test_a_new_mailbox_and_all_its_parents_are_durable_before_the_file(tmp_path):
    disk = Disk(tmp_path)
    disk.writer.commit([(acceptance("alice"), CONTENT)])
    synced = [path for operation, path in disk.files.log if operation == "sync_folder"]
    root = str(tmp_path / "maildirs")
    # The first one: whoever made the root may have been stopped before its name was synced.
    assert synced == [
        str(tmp_path),
        root,
        f"{root}/example.org",
        f"{root}/example.org/alice",
        f"{root}/example.org/alice/new",
    ]


def test_a_group_syncs_each_folder_once(tmp_path):
    disk = Disk(tmp_path)
    disk.writer.commit([(acceptance("alice", number=1), CONTENT)])
    disk.files.log.clear()
    results = disk.writer.commit([(acceptance("alice", number=number), CONTENT) for number in range(2, 12)])
    assert all(isinstance(result, Filed) for result in results)
    assert len([1 for operation, _ in disk.files.log if operation == "sync_folder"]) == 1
    assert len(disk.new("alice")) == 11


@pytest.mark.parametrize("operation", ["create", "write", "sync", "close", "rename"])
def test_a_mailbox_in_trouble_is_spooled_and_the_other_recipient_is_filed(tmp_path, operation):
    disk = Disk(tmp_path, (operation, "/alice/"), times=2)
    given = acceptance("alice", "bob", remote=("x@far.example",))
    (result,) = disk.writer.commit([(given, CONTENT)])
    assert isinstance(result, Filed)
    assert result.filed == (given.local[1],)
    assert [one for one, _ in result.spooled] == [given.local[0]]
    assert disk.new("bob") == [filed_octets("bob")]
    assert disk.new("alice") == []
    envelope, content = disk.spool()[queue_id(1)]
    assert [str(one.mailbox) for one in envelope.recipients] == ["x@far.example", "alice@example.org"]
    assert envelope.recipients == spool_recipients(given, result)
    assert content == RECEIVED + CONTENT
    assert disk.leftovers() == []


@pytest.mark.parametrize("operation", ["create", "write", "sync", "close", "rename", "sync_folder"])
def test_a_queue_in_trouble_is_451_and_leaves_nothing(tmp_path, operation):
    disk = Disk(tmp_path, (operation, "/queue/"))
    (result,) = disk.writer.commit([(acceptance("alice", remote=("x@far.example",)), CONTENT)])
    assert isinstance(result, StorageTrouble)
    assert disk.new("alice") == []
    assert disk.spool() == {}
    assert disk.leftovers() == []


@pytest.mark.parametrize("operation", ["create", "write", "sync", "rename"])
def test_mailbox_and_queue_in_trouble_is_451_and_leaves_nothing(tmp_path, operation):
    disk = Disk(tmp_path, (operation, "/alice/"), (operation, "/queue/"), times=2)
    (result,) = disk.writer.commit([(acceptance("alice", "bob"), CONTENT)])
    assert isinstance(result, StorageTrouble)
    assert disk.new("alice") == disk.new("bob") == []
    assert disk.spool() == {}
    assert disk.leftovers() == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_anywhere_is_storage_full(tmp_path, code):
    disk = Disk(tmp_path, ("write", ""), code=code, times=99)
    (result,) = disk.writer.commit([(acceptance("alice"), CONTENT)])
    assert isinstance(result, StorageFull)
    assert disk.leftovers() == []


def test_a_folder_that_cannot_be_synced_is_451_and_the_name_is_taken_back(tmp_path):
    disk = Disk(tmp_path, ("sync_folder", "/alice/new"))
    (result,) = disk.writer.commit([(acceptance("alice"), CONTENT)])
    assert isinstance(result, StorageTrouble)
    assert disk.new("alice") == []


def test_one_message_in_trouble_does_not_touch_another_of_the_group(tmp_path):
    disk = Disk(tmp_path, ("sync", f"/queue/tmp/{queue_id(2)}"))
    results = disk.writer.commit(
        [
            (acceptance("alice", number=1), CONTENT),
            (acceptance("alice", remote=("x@far.example",), number=2), CONTENT),
            (acceptance("alice", number=3), CONTENT),
        ]
    )
    assert [type(result) for result in results] == [Filed, StorageTrouble, Filed]
    assert len(disk.new("alice")) == 2


def test_a_failed_sync_is_never_repeated_on_the_same_file(tmp_path):
    disk = Disk(tmp_path, ("sync", "/alice/"), times=1)
    disk.writer.commit([(acceptance("alice"), CONTENT)])
    synced = [path for operation, path in disk.files.log if operation == "sync"]
    assert synced == [str(disk.paths.temporary(queue_id(1)))], "only the new spool file"


def test_a_mailbox_that_lost_its_new_folder_gets_it_back(tmp_path):
    disk = Disk(tmp_path)
    disk.writer.commit([(acceptance("alice", number=1), CONTENT)])
    new = tmp_path / "maildirs/example.org/alice/new"
    for path in new.iterdir():
        path.unlink()
    new.rmdir()
    (result,) = disk.writer.commit([(acceptance("alice", number=2), CONTENT)])
    assert isinstance(result, Filed) and result.spooled == ()
    assert len(disk.new("alice")) == 1


def test_a_mailbox_that_is_a_file_is_spooled(tmp_path):
    disk = Disk(tmp_path)
    (tmp_path / "maildirs/example.org").mkdir()
    (tmp_path / "maildirs/example.org/alice").write_text("in the way")
    (result,) = disk.writer.commit([(acceptance("alice"), CONTENT)])
    assert isinstance(result, Filed) and len(result.spooled) == 1
    assert list(disk.spool()) == [queue_id(1)]


def test_an_alias_in_trouble_waits_under_the_mailbox_and_not_under_the_alias(tmp_path):
    """Else the alias's other targets, which have their copies, would get a second one."""
    disk = Disk(tmp_path, ("create", "/alice/"))
    team = Recipient(box("team@example.org"))
    copies = tuple(LocalCopy(box(f"{name}@example.org"), (team,), b"") for name in ("alice", "bob"))
    given = Acceptance(queue_id(1), 0.0, Envelope(None, (team,)), RECEIVED, copies)
    (result,) = disk.writer.commit([(given, CONTENT)])
    envelope, _ = disk.spool()[queue_id(1)]
    assert [str(one.mailbox) for one in envelope.recipients] == ["alice@example.org"]
    assert envelope.recipients[0].orcpt.address == "team@example.org"
    assert result.filed == (copies[1],)


# --- large contents ---------------------------------------------------------------------------------------------------


def large(disk, given, pieces=(CONTENT[:7], CONTENT[7:])):
    content = disk.writer.open_large(given)
    for piece in pieces:
        content.append([piece])
    return content


@pytest.mark.parametrize("cut", range(len(CONTENT) + 1))
def test_a_large_content_is_the_same_however_it_is_cut(tmp_path, cut):
    disk = Disk(tmp_path)
    given = acceptance("alice", "bob", remote=("x@far.example",))
    content = large(disk, given, (CONTENT[:cut], CONTENT[cut:]))
    assert content.place is Place.MAILDIR
    (result,) = disk.writer.commit([(given, content)])
    assert result == Filed(given.local)
    for name in ("alice", "bob"):
        assert disk.new(name) == [filed_octets(name)]
        (path,) = (tmp_path / "maildirs/example.org" / name / "new").iterdir()
        stored = len(filed_octets(name))
        assert f",S={stored},W={stored + filed_octets(name).count(10)}" in path.name
    assert disk.spool()[queue_id(1)][1] == RECEIVED + CONTENT
    assert disk.leftovers() == []


def test_a_large_content_for_others_is_written_as_its_spool_file(tmp_path):
    disk = Disk(tmp_path)
    given = acceptance(remote=("x@far.example",))
    content = large(disk, given)
    assert content.place is Place.SPOOL
    disk.writer.commit([(given, content)])
    envelope, octets = disk.spool()[queue_id(1)]
    assert octets == RECEIVED + CONTENT
    assert [str(one.mailbox) for one in envelope.recipients] == ["x@far.example"]


def test_a_large_content_whose_mailboxes_cannot_be_opened_is_spooled(tmp_path):
    disk = Disk(tmp_path, ("create", "/alice/"), times=99)
    given = acceptance("alice")
    content = large(disk, given)
    assert content.place is Place.LOOSE
    (result,) = disk.writer.commit([(given, content)])
    assert len(result.spooled) == 1
    assert disk.spool()[queue_id(1)][1] == RECEIVED + CONTENT
    assert disk.leftovers() == []


def test_a_large_content_survives_a_rename_that_fails(tmp_path):
    disk = Disk(tmp_path, ("rename", "/alice/new/"), times=2)
    given = acceptance("alice")
    (result,) = disk.writer.commit([(given, large(disk, given))])
    assert len(result.spooled) == 1
    assert disk.spool()[queue_id(1)][1] == RECEIVED + CONTENT
    assert disk.leftovers() == []


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_the_only_copy_of_a_large_content_in_trouble_is_451(tmp_path, operation):
    disk = Disk(tmp_path, (operation, "/alice/"))
    given = acceptance("alice", remote=("x@far.example",))
    (result,) = disk.writer.commit([(given, large(disk, given))])
    assert isinstance(result, StorageTrouble)
    assert disk.new("alice") == [] and disk.spool() == {}
    assert disk.leftovers() == []


def test_a_large_content_can_be_forgotten(tmp_path):
    disk = Disk(tmp_path)
    content = large(disk, acceptance("alice"))
    content.discard()
    content.discard()
    assert disk.leftovers() == []


def test_no_descriptor_is_left_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    disk = Disk(tmp_path, ("sync", "/bob/"), ("rename", "/carol/new/"), times=2)
    for number in range(3):
        given = acceptance("alice", "bob", "carol", remote=("x@far.example",), number=number)
        disk.writer.commit([(given, CONTENT)])
        given = acceptance("alice", "bob", number=number + 10)
        disk.writer.commit([(given, large(disk, given))])
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_queue_is_told_where_a_small_content_is_and_gets_it_from_memory(tmp_path):
    disk = Disk(tmp_path)
    (result,) = disk.writer.commit([(acceptance("alice", remote=("carol@far.example",)), CONTENT)])
    stored = result.stored
    assert stored.octets == RECEIVED + CONTENT
    octets = stored.path.read_bytes()
    assert octets[stored.offset : stored.offset + stored.length] == stored.octets
    assert len(octets) == stored.offset + stored.length
    (result,) = disk.writer.commit([(acceptance("alice", number=2), CONTENT)])
    assert result.stored is None
