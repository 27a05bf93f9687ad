"""Room, kinds of file systems, permissions, the last backup."""

import os
from pathlib import Path

import pytest

from mailserver.doctor.check import Verdict
from mailserver.doctor.disk import (
    Room,
    check_backup,
    check_file_systems,
    check_permissions,
    check_room,
    file_systems,
    octets,
    openings,
    read_mounts,
    rooms,
)
from tests.doctor.configs import configured

PASS, WARN, FAIL, UNKNOWN, SKIP = Verdict
MB = 10**6


@pytest.mark.parametrize(
    ("free", "inodes", "verdict", "words"),
    [
        (10_000 * MB, 10**6, PASS, "10 GB free"),
        (10_000 * MB, None, PASS, "10 GB free"),
        (599 * MB, 10**6, WARN, "below 200 MB new mail is put off"),
        (199 * MB, 10**6, FAIL, "less than storage.min_free"),
        (10_000 * MB, 999, FAIL, "999 free inodes"),
        (10_000 * MB, 9_999, WARN, "9999 free inodes"),
    ],
)
def test_room(free, inodes, verdict, words):
    (found,) = check_room([Room(("storage.state",), Path("/var"), free, inodes)], 200 * MB)
    assert (found.verdict, words in found.finding) == (verdict, True), found
    assert bool(found.remedy) is (verdict is not PASS)


def test_one_file_system_is_looked_at_once(tmp_path):
    (found,) = rooms(configured(tmp_path))
    assert found.keys == ("storage.maildirs", "storage.state")
    assert found.free_octets > 0


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 octets"), (1500, "1.5 KB"), (2 * 10**12, "2 TB"), (77_600 * MB, "77.6 GB")]
)
def test_octets_in_words(number, text):
    assert octets(number) == text


MOUNTS = """22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:5 / /var rw - xfs /dev/sdb rw
24 23 0:6 / /var/mail\\040box rw master:2 - nfs4 nas:/mail rw
25 22 0:7 / /tmp rw - tmpfs tmpfs rw
nonsense
"""


def test_mounts_are_read():
    assert list(read_mounts(MOUNTS)) == [
        (Path("/"), "ext4"),
        (Path("/var"), "xfs"),
        (Path("/var/mail box"), "nfs4"),
        (Path("/tmp"), "tmpfs"),
    ]


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("ext4", PASS),
        ("xfs", PASS),
        ("btrfs", PASS),
        ("zfs", PASS),
        ("nfs4", WARN),
        ("cifs", WARN),
        ("fuse.sshfs", WARN),
        ("fuse.gcsfuse", WARN),
        ("vfat", WARN),
        ("overlay", WARN),
        ("tmpfs", FAIL),
        ("", UNKNOWN),
    ],
)
def test_kinds_of_file_systems(kind, verdict):
    (found,) = check_file_systems([("storage.state", Path("/var"), kind)])
    assert found.verdict is verdict
    assert bool(found.remedy) is (verdict in (WARN, FAIL))


def test_the_nearest_mount_counts(tmp_path):
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"{MOUNTS}26 22 0:8 / {tmp_path.resolve()} rw - cifs //nas/x rw\n")
    found = file_systems(configured(tmp_path), mountinfo)
    assert [kind for _, _, kind in found] == ["cifs", "cifs"]


def words(config):
    return [check.finding for check in check_permissions(openings(config))]


def test_what_is_the_servers_alone_passes(tmp_path):
    config = configured(tmp_path)
    for folder in (config.storage.state, config.storage.maildirs):
        folder.mkdir(mode=0o700)
    (config.storage.state / "lock").touch(mode=0o600)
    assert words(config) == ["state, keys, accounts and mail are the server's alone"]


def test_folders_others_can_enter(tmp_path):
    config = configured(tmp_path)
    config.storage.state.mkdir(mode=0o755)
    config.storage.maildirs.mkdir(mode=0o700)
    (found,) = check_permissions(openings(config))
    assert (found.verdict, found.remedy) == (WARN, f"chmod o-rwx,g-w {config.storage.state}")


def test_a_group_may_read_mail_for_another_program(tmp_path):
    config = configured(tmp_path)
    config.storage.state.mkdir(mode=0o700)
    config.storage.maildirs.mkdir()
    config.storage.maildirs.chmod(0o2770)
    assert words(config) == ["state, keys, accounts and mail are the server's alone"]
    config.storage.maildirs.chmod(0o775)
    assert "can be entered by others" in words(config)[0]


def test_files_others_can_read(tmp_path):
    config = configured(tmp_path)
    config.storage.state.mkdir(mode=0o700)
    key = config.storage.state / "key.pem"
    key.touch()
    key.chmod(0o644)
    config.accounts.file.touch()
    config.accounts.file.chmod(0o666)
    found = list(check_permissions(openings(config)))
    assert {check.remedy for check in found} == {f"chmod 600 {key}", f"chmod 640 {config.accounts.file}"}
    assert len({check.key for check in found}) == 2


def test_files_of_another_user(tmp_path, monkeypatch):
    config = configured(tmp_path)
    config.storage.state.mkdir(mode=0o700)
    for number in range(3):
        (config.storage.state / f"file{number}").touch(mode=0o600)
    real = Path.lstat

    def lstat(self):
        status = real(self)
        return os.stat_result((*status[:4], status.st_uid + 1, *status[5:])) if self.name.startswith("file") else status

    monkeypatch.setattr(Path, "lstat", lstat)
    (found,) = check_permissions(openings(config))
    assert found.verdict is FAIL
    assert "and 2 more belongs to another user" in found.finding


@pytest.mark.parametrize(
    ("days", "verdict", "words"),
    [
        (None, SKIP, "no backup was ever made"),
        (0.2, PASS, "was made today"),
        (1.5, PASS, "yesterday"),
        (6, PASS, "6 days ago"),
        (9, WARN, "9 days old"),
    ],
)
def test_backup(days, verdict, words):
    now = 1_750_000_000.0
    found = check_backup(None if days is None else now - days * 86400, now)
    assert (found.verdict, words in found.finding) == (verdict, True), found
