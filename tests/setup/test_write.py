"""Files are put in place whole, with the modes they had, and the old ones stay beside them."""

import os
import stat
from dataclasses import replace

import pytest

from mailserver.identity import Identity
from mailserver.setup import apply, write
from mailserver.setup.changes import Change, Changes
from mailserver.setup.layout import lab_layout
from mailserver.setup.machine_files import PlannedFile
from mailserver.setup.write import is_unbegun, make_state_folders, put, write_changes
from mailserver.store.files import Files


def planned(path, text="new\n", mode=0o644):
    return PlannedFile(path, text, "a test", mode)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_has_its_mode_and_its_folders_can_be_read(tmp_path):
    path = tmp_path / "etc" / "deep" / "x.conf"
    put(planned(path, mode=0o640), None)
    assert path.read_text() == "new\n"
    assert mode(path) == 0o640 and mode(path.parent) == 0o755
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_there_keeps_its_mode(tmp_path):
    path = tmp_path / "x.conf"
    path.write_text("old\n")
    path.chmod(0o600)
    put(planned(path), None)
    assert path.read_text() == "new\n" and mode(path) == 0o600


def test_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old\n")
    link.symlink_to(real)
    put(planned(link), None)
    assert link.is_symlink() and real.read_text() == "new\n"


def test_what_a_crash_left_is_no_hindrance(tmp_path):
    (tmp_path / ".x.conf.setup").write_text("half of")
    put(planned(tmp_path / "x.conf"), None)
    assert [one.name for one in tmp_path.iterdir()] == ["x.conf"]


class FullDisk(Files):
    def write(self, descriptor, pieces):
        raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.conf"
    path.write_text("old\n")
    with pytest.raises(OSError, match="No space"):
        put(planned(path), None, FullDisk())
    assert path.read_text() == "old\n"
    assert [one.name for one in tmp_path.iterdir()] == ["x.conf"]


def test_the_old_file_stays_beside_the_new_one(tmp_path):
    path, other, note = tmp_path / "x.conf", tmp_path / "y.conf", tmp_path / "setup.json"
    path.write_text("old\n")
    path.chmod(0o600)
    found = Changes((Change(planned(path), "old\n"), Change(planned(other), None)), (), planned(note, "{}\n"))
    write_changes(found, None)
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {
        "x.conf": "new\n",
        "x.conf.old": "old\n",
        "y.conf": "new\n",
        "setup.json": "{}\n",
    }


def test_a_diff_says_what_changes(tmp_path):
    path = tmp_path / "x.conf"
    assert Change(planned(path, "a\nb\n"), "a\n").diff == f"--- {path}\n+++ {path}\n@@ -1 +1,2 @@\n a\n+b\n"
    assert Change(planned(path, "a\n"), "a\n").diff == ""
    assert "No newline at end" in Change(planned(path, "a\n"), "a").diff


def test_state_folders_are_the_servers_alone(tmp_path):
    folder = tmp_path / "var" / "mailserver"
    make_state_folders([folder], None)
    assert mode(folder) == 0o700
    make_state_folders([folder], None)


def test_an_old_file_is_no_more_open_than_it_was(tmp_path):
    path, note = tmp_path / "x.conf", tmp_path / "setup.json"
    path.write_text('password = "secret"\n')
    path.chmod(0o600)
    (tmp_path / "x.conf.old").write_text("older\n")
    write_changes(Changes((Change(planned(path), path.read_text()),), (), planned(note, "{}\n")), None)
    assert mode(tmp_path / "x.conf.old") == 0o600 and mode(path) == 0o600


@pytest.mark.parametrize("is_there", [False, True])
def test_a_state_folder_is_handed_over_also_after_a_crash(tmp_path, monkeypatch, is_there):
    """Or when somebody made it beforehand."""
    folder, given = tmp_path / "mailserver", []
    if is_there:
        folder.mkdir(mode=0o755)
    monkeypatch.setattr(write, "is_unbegun", lambda folder: True)
    monkeypatch.setattr(write.os, "chown", lambda path, uid, gid, **_: given.append((path, uid, gid)))
    make_state_folders([folder], Identity(1234, 1235))
    assert given == [(folder, 1234, 1235)]
    assert mode(folder) == 0o700


def test_a_folder_with_something_in_it_or_of_somebody_else_is_begun(tmp_path, monkeypatch):
    folder = tmp_path / "mailserver"
    assert is_unbegun(folder)
    folder.mkdir()
    assert is_unbegun(folder) is (os.geteuid() == 0)
    (folder / "queue").mkdir()
    assert not is_unbegun(folder)


def test_a_state_that_is_roots_is_no_state_of_the_servers_user(tmp_path, monkeypatch):
    """As after a server that was tried as root: the unit's user could read nothing of it."""
    layout = replace(lab_layout(tmp_path), user="nobody")
    (layout.state / "queue").mkdir(parents=True)
    monkeypatch.setattr(apply.os, "geteuid", lambda: 0)
    monkeypatch.setattr(apply, "identity", lambda layout: None)
    with pytest.raises(apply.SetupTrouble, match=r"is root's, .* chown -R nobody: "):
        apply.missing(layout, None, None)
