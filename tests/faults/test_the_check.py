"""The check can fail: each of these disks or writers breaks one step on purpose, and the enumeration sees it."""

import contextlib
import os

import pytest

from mailserver.store.commit import CommitWriter
from mailserver.store.spool_changes import Remove, SpoolChanges
from tests.faults.changes import power_cuts_of
from tests.faults.disk import WatchedDisk
from tests.faults.enumerate import failures, kills, power_cuts
from tests.faults.server import Lost
from tests.faults.stories import BROKEN, DELIVERY, QUEUE
from tests.faults.test_changes import CHANGES
from tests.faults.test_drop import STORY as DROP

STORIES = {story.name: story for story in (*DELIVERY, *BROKEN, *QUEUE)}


class NoFileSync(WatchedDisk):
    """Forgets to sync files."""

    def sync(self, descriptor):
        self._point("sync", "")


class NoFolderSync(WatchedDisk):
    """Forgets to sync folders."""

    def sync_folder(self, path):
        self._point("sync_folder", path)

    def sync_opened_folder(self, folder):
        self._point("sync_folder", "")


class RenameFirst(WatchedDisk):
    """Syncs a file only when it has its final name."""

    def __init__(self, root):
        super().__init__(root)
        self.late = {}

    def sync(self, descriptor):
        self.late[os.readlink(f"/proc/self/fd/{descriptor}")] = self._files[descriptor]
        self._point("sync", "")

    def rename(self, source, target):
        super().rename(source, target)
        if source in self.late:
            self._synced(self.late.pop(source))

    def rename_in(self, folder, name, target_folder, target):
        super().rename_in(folder, name, target_folder, target)
        source = f"{os.readlink(f'/proc/self/fd/{folder}')}/{name}"
        if source in self.late:
            self._synced(self.late.pop(source))


class NoSyncOf(WatchedDisk):
    """Forgets the folders with one word in their path."""

    word = ""

    def sync_folder(self, path):
        if self.word not in path:
            super().sync_folder(path)


class NoSyncOfNew(NoSyncOf):
    word = "/new"


class NoSyncOfMessages(NoSyncOf):
    word = "/messages"


class NoSyncOfStates(NoSyncOf):
    word = "/states"


class NoSyncOfDomain(NoSyncOf):
    """The folder that holds a new mailbox's name."""

    def sync_folder(self, path):
        if not path.endswith("/example.org"):
            super().sync_folder(path)


class OldMakeFolders(WatchedDisk):
    """Takes a folder that is there for one whose name is on disk."""

    def make_folders(self, path):
        if not os.path.isdir(path):
            super().make_folders(path)


@pytest.mark.parametrize("make_disk", [NoFileSync, NoFolderSync, RenameFirst])
@pytest.mark.parametrize("name", ["one recipient", "a new mailbox", "queued", "local and remote", "large, queued"])
def test_a_message_that_was_not_made_durable_is_missed(name, make_disk, base):
    with pytest.raises(Lost, match=r"acknowledged, and not there|octets|no whole message|damaged"):
        power_cuts(STORIES[name], base, make_disk)


@pytest.mark.parametrize(
    ("name", "make_disk", "loss"),
    [
        ("one recipient", NoSyncOfNew, "letter 1 in the mailbox of alice"),
        ("a new mailbox", NoSyncOfDomain, "letter 1 in the mailbox of bob"),
        ("queued", NoSyncOfMessages, "letter 1 sent to"),
        ("held and released", NoSyncOfStates, "was held, and nothing tells so"),
        ("removed by order", NoSyncOfMessages, "letter 1"),
        ("refused", NoSyncOfNew, "a report on letter 1"),
    ],
)
def test_one_folder_that_is_not_synced_is_enough(name, make_disk, loss, base):
    with pytest.raises(Lost, match=loss):
        power_cuts(STORIES[name], base, make_disk)


@pytest.mark.parametrize("make_disk", [NoFileSync, NoFolderSync, RenameFirst])
@pytest.mark.parametrize("name", ["account edits", "suppression list", "tls history"])
def test_a_change_that_was_not_made_durable_is_missed(name, make_disk, base):
    with pytest.raises(Lost):
        power_cuts_of(CHANGES[name], base, make_disk)


@pytest.mark.parametrize("make_disk", [NoFileSync, NoFolderSync])
def test_a_dropped_message_that_was_not_made_durable_is_missed(make_disk, base):
    with pytest.raises(Lost):
        power_cuts_of(DROP, base, make_disk)


def test_deletions_that_are_not_synced_are_missed(base):
    with pytest.raises(Lost, match="was deleted, and is there again"):
        power_cuts_of(CHANGES["POP3 QUIT and index"], base, NoFolderSync)


def test_an_answer_before_the_sync_is_missed(base, monkeypatch):
    """Acknowledged when renamed, synced afterwards."""
    late = []
    monkeypatch.setattr(CommitWriter, "_sync_folders", lambda self, jobs: late.append(jobs))
    with pytest.raises(Lost, match="acknowledged, and not there"):
        power_cuts(STORIES["several recipients"], base)
    assert late


def test_a_state_that_goes_before_its_message_is_missed(base, monkeypatch):
    """Delivered to one, the state removed first: a power cut has the message sent to him again."""
    real = SpoolChanges.apply

    def state_first(self, changes):
        for change in changes:
            if isinstance(change, Remove):
                self._files.discard(self._paths.state_name(change.queue_id))
                self._files.sync_folder(str(self._paths.states))
        return real(self, changes)

    monkeypatch.setattr(SpoolChanges, "apply", state_first)
    with pytest.raises(Lost, match="marked as delivered"):
        power_cuts(STORIES["some of each"], base)


def test_a_mailbox_that_a_killed_process_left_half_made_is_missed(base, monkeypatch):
    monkeypatch.setattr("tests.faults.enumerate.WatchedDisk", OldMakeFolders)
    with pytest.raises(Lost, match=r"killed at call .*acknowledged, and not there"):
        kills(STORIES["a new mailbox"], base)


def test_a_failed_sync_that_is_ignored_is_missed(base, monkeypatch):
    """The file is renamed and acknowledged though its content never reached the disk."""

    def careless(self, file):
        with contextlib.suppress(OSError):
            self._files.sync(file.descriptor)
        self._files.close(file.descriptor)
        file.descriptor = -1

    monkeypatch.setattr(CommitWriter, "_sync", careless)
    with pytest.raises(Lost, match=r"at call \d+, sync:"):
        failures(STORIES["one recipient"], base)


def test_what_a_refused_message_leaves_behind_is_seen(base, monkeypatch):
    monkeypatch.setattr(CommitWriter, "_drop", lambda self, file: None)
    with pytest.raises(Lost, match="left behind"):
        failures(STORIES["queued"], base)
