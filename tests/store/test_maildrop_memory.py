"""A Maildir that is as it was is not listed again; whatever changed, by whomever, and however soon, it is."""

import os
import time

import pytest

from mailserver.store import maildrop
from mailserver.store.files import Files
from mailserver.store.maildrop_index import NAME
from mailserver.store.maildrop_memory import QUIET_NS, MaildropMemory

SECOND = 1_000_000_000


class Clock:
    """Nanoseconds ahead of the real time, so that what a test has just done counts as long ago."""

    def __init__(self, ahead_ns=QUIET_NS + 60 * SECOND):
        self.ahead_ns = ahead_ns

    def __call__(self):
        return time.time_ns() + self.ahead_ns


@pytest.fixture
def maildir(tmp_path):
    for place in ("new", "cur", "tmp"):
        (tmp_path / place).mkdir()
    for number in range(3):
        put(tmp_path, number)
    return tmp_path


def put(maildir, number, place="new"):
    path = maildir / place / f"{1_750_000_000 + number}.M000042P1Q{number}.host,S=2,W=3"
    path.write_bytes(b"x\n")
    return path


def next_tick(folder):
    """Until the file system's time has moved on: a test changes things sooner than `QUIET_NS` allows for."""
    probe, end = folder / "probe", time.monotonic() + 5
    newest = max(path.stat().st_ctime_ns for path in folder.iterdir())
    while time.monotonic() < end:
        probe.write_bytes(b"")
        if probe.stat().st_ctime_ns > newest:
            break
        probe.unlink()
    probe.unlink()


class Listed:
    """Opens snapshots and counts how often the Maildir was really listed."""

    def __init__(self, maildir, monkeypatch, memory=None):
        self.maildir, self.memory, self.times = maildir, memory or MaildropMemory(Clock()), 0
        real = maildrop.list_maildir

        def list_maildir(folder):
            self.times += 1
            return real(folder)

        monkeypatch.setattr(maildrop, "list_maildir", list_maildir)

    def open(self):
        return maildrop.open_snapshot(Files(), str(self.maildir), self.memory)


def test_an_unchanged_maildir_is_listed_once(maildir, monkeypatch):
    listed = Listed(maildir, monkeypatch)
    first, second = listed.open(), listed.open()
    assert listed.times == 1
    assert first.sizes == second.sizes == [3, 3, 3] and first.unique_ids() == second.unique_ids()
    assert [second.read(number) for number in (1, 2, 3)] == [b"x\n"] * 3


def delivered(maildir):
    put(maildir, 7)


def removed(maildir):
    next((maildir / "new").iterdir()).unlink()


def moved(maildir):
    path = next((maildir / "new").iterdir())
    path.rename(maildir / "cur" / f"{path.name}:2,S")


def replaced_one_by_another(maildir):
    """As many names as before."""
    removed(maildir)
    put(maildir, 8)


def delivered_and_the_time_set_back(maildir):
    before = (maildir / "new").stat()
    put(maildir, 9)
    os.utime(maildir / "new", ns=(before.st_atime_ns, before.st_mtime_ns))


def folder_replaced(maildir):
    (maildir / "new").rename(maildir / "old")
    (maildir / "new").mkdir()


def index_written(maildir):
    (maildir / NAME).write_text("mailserver-index 1\nu imported 1750000000.M000042P1Q0.host\n")


@pytest.mark.parametrize(
    "change",
    [
        delivered,
        removed,
        moved,
        replaced_one_by_another,
        delivered_and_the_time_set_back,
        folder_replaced,
        index_written,
    ],
)
def test_every_change_is_seen(maildir, monkeypatch, change):
    listed = Listed(maildir, monkeypatch)
    listed.open()
    next_tick(maildir)
    change(maildir)
    fresh = maildrop.open_snapshot(Files(), str(maildir))
    seen = listed.open()
    assert seen.sizes == fresh.sizes and seen.unique_ids() == fresh.unique_ids()
    assert [seen.read(number) for number in range(1, len(seen.sizes) + 1)] == [b"x\n"] * len(fresh.sizes)


def test_what_changed_shortly_before_the_look_is_not_trusted(maildir, monkeypatch):
    """Another change within the same tick of the file system would leave the times as they are."""
    listed = Listed(maildir, monkeypatch, MaildropMemory(Clock(0)))
    listed.open(), listed.open()
    assert listed.times == 2


def test_a_clock_that_was_set_back_makes_nothing_certain(maildir, monkeypatch):
    listed = Listed(maildir, monkeypatch, MaildropMemory(Clock(-3600 * SECOND)))
    listed.open(), listed.open()
    assert listed.times == 2


def test_what_a_session_does_is_not_in_the_next_ones_memory(maildir, monkeypatch):
    listed = Listed(maildir, monkeypatch)
    first = listed.open()
    next_tick(maildir)
    first.mark_seen([1])
    assert first.remove([2]) == 0
    second = listed.open()
    assert second.sizes == [3, 3] and second.read(1) == second.read(2) == b"x\n"


def test_files_that_are_no_messages_are_told_in_each_session(maildir, monkeypatch):
    os.mkfifo(maildir / "new" / "pipe")
    listed = Listed(maildir, monkeypatch)
    assert [listed.open().notes, listed.open().notes] == [["new/pipe: not a regular file, ignored"]] * 2


def test_memory_is_bounded_and_the_oldest_goes(tmp_path, monkeypatch):
    memory = MaildropMemory(Clock(), max_names=5)
    boxes = []
    for name in ("a", "b", "c"):
        (tmp_path / name / "new").mkdir(parents=True)
        for number in range(2):
            put(tmp_path / name, number)
        boxes.append(Listed(tmp_path / name, monkeypatch, memory))
    for box in boxes:
        box.open()
    before = boxes[2].times
    boxes[1].open(), boxes[2].open()
    assert boxes[2].times == before, "the two newest are remembered"
    boxes[0].open()
    assert boxes[2].times == before + 1, "the oldest is not"


def test_a_maildir_that_is_not_there_yet_is_empty_until_it_is(tmp_path, monkeypatch):
    listed = Listed(tmp_path / "box", monkeypatch)
    assert listed.open().sizes == []
    (tmp_path / "box" / "new").mkdir(parents=True)
    put(tmp_path / "box", 1)
    assert listed.open().sizes == [3]
