"""Filing from the queue: what stands in the mailbox, in which order it gets there, and what is left when it fails."""

import errno

import pytest

from mailserver.mail.ids import QueueIds, number_of
from mailserver.ports import StorageFull, StorageTrouble, StoredContent
from mailserver.store.maildir import Maildirs
from mailserver.store.refile import file_stored
from tests.fakes.directory import box
from tests.fakes.disk import FaultyFiles

NOW = 1_750_000_000.25
BEFORE, LATER = NOW - 10, NOW + 10
ALICE = box("alice@example.org")
TRACE = b"Return-Path: <>\r\nDelivered-To: alice@example.org\r\n"
CONTENT = b"Subject: x\r\n\r\nfirst\r\n.dot\r\n"
HEAD = b"queue file head\n"


class Disk:
    def __init__(self, root, *faults, code=errno.EIO, times=1):
        self.files = FaultyFiles(*faults, code=code, times=times)
        self.start_again(root)
        (root / "maildirs").mkdir()
        self.folder = root / "maildirs" / "example.org" / "alice"
        self.queue_file = root / "queue-file"
        self.queue_file.write_bytes(HEAD + CONTENT)

    def start_again(self, root):
        self.maildirs = Maildirs(self.files, root / "maildirs", "mail.example.org", lambda: NOW, started_at=NOW)

    def file(self, octets_more=0):
        length = len(CONTENT) + octets_more
        return file_stored(self.files, self.maildirs, ALICE, TRACE, StoredContent(self.queue_file, len(HEAD), length))

    def queued(self, made_at):
        """The queue file gets the name of a message that was queued then."""
        queue_id = QueueIds(lambda: made_at)()
        self.queue_file = self.queue_file.rename(self.queue_file.with_name(queue_id))

    def inside(self, part):
        return sorted((self.folder / part).glob("*"))


def test_trace_and_content_are_stored_with_lf_under_a_name_that_tells_both_sizes(tmp_path):
    disk = Disk(tmp_path)
    disk.file()
    (path,) = disk.inside("new")
    assert path.read_bytes() == (TRACE + CONTENT).replace(b"\r", b"")
    assert path.name.endswith(f",S={path.stat().st_size},W={len(TRACE + CONTENT)}")
    assert disk.inside("tmp") == []


def test_it_is_synced_before_it_gets_its_name_and_the_name_before_it_returns(tmp_path):
    disk = Disk(tmp_path)
    disk.maildirs.make(str(disk.folder))
    disk.files.log.clear()
    disk.file()
    steps = [operation for operation, _ in disk.files.log]
    assert steps == ["create", "write", "write", "sync", "close", "rename", "sync_folder"]


@pytest.mark.parametrize("operation", ["create", "write", "sync", "close", "rename"])
@pytest.mark.parametrize(("code", "trouble"), [(errno.EIO, StorageTrouble), (errno.ENOSPC, StorageFull)])
def test_trouble_is_told_and_leaves_nothing(tmp_path, operation, code, trouble):
    disk = Disk(tmp_path, (operation, "/alice/"), code=code, times=2)
    with pytest.raises(trouble):
        disk.file()
    assert disk.inside("tmp") == disk.inside("new") == []


def test_a_queue_file_that_is_too_short_is_trouble_and_leaves_nothing(tmp_path):
    disk = Disk(tmp_path)
    with pytest.raises(StorageTrouble, match="too early"):
        disk.file(octets_more=1)
    assert disk.inside("tmp") == disk.inside("new") == []


def test_a_mailbox_that_lost_its_new_folder_gets_it_back(tmp_path):
    """Else a message would wait until it expires for a folder that a person removed by mistake."""
    disk = Disk(tmp_path)
    disk.file()
    for path in disk.inside("new"):
        path.unlink()
    (disk.folder / "new").rmdir()
    disk.file()
    assert len(disk.inside("new")) == 1


def test_what_stands_in_place_of_new_is_named(tmp_path):
    disk = Disk(tmp_path)
    disk.maildirs.make(str(disk.folder))
    (disk.folder / "new").rmdir()
    (disk.folder / "new").write_text("a file")
    with pytest.raises(StorageTrouble, match="alice/new/"):
        disk.file()
    assert disk.inside("tmp") == []


# --- a crash between filing and noting it -----------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["new", "cur"])
def test_what_was_filed_before_a_crash_is_not_filed_again(tmp_path, place):
    disk = Disk(tmp_path)
    disk.queued(BEFORE)
    unique = disk.file()
    (path,) = disk.inside("new")
    if place == "cur":
        path.rename(disk.folder / "cur" / f"{path.name}:2,S")
    disk.start_again(tmp_path)
    disk.files.log.clear()
    assert disk.file() == unique
    assert len(disk.inside("new") + disk.inside("cur")) == 1
    assert disk.inside("tmp") == []
    assert disk.files.log[-1] == ("sync_folder", str(disk.folder / place)), "it may never have been synced"


@pytest.mark.parametrize("change", ["another message", "another size", "deleted", "another mailbox's file"])
def test_what_is_not_the_same_message_is_filed(tmp_path, change):
    disk = Disk(tmp_path)
    disk.queued(BEFORE)
    disk.file()
    (path,) = disk.inside("new")
    if change == "another message":
        disk.queued(BEFORE - 1)
    elif change == "another size":
        disk.queue_file.write_bytes(HEAD + CONTENT.replace(b"first", b"furst!"))
        path.rename(path.with_name(path.name.replace(",S=", ",S=1")))
    elif change == "deleted":
        path.unlink()
    else:
        path.rename(tmp_path / path.name)
    disk.start_again(tmp_path)
    count = len(disk.inside("new"))
    disk.file()
    assert len(disk.inside("new")) == count + 1


def test_the_folders_are_not_listed_for_what_this_process_queued(tmp_path, monkeypatch):
    disk = Disk(tmp_path)
    disk.queued(LATER)
    monkeypatch.setattr(disk.maildirs, "find", lambda *words: pytest.fail("a mailbox of any size was listed"))
    disk.file()
    (path,) = disk.inside("new")
    assert f"Q{number_of(disk.queue_file.name)}." in path.name, "the next process must know it by this"
