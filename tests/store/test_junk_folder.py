"""Junk in its folder: made as Maildir++ wants it, durable as a mailbox, never outside, and never lost."""

import os
from dataclasses import replace

import pytest

from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import QueueIds
from mailserver.ports import Filed, StoredContent
from mailserver.store.files import Files
from mailserver.store.maildir import Maildirs, sweep
from mailserver.store.paths import is_subfolder, maildir_path, subfolder_path
from mailserver.store.refile import file_stored
from mailserver.store.subscriptions import subscribe
from tests.fakes.directory import box
from tests.store.test_commit import CONTENT, RECEIVED, Disk, acceptance, filed_octets, large, queue_id

HOST = "mail.example.org"
NOW = 1_750_000_000.0


def junk(*local, to=("alice",), **more):
    """An acceptance whose copies for `to` go to the folder."""
    given = acceptance(*local, **more)
    copies = tuple(replace(one, folder="Junk") if one.mailbox.local_part in to else one for one in given.local)
    return replace(given, local=copies, envelope=replace(given.envelope, is_junk=True))


def inside(root, name, folder=".Junk/new"):
    path = root / "maildirs" / "example.org" / name / folder
    return [one.read_bytes() for one in sorted(path.iterdir())] if path.is_dir() else []


@pytest.mark.parametrize("is_large", [False, True])
def test_each_copy_goes_where_its_owner_wants_it(tmp_path, is_large):
    disk = Disk(tmp_path)
    given = junk("alice", "bob")
    plain = acceptance("alice", "bob")
    content = large(disk, plain) if is_large else CONTENT
    (result,) = disk.writer.commit([(given, content)])
    assert result == Filed(given.local)
    assert inside(tmp_path, "alice") == [filed_octets("alice")]
    assert disk.new("alice") == [] and disk.new("bob") == [filed_octets("bob")]
    assert inside(tmp_path, "bob") == []
    assert disk.leftovers() == []
    (name,) = os.listdir(tmp_path / "maildirs/example.org/alice/.Junk/new")
    assert result.files[0] == name.partition(",")[0]


def test_the_folder_is_a_maildir_that_other_programs_know_and_show(tmp_path):
    disk = Disk(tmp_path)
    disk.writer.commit([(junk("alice"), CONTENT)])
    maildir = tmp_path / "maildirs" / "example.org" / "alice"
    assert sorted(os.listdir(maildir)) == [".Junk", "cur", "new", "subscriptions", "tmp"]
    assert sorted(os.listdir(maildir / ".Junk")) == ["cur", "maildirfolder", "new", "tmp"]
    assert (maildir / "subscriptions").read_bytes() == b"V\t2\n\nJunk\n"
    assert {path.stat().st_mode & 0o777 for path in maildir.rglob("*") if path.is_dir()} == {0o700}


def test_the_folder_and_its_names_are_durable_before_the_250(tmp_path):
    disk = Disk(tmp_path)
    disk.writer.commit([(junk("alice"), CONTENT)])
    maildir = str(tmp_path / "maildirs" / "example.org" / "alice")
    synced = [path for operation, path in disk.files.log if operation == "sync_folder"]
    assert maildir in synced and f"{maildir}/.Junk" in synced and synced[-1] == f"{maildir}/.Junk/new"
    steps = disk.files.log
    moved = next(i for i, (operation, path) in enumerate(steps) if operation == "rename" and "/.Junk/new/" in path)
    assert steps.index(("sync_folder", f"{maildir}/.Junk")) < moved
    # The first attempt to create it finds that there is no folder.
    written = [operation for operation, path in steps if "/.Junk/tmp/" in path]
    assert written == ["create", "create", "write", "sync", "close"]


@pytest.mark.parametrize(
    ("operation", "part"), [("create", "/.Junk/tmp/"), ("sync", "/.Junk/tmp/"), ("rename", "/.Junk/new/")]
)
@pytest.mark.parametrize("is_large", [False, True])
def test_a_folder_in_trouble_is_spooled_with_the_verdict(tmp_path, operation, part, is_large):
    disk = Disk(tmp_path, (operation, part), times=3)
    given = junk("alice", "bob")
    content = large(disk, acceptance("alice", "bob")) if is_large else CONTENT
    (result,) = disk.writer.commit([(given, content)])
    if is_large and operation != "rename":
        assert result == Filed(given.local)  # it was in the inbox's own tmp/ already
        return
    assert [one.mailbox.local_part for one in result.filed] == ["bob"]
    assert disk.new("bob") == [filed_octets("bob")] and inside(tmp_path, "alice") == []
    envelope, octets = disk.spool()[queue_id(1)]
    assert envelope.is_junk and octets == RECEIVED + CONTENT
    assert disk.leftovers() == []


def test_what_waited_is_filed_in_the_folder_once(tmp_path):
    queued = QueueIds(lambda: NOW - 10)()
    (tmp_path / queued).write_bytes(CONTENT)
    content = StoredContent(tmp_path / queued, 0, len(CONTENT))
    for _ in range(2):  # the second time as after a crash between filing and taking note of it
        maildirs = Maildirs(Files(), tmp_path / "maildirs", HOST, lambda: NOW, started_at=NOW)
        file_stored(Files(), maildirs, box("alice@example.org"), b"", content, "Junk")
    assert inside(tmp_path, "alice") == [CONTENT.replace(b"\r", b"")]


def test_the_sweep_cleans_the_folder_too(tmp_path):
    maildirs = Maildirs(Files(), tmp_path, HOST, lambda: NOW)
    for folder in ("", "Junk"):
        _path, descriptor = maildirs.create(maildirs.folder(box("alice@example.org"), folder), maildirs.name(1, 1))
        os.close(descriptor)
    assert sweep(tmp_path, HOST, NOW) == 2
    assert not list(tmp_path.rglob("tmp/*"))


@pytest.mark.parametrize(
    "name", ["Junk", "", ".", "..", "../../x", "a/b", "x\0y", "new", "cur", "tmp", "a.b", "ä" * 300]
)
def test_no_name_of_a_folder_leaves_the_maildir(tmp_path, name):
    maildir = str(maildir_path(tmp_path, box("alice@example.org")))
    path = subfolder_path(maildir, name)
    inner = path.removeprefix(maildir + "/")
    assert path.startswith(maildir + "/.") and "/" not in inner and "\0" not in inner
    assert inner not in (".", "..", "new", "cur", "tmp") and "." not in inner[1:]
    assert len(os.fsencode(inner)) <= 255 or name.startswith("ä")
    assert is_subfolder(path) and not is_subfolder(maildir)


# --- subscriptions ----------------------------------------------------------------------------------------------------

SUBSCRIPTIONS = [
    (None, b"V\t2\n\nJunk\n"),
    (b"V\t2\n\nSent\n", b"V\t2\n\nSent\nJunk\n"),
    (b"V\t2\n\nSent", b"V\t2\n\nSent\nJunk\n"),
    (b"Sent\nJunk\n", b"Sent\nJunk\n"),  # an older Dovecot's
    (b"V\t2\n\nJunk/2024\n", b"V\t2\n\nJunk/2024\nJunk\n"),
    (b"", b"V\t2\n\nJunk\n"),
]


@pytest.mark.parametrize(("before", "after"), SUBSCRIPTIONS)
def test_the_folder_is_subscribed_once(tmp_path, before, after):
    path = tmp_path / "subscriptions"
    if before is not None:
        path.write_bytes(before)
    for _ in range(2):
        subscribe(Files(), str(tmp_path), "Junk")
    assert path.read_bytes() == after
    assert os.listdir(tmp_path) == ["subscriptions"]


def test_a_subscription_that_cannot_be_made_is_left(tmp_path):
    path = tmp_path / "subscriptions"
    path.write_bytes(b"V\t2\n\nSent\n")
    (tmp_path / "subscriptions.lock").touch()  # Dovecot is at it
    subscribe(Files(), str(tmp_path), "Junk")
    assert path.read_bytes() == b"V\t2\n\nSent\n"
    (tmp_path / "subscriptions.lock").unlink()
    path.unlink()
    path.symlink_to("/etc/hostname")
    subscribe(Files(), str(tmp_path), "Junk")
    assert path.is_symlink()
    path.unlink()
    os.mkfifo(path)
    subscribe(Files(), str(tmp_path), "Junk")
    subscribe(Files(), str(tmp_path / "nowhere"), "Junk")


def test_who_unsubscribed_it_is_left_alone(tmp_path):
    disk = Disk(tmp_path)
    disk.writer.commit([(junk("alice"), CONTENT)])
    subscriptions = tmp_path / "maildirs/example.org/alice/subscriptions"
    subscriptions.write_bytes(b"V\t2\n\n")
    disk.writer.commit([(junk("alice", number=2), CONTENT)])
    assert subscriptions.read_bytes() == b"V\t2\n\n"
    assert len(inside(tmp_path, "alice")) == 2


def test_without_junk_nothing_of_it_is_made(tmp_path):
    disk = Disk(tmp_path)
    given = acceptance("alice")
    disk.writer.commit([(replace(given, envelope=Envelope(None, given.envelope.recipients)), CONTENT)])
    assert sorted(os.listdir(tmp_path / "maildirs/example.org/alice")) == ["cur", "new", "tmp"]
