"""Backups on a real disk: what is in one, what is linked, what changes meanwhile, and what a failure leaves."""

import errno
import gc
import json
import os
import random
import sqlite3
import stat

import pytest

from mailserver.store import backup_walk
from mailserver.store import restore as restore_module
from mailserver.store.backup import Wanted, make_backup
from mailserver.store.backup_copy import Copier
from mailserver.store.backup_format import (
    BackupTrouble,
    Entry,
    Manifest,
    backup_name,
    backups_in,
    decode,
    encode,
    read_manifest,
)
from mailserver.store.files import Files
from mailserver.store.restore import (
    Places,
    damage_of,
    letters_named,
    occupied,
    restore_all,
    restore_mailbox,
)
from tests.faults.disk import Fault, Killed, NoSync, WatchedDisk

NOW = 1_764_000_000.0
FIRST, SECOND = "0000000000001", "0000000000002"
LETTER = b"Message-ID: <one@example.net>\nSubject: hello\n\nIt works.\n"


class House:
    """A server's folders, with a few letters and messages."""

    def __init__(self, root):
        self.root = root
        self.maildirs, self.state = root / "maildirs", root / "var"
        self.accounts, self.config = root / "etc" / "accounts.toml", root / "etc" / "mailserver.toml"
        self.backups = root / "backups"
        self.alice = self.maildirs / "example.org" / "alice"
        for part in ("new", "cur", "tmp", ".Junk/new", ".Junk/cur", ".Junk/tmp"):
            (self.alice / part).mkdir(parents=True)
        for part in ("messages", "states", "tmp"):
            (self.state / "queue" / part).mkdir(parents=True)
        self.accounts.parent.mkdir()
        self.accounts.write_text("[accounts]\n")
        self.config.write_text('hostname = "mail.example.org"\n')
        (self.state / "dkim").mkdir()
        (self.state / "dkim" / "example.org.key").write_text("secret")
        (self.state / "suppression.json").write_text("{}")
        (self.state / "lock").write_text("process 1")
        self.letter("new/1.M1P1Q1.host,S=56,W=60")
        self.letter("cur/2.M1P1Q2.host,S=56,W=60:2,S")
        self.letter(".Junk/cur/3.M1P1Q3.host:2,FS")
        (self.alice / "mailserver-index").write_text("mailserver-index 1\n")
        (self.alice / "tmp" / "half").write_text("half")
        self.message(FIRST, "one", state='{"version": 1}')
        self.message(SECOND, "two")
        journal = sqlite3.connect(self.state / "journal.sqlite3")
        journal.execute("CREATE TABLE event (word TEXT)")
        journal.execute("INSERT INTO event VALUES ('filed')")
        journal.commit()
        journal.close()

    def letter(self, name, octets=LETTER):
        (self.alice / name).write_bytes(octets)

    def message(self, queue_id, text, state=None):
        (self.state / "queue" / "messages" / queue_id).write_text(text)
        if state is not None:
            (self.state / "queue" / "states" / queue_id).write_text(state)

    def backup(self, now=NOW, files=None, keep=0, **changes):
        wanted = {
            "hostname": "mail.example.org",
            "release": "1",
            "maildirs": self.maildirs,
            "state": self.state,
            "accounts": self.accounts,
            "configuration": (self.config, self.config.read_bytes()),
        } | changes
        return make_backup(Wanted(**wanted), self.backups, now, keep=keep, files=files or NoSync())

    def places(self, root):
        return Places(root / "maildirs", root / "var", root / "etc" / "accounts.toml")


@pytest.fixture
def house(tmp_path):
    return House(tmp_path / "a")


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


IN_BACKUP = {
    "accounts/accounts.toml",
    "configuration/mailserver.toml",
    "maildirs/example.org/alice/.Junk/cur/3.M1P1Q3.host:2,FS",
    "maildirs/example.org/alice/cur/2.M1P1Q2.host,S=56,W=60:2,S",
    "maildirs/example.org/alice/mailserver-index",
    "maildirs/example.org/alice/new/1.M1P1Q1.host,S=56,W=60",
    "manifest.json",
    f"queue/messages/{FIRST}",
    f"queue/messages/{SECOND}",
    f"queue/states/{FIRST}",
    "state/dkim/example.org.key",
    "state/journal.sqlite3",
    "state/suppression.json",
}


# --- what is in it ----------------------------------------------------------------------------------------------------


def test_everything_is_in_it_and_can_be_read_with_any_tool(house):
    made = house.backup()
    assert made.folder == house.backups / backup_name(NOW)
    assert (made.letters, made.queued, made.linked) == (3, 2, 0)
    found = tree(made.folder)
    assert set(found) == IN_BACKUP
    assert found["maildirs/example.org/alice/new/1.M1P1Q1.host,S=56,W=60"] == LETTER
    assert json.loads(found["manifest.json"])["version"] == 1
    assert not list(damage_of(made.folder, read_manifest(made.folder)))
    with sqlite3.connect(made.folder / "state" / "journal.sqlite3") as journal:
        assert journal.execute("SELECT word FROM event").fetchall() == [("filed",)]
    for path in (made.folder, *made.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_time_of_a_letter_is_kept(house):
    os.utime(house.alice / "new/1.M1P1Q1.host,S=56,W=60", (1_000_000_000, 1_000_000_000))
    made = house.backup()
    copy = made.folder / "maildirs/example.org/alice/new/1.M1P1Q1.host,S=56,W=60"
    assert copy.stat().st_mtime == 1_000_000_000


def test_the_journal_may_be_left_out_and_a_damaged_one_is_no_reason_to_have_no_backup(house):
    assert "state/journal.sqlite3" not in tree(house.backup(with_journal=False).folder)
    (house.state / "journal.sqlite3").write_bytes(b"not a database" * 1000)
    made = house.backup(NOW + 1)
    assert "state/journal.sqlite3" not in tree(made.folder)
    assert any("journal.sqlite3 cannot be read" in remark for remark in made.remarks)


def test_files_that_the_configuration_names_come_along(house):
    key = house.root / "etc" / "key.pem"
    key.write_text("key")
    named = [
        ("tls.private_key", key),
        ("relay.ca_file", house.root / "missing"),
        ("x", house.state / "suppression.json"),
    ]
    made = house.backup(named=named)
    assert tree(made.folder)["configuration/tls.private_key/key.pem"] == b"key"
    assert "configuration/x/suppression.json" not in tree(made.folder)
    assert any("missing cannot be read" in remark for remark in made.remarks)


def test_maildirs_accounts_and_backups_within_the_state_folder_are_not_taken_twice(house):
    inner = house.state / "maildirs"
    house.maildirs.rename(inner)
    accounts = house.state / "accounts.toml"
    house.accounts.rename(accounts)
    house.backups = house.state / "backups"
    for number in range(2):
        made = house.backup(NOW + number, maildirs=inner, accounts=accounts)
        assert set(tree(made.folder)) == IN_BACKUP


def test_a_backup_within_the_maildirs_is_refused(house):
    house.backups = house.maildirs / "backups"
    with pytest.raises(BackupTrouble, match=r"storage\.maildirs"):
        house.backup()
    house.backups = house.root / "b" / backup_name(NOW)
    with pytest.raises(BackupTrouble, match="itself a backup"):
        house.backup()


def test_folders_of_other_programs_come_along(house):
    (house.alice / "sieve" / "new").mkdir(parents=True)
    (house.alice / "sieve" / "new" / "rules").write_text("keep;")
    (house.alice / ".Junk" / "dovecot-uidlist").write_text("3 V1")
    (house.alice / "dovecot-uidlist.lock").write_text("")
    made = house.backup()
    more = {"maildirs/example.org/alice/sieve/new/rules", "maildirs/example.org/alice/.Junk/dovecot-uidlist"}
    assert set(tree(made.folder)) == IN_BACKUP | more
    other = house.places(house.root / "other")
    done = restore_all(made.folder, read_manifest(made.folder), other, NoSync())
    assert done.letters == 3
    assert (other.maildirs / "example.org/alice/sieve/new/rules").read_text() == "keep;"


def test_links_are_not_followed_but_a_mailbox_on_another_disk_is(house):
    elsewhere = house.root / "elsewhere"
    house.alice.rename(elsewhere)
    house.alice.symlink_to(elsewhere)
    (house.alice / "cur" / "9.link:2,").symlink_to("/etc/passwd")
    (house.state / "other").symlink_to("/etc")
    made = house.backup()
    assert set(tree(made.folder)) == IN_BACKUP
    assert len(made.remarks) >= 2


def test_accounts_behind_a_link_come_along_and_missing_ones_are_told(house):
    elsewhere = house.root / "elsewhere.toml"
    house.accounts.rename(elsewhere)
    assert any("accounts.toml is not there" in remark for remark in house.backup().remarks)
    house.accounts.symlink_to(elsewhere)
    made = house.backup(NOW + 1)
    assert set(tree(made.folder)) == IN_BACKUP
    assert made.remarks == ()
    elsewhere.unlink()
    restore_all(made.folder, read_manifest(made.folder), house.places(house.root), NoSync())
    assert house.accounts.is_symlink()
    assert elsewhere.read_text() == "[accounts]\n"


def test_what_is_left_out_is_told_once_and_not_looked_for_again(house, monkeypatch):
    (house.alice / "cur" / "9.link:2,").symlink_to("/etc/passwd")
    os.mkfifo(house.alice / "new" / "8.pipe")
    os.mkfifo(house.state / "queue" / "messages" / "0000000000003")
    listed, real = [], backup_walk.names_in
    monkeypatch.setattr(backup_walk, "names_in", lambda folder: listed.append(folder) or real(folder))
    made = house.backup()
    assert len(made.remarks) == len(set(made.remarks)) == 3
    assert listed.count(f"{house.alice}/cur") <= 3
    assert listed.count(str(house.state / "queue" / "messages")) <= 3


def test_a_backup_within_the_state_folder_under_another_name_does_not_take_itself(house):
    real = house.state / "backups"
    real.mkdir()
    house.backups = house.root / "link"
    house.backups.symlink_to(real)
    for number in range(2):
        assert set(tree(house.backup(NOW + number).folder)) == IN_BACKUP


def test_maildirs_within_the_state_folder_under_another_name_are_not_taken_twice(house):
    inner = house.state / "mail"
    house.maildirs.rename(inner)
    house.maildirs.symlink_to(inner)
    assert set(tree(house.backup().folder)) == IN_BACKUP


# --- one after the other ----------------------------------------------------------------------------------------------


def inode(path):
    return path.stat().st_ino


def test_what_the_backup_before_has_is_linked_whatever_its_flags(house):
    first = house.backup()
    (house.alice / "new/1.M1P1Q1.host,S=56,W=60").rename(house.alice / ".Junk/cur/1.M1P1Q1.host,S=56,W=60:2,RS")
    house.letter("new/4.M1P1Q4.host")
    second = house.backup(NOW + 60)
    assert second.linked == 5, "three letters and two messages"
    before = first.folder / "maildirs/example.org/alice/new/1.M1P1Q1.host,S=56,W=60"
    after = second.folder / "maildirs/example.org/alice/.Junk/cur/1.M1P1Q1.host,S=56,W=60:2,RS"
    assert inode(before) == inode(after)
    assert not list(damage_of(second.folder, read_manifest(second.folder)))
    assert before.exists(), "the one before is as it was"


def test_a_letter_that_was_changed_under_its_name_is_copied(house):
    house.backup()
    house.letter("new/1.M1P1Q1.host,S=56,W=60", b"another text\n")
    second = house.backup(NOW + 60)
    assert tree(second.folder)["maildirs/example.org/alice/new/1.M1P1Q1.host,S=56,W=60"] == b"another text\n"


def test_letters_may_be_linked_to_the_mailbox_itself(house):
    made = house.backup(links_live=True)
    assert made.linked == 5
    name = "example.org/alice/new/1.M1P1Q1.host,S=56,W=60"
    assert inode(house.maildirs / name) == inode(made.folder / "maildirs" / name)
    assert inode(house.state / "suppression.json") != inode(made.folder / "state" / "suppression.json")


def test_only_so_many_are_kept_and_leftovers_go(house):
    (house.backups / f"{backup_name(NOW - 5)}.partial" / "x").mkdir(parents=True)
    (house.backups / f"{backup_name(NOW - 9)}.removing").mkdir()
    (house.backups / "mine").mkdir()
    names = [house.backup(NOW + number).folder.name for number in range(3)]
    made = house.backup(NOW + 3, keep=2)
    assert made.removed == tuple(names[:2])
    assert sorted(path.name for path in house.backups.iterdir()) == [names[2], made.folder.name, "lock", "mine"]
    assert house.backup(NOW + 3).folder.name == f"{made.folder.name}-1"
    assert [path.name for path in backups_in(house.backups)][-1].endswith("-1")


def test_two_at_a_time_do_not_mix(house):
    class Twice(NoSync):
        def link(self, path, second):
            super().link(path, second)

        def make_new_folder(self, path):
            with pytest.raises(BackupTrouble, match="another backup"):
                house.backup(NOW + 60)
            super().make_new_folder(path)

    house.backup(files=Twice())
    assert len(backups_in(house.backups)) == 1


# --- while mail moves -------------------------------------------------------------------------------------------------


class Meanwhile(NoSync):
    """Does something to the house when the first file of a kind is written."""

    def __init__(self, words, act):
        self._words, self._act = words, act

    def create(self, path):
        if self._act is not None and self._words in path:
            act, self._act = self._act, None
            act()
        return super().create(path)


def test_a_letter_that_is_seen_meanwhile_is_in_it_once(house):
    def act():
        (house.alice / "cur/2.M1P1Q2.host,S=56,W=60:2,S").rename(house.alice / "new/2.M1P1Q2.host,S=56,W=60")
        (house.alice / ".Junk/cur/3.M1P1Q3.host:2,FS").rename(house.alice / "cur/3.M1P1Q3.host:2,FRS")

    made = house.backup(files=Meanwhile("/new/1.", act))
    bases = sorted(path.name.partition(":")[0] for path in made.folder.rglob("[0-9].M1*"))
    assert bases == ["1.M1P1Q1.host,S=56,W=60", "2.M1P1Q2.host,S=56,W=60", "3.M1P1Q3.host"]
    assert not list(damage_of(made.folder, read_manifest(made.folder)))


def test_a_letter_that_is_deleted_meanwhile_is_no_matter(house):
    made = house.backup(files=Meanwhile("/new/1.", (house.alice / "cur/2.M1P1Q2.host,S=56,W=60:2,S").unlink))
    assert made.letters == 2


def test_a_message_that_becomes_a_report_meanwhile_is_followed(house):
    def act():
        house.message("0000000000009", "a report about two")
        (house.state / "queue/messages" / SECOND).unlink()

    made = house.backup(files=Meanwhile("/messages/", act))
    assert sorted(path.name for path in (made.folder / "queue/messages").iterdir()) == [FIRST, "0000000000009"]


def test_a_message_that_is_delivered_behind_its_copy_is_not_sent_again(house):
    def act():
        house.letter("new/5.M1P1Q5.host")
        (house.state / "queue/messages" / FIRST).unlink()
        (house.state / "queue/states" / FIRST).unlink()

    made = house.backup(files=Meanwhile(f"/messages/{SECOND}", act))
    assert [path.name for path in (made.folder / "queue/messages").iterdir()] == [SECOND]
    assert not list((made.folder / "queue/states").iterdir())
    assert (made.folder / "maildirs/example.org/alice/new/5.M1P1Q5.host").exists()
    assert not list(damage_of(made.folder, read_manifest(made.folder)))


class Busy(NoSync):
    """At every listing and every copy something happens to the queue; new messages come and go besides."""

    def __init__(self, house, random, chains):
        self._house, self._random = house, random
        self._messages = house.state / "queue" / "messages"
        self._numbers = iter(range(1000, 10_000))
        # What each message has become, last first, and what it may become still.
        self.chains = {name: [name] for name in chains}
        self._left = dict.fromkeys(chains, 4)

    def create(self, path):
        self.happen()
        return super().create(path)

    def happen(self):
        name = self._random.choice(list(self.chains))
        now = self.chains[name][-1]
        if self._random.random() < 0.5 and (self._messages / now).exists():
            self._become(name, now)
        fresh = f"{next(self._numbers):013d}"
        self._house.message(fresh, "new")
        if self._random.random() < 0.7:
            (self._messages / fresh).unlink()

    def _become(self, name, now):
        if self._left[name] and self._random.random() < 0.7:
            self._left[name] -= 1
            self.chains[name].append(f"{next(self._numbers):013d}")
            self._house.message(self.chains[name][-1], f"what {now} has become")
        else:
            self.chains[name].append(f"{now}.host")
            self._house.letter(f"new/{now}.host")
        (self._messages / now).unlink()


@pytest.mark.parametrize("seed", range(20))
def test_no_message_is_missed_whatever_it_becomes_meanwhile(tmp_path, monkeypatch, seed):
    house = House(tmp_path)
    names = [f"{number:013d}" for number in range(1, 9)]
    for name in names:
        house.message(name, "a message")
    busy = Busy(house, random.Random(seed), names)
    real = backup_walk._ids

    def listed(folder):
        busy.happen()
        return real(folder)

    monkeypatch.setattr(backup_walk, "_ids", listed)
    made = house.backup(files=busy, with_journal=False)
    found = {path.name for path in (made.folder / "queue/messages").iterdir()}
    found |= {path.name for path in (made.folder / "maildirs/example.org/alice/new").iterdir()}
    for name, chain in busy.chains.items():
        assert found & set(chain), f"{name} became {chain}, and nothing of it is in the backup"
    assert not list(damage_of(made.folder, read_manifest(made.folder)))


def test_a_queue_that_changes_all_the_time_comes_to_an_end(house, monkeypatch):
    numbers = iter(range(100, 10_000))
    real = backup_walk._ids

    def changing(folder):
        found = real(folder)
        return found | {f"{next(numbers):013d}"} if folder.name == "messages" else found

    monkeypatch.setattr(backup_walk, "_ids", changing)
    assert house.backup().queued == 2


def test_an_old_name_that_a_listing_missed_is_found_by_the_next(house, monkeypatch):
    real, turns = backup_walk._letters, []

    def missing(maildir):
        found = list(real(maildir))
        turns.append(maildir)
        return iter(found[:1] if len(turns) == 1 else found)

    monkeypatch.setattr(backup_walk, "_letters", missing)
    assert house.backup().letters == 3


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_named_and_there_is_no_backup(house, monkeypatch):
    def refusing(self, source):
        if source.endswith(SECOND):
            raise BackupTrouble(f"{source} cannot be read: permission denied")
        return real(self, source)

    real = Copier._open
    monkeypatch.setattr(Copier, "_open", refusing)
    with pytest.raises(BackupTrouble, match=f"{SECOND} cannot be read"):
        house.backup()
    assert [path.name for path in house.backups.iterdir()] == ["lock"]


def test_whatever_fails_there_is_no_half_backup_under_a_final_name(tmp_path):
    """Every change of the disk fails in turn, once or for good: the final name is only on what is whole."""
    house = House(tmp_path / "a")
    (house.state / "journal.sqlite3").unlink()
    house.backups.mkdir()
    disk = WatchedDisk(house.backups)
    house.backup(files=disk)
    points = len(disk.points)
    assert points > 50
    gc.collect()
    open_before = len(os.listdir("/proc/self/fd"))
    for at in range(1, points + 1):
        code, times = (errno.ENOSPC, errno.EIO)[at % 2], (1, 1_000_000)[at // 2 % 2]
        house.backups = tmp_path / f"b{at}"
        house.backups.mkdir()
        disk = WatchedDisk(house.backups)
        disk.fail(Fault(at, code, times))
        try:
            house.backup(files=disk)
        except BackupTrouble as trouble:
            assert os.strerror(code).lower() in str(trouble)
        for path in backups_in(house.backups):
            assert not list(damage_of(path, read_manifest(path)))
    assert len(os.listdir("/proc/self/fd")) <= open_before


def test_a_process_that_is_killed_anywhere_leaves_only_what_the_next_run_removes(tmp_path):
    house = House(tmp_path / "a")
    (house.state / "journal.sqlite3").unlink()
    house.backups.mkdir()
    disk = WatchedDisk(house.backups)
    house.backup(files=disk)
    for at in range(1, len(disk.points) + 1, 6):
        house.backups = tmp_path / f"k{at}"
        house.backups.mkdir()
        disk = WatchedDisk(house.backups)
        disk.dies_at = at
        with pytest.raises(Killed):
            house.backup(files=disk)
        for path in backups_in(house.backups):
            assert not list(damage_of(path, read_manifest(path)))
        made = house.backup(NOW + 60)
        assert set(tree(made.folder)) == IN_BACKUP - {"state/journal.sqlite3"}
        assert not [path.name for path in house.backups.iterdir() if path.name.endswith((".partial", ".removing"))]


def test_every_file_and_folder_is_synced_before_the_name(house):
    house.backups.mkdir()
    disk = WatchedDisk(house.backups)
    house.backup(files=disk)
    partial = f"{backup_name(NOW)}.partial"
    steps = [(step.kind, step.path, step.file) for step in disk.log]
    renamed = next(at for at, step in enumerate(steps) if step[0] == "moved")
    made = {step.file for step in disk.log if step.kind == "made" and step.path.startswith(partial)}
    synced = {file for kind, _, file in steps[:renamed] if kind == "synced"}
    assert made <= synced
    folders = {path for kind, path, _ in steps if kind == "folder made" and path.startswith(partial)}
    assert folders <= {path for kind, path, _ in steps[:renamed] if kind == "folder synced"}
    assert ("folder synced", "", 0) in steps[renamed:]


# --- the manifest -----------------------------------------------------------------------------------------------------


def test_a_manifest_says_again_what_was_said():
    strange = os.fsdecode(b"maildirs/example.org/alice/cur/\xff\n:2,")
    manifest = Manifest(
        NOW, NOW + 1, "mail.example.org", "1", {"state": "/x"}, ("remark",), (Entry(strange, 5, 17, "0" * 64),)
    )
    assert decode(encode(manifest)) == manifest


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "a//b", "", "a", "a/\0", "state/."])
def test_a_path_that_leads_out_of_the_backup_is_damage(path):
    manifest = Manifest(NOW, NOW, "h", "1", entries=(Entry(path, 0, 0, "0" * 64),))
    with pytest.raises(BackupTrouble, match="damaged"):
        decode(encode(manifest))


@pytest.mark.parametrize("octets", [b"", b"{}", b"[]", b"null", b'{"version": 0}', b'{"version": "1"}', b"[" * 100_000])
def test_what_is_no_manifest_is_told(octets):
    with pytest.raises(BackupTrouble):
        decode(octets)


def listing(**changes):
    about = {"path": "state/x", "size": 1, "modified_ns": 1, "sha256": "0" * 64} | changes
    return {"version": 1, "began": 1.0, "ended": 2.0, "hostname": "h", "release": "1", "places": {}, "remarks": []} | {
        "files": [about]
    }


@pytest.mark.parametrize(
    "about",
    [
        listing(modified_ns=10**30),
        listing(modified_ns=-(10**30)),
        listing(modified_ns=True),
        listing(size=1 << 80),
        listing() | {"began": float("inf")},
        listing() | {"began": float("nan")},
        listing() | {"ended": -1e300},
        listing() | {"files": [listing()["files"][0]] * 2},
        listing(path="state/lock"),
        listing(path="state/control.sock"),
        listing(path="state/queue/states/0000000000001"),
    ],
)
def test_a_manifest_that_lies_is_damaged(about):
    assert decode(json.dumps(listing()).encode()).entries
    with pytest.raises(BackupTrouble, match="damaged"):
        decode(json.dumps(about).encode())


def test_a_newer_backup_is_left_alone():
    with pytest.raises(BackupTrouble, match="format 2"):
        decode(b'{"version": 2}')


# --- bringing back ----------------------------------------------------------------------------------------------------


def test_all_of_it_comes_back_elsewhere(house, tmp_path):
    made = house.backup()
    other = tmp_path / "other"
    places = house.places(other)
    assert not list(occupied(places))
    done = restore_all(made.folder, read_manifest(made.folder), places, NoSync())
    assert (done.letters, done.queued, done.there) == (3, 2, 0)
    assert tree(other / "maildirs") == {
        name: octets for name, octets in tree(house.maildirs).items() if not name.endswith("half")
    }
    assert tree(other / "var" / "queue") == tree(house.state / "queue")
    assert (other / "etc" / "accounts.toml").read_text() == "[accounts]\n"
    assert (other / "var" / "dkim" / "example.org.key").read_text() == "secret"
    assert (other / "maildirs/example.org/alice/.Junk/tmp").is_dir()
    for path in (other / "var", *(other / "var").rglob("*"), *(other / "maildirs").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert sorted(occupied(places)) == sorted([places.maildirs, places.state, places.accounts])


def test_what_is_there_stays_and_is_not_doubled(house):
    made = house.backup()
    (house.alice / "new/1.M1P1Q1.host,S=56,W=60").rename(house.alice / ".Junk/cur/1.M1P1Q1.host,S=56,W=60:2,RS")
    (house.alice / "cur/2.M1P1Q2.host,S=56,W=60:2,S").unlink()
    house.message(FIRST, "one", state='{"version": 1, "newer": true}')
    (house.state / "queue/messages" / SECOND).unlink()
    (house.state / "suppression.json").write_text("changed")
    done = restore_all(made.folder, read_manifest(made.folder), house.places(house.root), NoSync())
    assert (done.letters, done.queued, done.there) == (1, 1, 3)
    assert (house.alice / "cur/2.M1P1Q2.host,S=56,W=60:2,S").read_bytes() == LETTER
    assert not (house.alice / "new/1.M1P1Q1.host,S=56,W=60").exists()
    assert "newer" in (house.state / "queue/states" / FIRST).read_text()
    assert (house.state / "suppression.json").read_text() == "{}"


def test_a_letter_that_a_listing_missed_is_not_doubled(house, monkeypatch):
    """A program that flags it meanwhile renames it, and a listing may have neither name."""
    made = house.backup()
    real, missed = restore_module.names_in, []

    def missing(folder):
        if folder == f"{house.alice}/cur" and not missed:
            missed.append(folder)
            return []
        return real(folder)

    monkeypatch.setattr(restore_module, "names_in", missing)
    done = restore_mailbox(made.folder, read_manifest(made.folder), "example.org/alice", house.maildirs, NoSync())
    assert missed
    assert (done.letters, done.there) == (0, 3)


def test_one_mailbox_comes_back_with_its_flags(house):
    made = house.backup()
    for path in ("new/1.M1P1Q1.host,S=56,W=60", ".Junk/cur/3.M1P1Q3.host:2,FS"):
        (house.alice / path).unlink()
    done = restore_mailbox(made.folder, read_manifest(made.folder), "example.org/alice", house.maildirs, NoSync())
    assert (done.letters, done.there) == (2, 1)
    assert (house.alice / ".Junk/cur/3.M1P1Q3.host:2,FS").read_bytes() == LETTER
    again = restore_mailbox(made.folder, read_manifest(made.folder), "example.org/alice", house.maildirs, NoSync())
    assert (again.letters, again.there) == (0, 3)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("2.M1P1Q2.host,S=56,W=60:2,S", 1),
        ("2.M1P1Q2.host,S=56,W=60", 1),
        ("2.M1P1Q2.host", 1),
        ("<one@example.net>", 3),
        ("one@example.net", 3),
        ("two@example.net", 0),
        ("2.M1", 0),
    ],
)
def test_a_letter_is_found_by_its_names(house, text, count):
    made = house.backup()
    manifest = read_manifest(made.folder)
    assert len(letters_named(manifest, made.folder, text)) == count
    assert len(letters_named(manifest, made.folder, text, "example.org/alice")) == count
    assert not letters_named(manifest, made.folder, text, "example.org/bob")


def test_damage_is_named_and_never_brought_back(house):
    made = house.backup()
    manifest = read_manifest(made.folder)
    letter = made.folder / "maildirs/example.org/alice/new/1.M1P1Q1.host,S=56,W=60"
    octets = letter.read_bytes()
    letter.write_bytes(octets[:-1] + b"!")
    (made.folder / "state" / "suppression.json").unlink()
    (made.folder / "state" / "more").write_text("")
    assert [line.partition(":")[0] for line in damage_of(made.folder, manifest)] == [
        "maildirs/example.org/alice/new/1.M1P1Q1.host,S=56,W=60",
        "state/suppression.json",
        "state/more",
    ]
    (house.alice / "new/1.M1P1Q1.host,S=56,W=60").unlink()
    with pytest.raises(BackupTrouble, match="damaged"):
        restore_mailbox(made.folder, manifest, "example.org/alice", house.maildirs, NoSync())
    assert not list((house.alice / "new").iterdir())
    assert [path.name for path in (house.alice / "tmp").iterdir()] == ["half"]


def test_a_restore_that_fails_anywhere_can_be_done_again(house, tmp_path):
    made = house.backup()
    manifest = read_manifest(made.folder)
    disk = WatchedDisk(tmp_path / "count")
    restore_all(made.folder, manifest, house.places(tmp_path / "count"), disk)
    points = len(disk.points)
    expected = tree(tmp_path / "count")
    for at in range(1, points + 1, 3):
        root = tmp_path / f"r{at}"
        disk = WatchedDisk(root)
        disk.fail(Fault(at, errno.ENOSPC))
        try:
            restore_all(made.folder, manifest, house.places(root), disk)
        except BackupTrouble:
            restore_all(made.folder, manifest, house.places(root), WatchedDisk(root))
        assert tree(root) == expected


def test_letters_are_synced_before_they_are_in_place(house, tmp_path):
    made = house.backup()
    root = tmp_path / "watched"
    disk = WatchedDisk(root)
    restore_all(made.folder, read_manifest(made.folder), house.places(root), disk)
    synced = set()
    for step in disk.log:
        if step.kind == "synced":
            synced.add(step.file)
        if step.kind == "moved":
            assert step.file in synced
    moved = {step.target.rpartition("/")[0] for step in disk.log if step.kind == "moved"}
    assert moved <= {step.path for step in disk.log if step.kind == "folder synced"}
    order = [step.target for step in disk.log if step.kind == "moved" and "/queue/" in step.target]
    assert order[0].endswith(f"states/{FIRST}"), "or what was delivered would be sent again after a crash"


def test_the_door_has_what_a_backup_needs(tmp_path):
    files = Files()
    descriptor = files.create(str(tmp_path / "a"))
    files.set_time(descriptor, 5_000_000_000)
    files.close(descriptor)
    files.link(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").stat().st_mtime == 5
    files.make_new_folder(str(tmp_path / "c"))
    files.remove_folder(str(tmp_path / "c"))
    assert not (tmp_path / "c").exists()
