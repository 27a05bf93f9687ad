"""Writing to one Maildir, and the sweep at start."""

import os

import pytest

from mailserver.store.files import Files
from mailserver.store.maildir import STALE_AFTER_S, Maildirs, sweep
from tests.fakes.directory import box

HOST = "mail.example.org"
NOW = 1_750_000_000.0


@pytest.fixture
def maildirs(tmp_path):
    return Maildirs(Files(), tmp_path, HOST, now=lambda: NOW)


def left(maildirs, name, *, age_s=0.0, mailbox="alice@example.org"):
    """A file in `tmp/` that was last touched `age_s` ago."""
    path, descriptor = maildirs.create(maildirs.folder(box(mailbox)), name)
    os.close(descriptor)
    os.utime(path, (NOW - age_s, NOW - age_s))
    return path


def names(root):
    return sorted(path.name for path in root.rglob("tmp/*"))


def test_names_never_repeat_even_when_the_clock_steps_back(tmp_path):
    times = iter([NOW, NOW, NOW - 3600, NOW - 3600, NOW + 1])
    made = Maildirs(Files(), tmp_path, HOST, now=lambda: next(times))
    found = [made.name(1, 1) for _ in range(5)]
    assert len(set(found)) == 5
    assert [name.split(".M")[0] for name in found[:4]] == [f"{NOW:.0f}"] * 4


def test_a_mailbox_is_made_when_its_first_message_comes(maildirs, tmp_path):
    left(maildirs, "x")
    folder = tmp_path / "example.org" / "alice"
    assert sorted(path.name for path in folder.iterdir()) == ["cur", "new", "tmp"]
    assert {path.stat().st_mode & 0o777 for path in [folder, folder.parent, *folder.iterdir()]} == {0o700}


def test_the_sweep_takes_ours_at_once_and_those_of_others_after_36_hours(maildirs, tmp_path):
    left(maildirs, maildirs.name(1, 1))
    left(maildirs, maildirs.temporary_name(), mailbox="bob@example.org")
    left(maildirs, "1750000000.M5P7.dovecot.example", age_s=STALE_AFTER_S - 60)
    left(maildirs, "1750000000.M6P7.dovecot.example", age_s=STALE_AFTER_S + 60)
    left(maildirs, f"1750000000.P7Q1.other.{HOST[5:]}")
    assert sweep(tmp_path, HOST, NOW) == 3
    assert names(tmp_path) == ["1750000000.M5P7.dovecot.example", "1750000000.P7Q1.other.example.org"]


def test_the_sweep_never_follows_a_link_and_takes_only_files(maildirs, tmp_path):
    left(maildirs, maildirs.name(1, 1))
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    (outside / "tmp").mkdir(parents=True)
    kept = outside / "tmp" / maildirs.temporary_name()
    kept.touch()
    (tmp_path / "example.org" / "link").symlink_to(outside)
    os.mkfifo(tmp_path / "example.org" / "alice" / "tmp" / maildirs.temporary_name())
    assert sweep(tmp_path, HOST, NOW) == 1
    assert kept.exists()
    assert len(names(tmp_path / "example.org" / "alice")) == 1


def test_what_cannot_be_swept_keeps_no_server_from_starting(maildirs, tmp_path, monkeypatch):
    """A mail volume of its own has a `lost+found` of root's; another program may sweep at the same moment."""
    left(maildirs, maildirs.name(1, 1))
    left(maildirs, maildirs.name(1, 1))
    gone, scandir, unlink = [], os.scandir, os.unlink

    def forbidding(path):
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def too_late(path):
        if not gone:
            gone.append(path)
            raise FileNotFoundError(2, "No such file or directory", path)
        unlink(path)

    (tmp_path / "lost+found").mkdir()
    monkeypatch.setattr(os, "scandir", forbidding)
    monkeypatch.setattr(os, "unlink", too_late)
    assert sweep(tmp_path, HOST, NOW) == 1


def test_there_may_be_nothing_to_sweep(tmp_path):
    assert sweep(tmp_path / "nowhere", HOST, NOW) == 0
