"""DKIM keys on disk: both halves, their modes, what a crash leaves, and files that are wrong."""

import json
import os
import stat

import pytest

from mailserver.mail.dkim_key import DkimKey
from mailserver.store.dkim_keys import DkimKeyFolder, KeyTrouble, public_text

NOW = 1_750_000_000.0


@pytest.fixture
def folder(tmp_path):
    return DkimKeyFolder(tmp_path / "var")


def make(folder, selector="e1", algorithm="ed25519-sha256", domain="example.org"):
    with folder.changing():
        return folder.make(domain, selector, algorithm, NOW)


def test_a_key_is_read_as_it_was_made(folder):
    made = [make(folder, "r1", "rsa-sha256"), make(folder)]
    keys, troubles = folder.read()
    assert (sorted(keys, key=lambda key: key.selector), troubles) == ([made[1], made[0]], [])
    for key in keys:
        assert public_text(folder.private(key)) == key.public
    assert folder.private(made[0]).key_size == 2048


def test_nobody_else_can_read_them(folder):
    make(folder)
    for path in (folder.path, *folder.path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_without_keys_there_is_nothing(folder):
    assert folder.read() == ([], [])
    assert folder.names("example.org") == set()
    assert not folder.path.exists()  # who only looks makes nothing


def test_every_change_changes_the_stamp(folder):
    stamps = [folder.stamp()]
    key = make(folder)
    stamps.append(folder.stamp())
    os.utime(folder.path / "example.org", ns=(1, 1))  # as if it had been long ago
    stamps.append(folder.stamp())
    with folder.changing():
        folder.save(key.activated(NOW))
    stamps.append(folder.stamp())
    with folder.changing():
        folder.remove(key)
    stamps.append(folder.stamp())
    assert len(set(stamps)) >= 4
    assert folder.read() == ([], [])


def test_a_life_is_kept(folder):
    key = make(folder).activated(NOW).retiring(NOW + 1.5, 5.0)
    with folder.changing():
        folder.save_all([key])
    assert folder.read() == ([key], [])
    assert isinstance(folder.private(key), KeyTrouble)  # it never signs again


def test_a_private_half_alone_is_no_key_and_keeps_its_name(folder):
    make(folder)
    (folder.path / "example.org" / "e1.json").unlink()
    assert folder.read() == ([], [])
    assert folder.names("example.org") == {"e1"}


def test_what_a_crash_left_while_saving_is_in_nobodys_way(folder):
    key = make(folder)
    (folder.path / "example.org" / "e1.json.new").write_text("half")
    with folder.changing():
        folder.save(key.activated(NOW))
    assert folder.read() == ([key.activated(NOW)], [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda about: "nonsense", "not JSON"),
        (lambda about: "[]", "not an object"),
        (lambda about: json.dumps(about | {"version": 2}), "format 2"),
        (lambda about: json.dumps(about | {"version": "x"}), "version"),
        (lambda about: json.dumps(about | {"algorithm": "rsa-sha1"}), "algorithm"),
        (lambda about: json.dumps(about | {"public": 5}), "public"),
        (lambda about: json.dumps(about | {"created_at": -1}), "created_at"),
        (lambda about: json.dumps(about | {"created_at": 1e300}), "created_at"),
    ],
)
def test_a_damaged_key_is_told_and_harms_no_other(folder, change, reason):
    other = make(folder, "e2")
    make(folder)
    path = folder.path / "example.org" / "e1.json"
    path.write_text(change(json.loads(path.read_text())))
    keys, (trouble,) = folder.read()
    assert keys == [other]
    assert trouble.path == path
    assert reason in trouble.reason


def test_a_secret_half_of_another_key_is_not_used(folder):
    one, other = make(folder), make(folder, "e2")
    here = folder.path / "example.org"
    (here / "e1.private").write_bytes((here / "e2.private").read_bytes())
    assert "other half" in folder.private(one).reason
    (here / "e2.private").write_text("nonsense")
    assert "no private key" in folder.private(other).reason
    (here / "e2.private").unlink()
    (here / "e2.private").symlink_to(here / "e1.private")
    assert isinstance(folder.private(other), KeyTrouble)


def test_names_never_leave_the_folder(folder):
    for domain, selector in (("../x", "s"), ("example.org", "../../x"), ("example.org", "a/b"), ("", "s"), (".", "s")):
        with pytest.raises(ValueError, match="no name"):
            folder.private(DkimKey(domain, selector, "rsa-sha256", "", NOW))
    folder.path.mkdir(parents=True)
    (folder.path / "not a domain").mkdir()
    (folder.path / "lock").touch()
    assert folder.read() == ([], [])
