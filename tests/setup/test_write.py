"""Files are put in place whole, with the modes they had, and the old ones stay beside them."""

import stat

import pytest

from mailserver.setup.changes import Change, Changes
from mailserver.setup.machine_files import PlannedFile
from mailserver.setup.write import make_state_folders, put, write_changes
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
