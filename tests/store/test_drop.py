"""The drop folder: what may lie there, what is set aside, and what a crash leaves, row by row of its table."""

import contextlib
import errno
import os
import socket
import stat
import time

import pytest

from mailserver.mail.envelope import Body, Notify, OriginalRecipient, Ret
from mailserver.store import drop as drop_module
from mailserver.store.drop import PER_LOOK, PER_OWNER, DropFolder, Look
from mailserver.store.drop_folders import make_drop_folder
from mailserver.store.drop_format import (
    DropHead,
    DropRecipient,
    NewerDrop,
    decode_drop_head,
    encode_drop,
    is_drop_name,
    new_name,
)
from mailserver.store.drop_message import Dropped, login_of
from mailserver.store.drop_write import leave_message
from mailserver.store.spool_json import Damaged

HEAD = DropHead("joe", (DropRecipient("root"),))
CONTENT = b"Subject: hi\r\n\r\nhello\r\n"
WHOLE = encode_drop(HEAD, CONTENT)


@pytest.fixture
def place(tmp_path):
    make_drop_folder(tmp_path / "drop")
    return tmp_path / "drop"


@pytest.fixture
def folder(place):
    opened = DropFolder(place, max_octets=100_000)
    yield opened
    opened.close()


def put(place, octets=WHOLE, name=None):
    """A file as a user may leave it."""
    path = place / (name or new_name())
    path.write_bytes(octets)
    return path


def aside(place):
    found = place / "set-aside"
    return sorted(found.iterdir()) if found.exists() else []


def remarks(look):
    return [(one.name, one.reason, one.is_moved) for one in look.remarks]


# --- format -----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back():
    head = DropHead(
        "",
        (
            DropRecipient("root", frozenset({Notify.NEVER})),
            DropRecipient("jürgen@far.example", frozenset(), OriginalRecipient("rfc822", "j@far.example")),
        ),
        Ret.HDRS,
        "envelope-1",
        Body.EIGHTBITMIME,
    )
    read = decode_drop_head(encode_drop(head, CONTENT))
    assert read.size_octets == len(CONTENT)
    assert encode_drop(head, CONTENT)[read.length :] == CONTENT
    assert (read.sender, read.recipients, read.ret, read.envid, read.body) == (
        head.sender,
        head.recipients,
        head.ret,
        head.envid,
        head.body,
    )


def test_names_are_recognized():
    assert is_drop_name(new_name())
    assert new_name() != new_name()
    for name in ("", "x", new_name() + "\n", "tmp." + new_name(), "../" + new_name(), new_name().upper() + "G"):
        assert not is_drop_name(name)


WRONG_HEADS = [
    b"",
    b"\n\n",
    b"mailserver-drop\n\n",
    b"mailserver-drop 0\n{}\n{}\n\n",
    b"mailserver-drop 1\n\n",
    b"mailserver-drop 1\n{}\n\n",
    b"mailserver-drop 1\n[]\n{}\n\n",
    WHOLE.replace(b'"sender": "joe"', b'"sender": 5'),
    WHOLE.replace(b'"size"', b'"uid": 0, "size"'),
    WHOLE.replace(b"7BIT", b"9BIT"),
    WHOLE.replace(b'"ret": null', b'"ret": "SOME"'),
    WHOLE.replace(b'"envid": null', b'"envid": "a\\nb"'),
    WHOLE.replace(b'"notify": []', b'"notify": [["NEVER"]]'),
    WHOLE.replace(b'"notify": []', b'"notify": ["NEVER", "SUCCESS"]'),
    WHOLE.replace(b'"orcpt": null', b'"orcpt": ["rfc822", "a\\r\\nDATA"]'),
    WHOLE.replace(b'"orcpt": null', b'"orcpt": ["a b", "c"]'),
    WHOLE.replace(b'"orcpt": null', b'"orcpt": "x"'),
    WHOLE.replace(b'"recipient": "root"', b'"recipient": null'),
    WHOLE.replace(b"joe", "jü".encode()),
]


@pytest.mark.parametrize("octets", WRONG_HEADS)
def test_a_head_that_does_not_follow_the_format_is_damaged(octets):
    with pytest.raises(Damaged):
        decode_drop_head(octets)


def test_a_newer_format_is_told_as_that():
    with pytest.raises(NewerDrop, match="format 2"):
        decode_drop_head(WHOLE.replace(b"drop 1", b"drop 2"))


# --- the folder -------------------------------------------------------------------------------------------------------


def test_the_folder_is_made_with_its_mode_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        make_drop_folder(tmp_path / "drop")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "drop").stat().st_mode) & 0o1777 == 0o1733


def test_a_folder_that_is_there_is_left_alone_and_one_that_cannot_be_made_is_no_error(tmp_path):
    (tmp_path / "drop").mkdir(0o700)
    make_drop_folder(tmp_path / "drop")
    assert stat.S_IMODE((tmp_path / "drop").stat().st_mode) == 0o700
    make_drop_folder(tmp_path / "none" / "drop")


def test_a_folder_open_to_all_is_narrowed(place, folder):
    place.chmod(0o777)
    folder.look()
    assert stat.S_IMODE(place.stat().st_mode) == 0o1733


def test_a_missing_folder_is_told_once_and_counts_when_it_is_there(tmp_path):
    folder = DropFolder(tmp_path / "drop", max_octets=1000)
    trouble = folder.look().trouble
    assert "no such file or directory" in trouble
    assert f"install -d -m 3733 -o {login_of(os.geteuid())} {tmp_path}/drop" in trouble
    assert folder.look().trouble == ""
    make_drop_folder(tmp_path / "drop")
    path = put(tmp_path / "drop")
    assert folder.look().names == [path.name]
    folder.close()


def test_a_folder_that_was_replaced_is_looked_at_anew(place, folder):
    assert folder.look().names == []
    place.rename(place.with_name("old"))
    make_drop_folder(place)
    path = put(place)
    assert folder.look().names == [path.name]


def test_a_link_to_a_folder_is_none(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "drop").symlink_to(tmp_path / "real")
    assert DropFolder(tmp_path / "drop", max_octets=1).look().trouble


def test_two_servers_do_not_pick_up_in_one_folder(place, folder):
    folder.look()
    assert "another server picks up there" in DropFolder(place, max_octets=1).look().trouble


def test_an_unchanged_folder_is_not_listed_again_and_a_change_is_seen(place, folder, monkeypatch):
    os.utime(place, (1, 1))
    folder.look()
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", None)
        assert folder.look().names == []
    path = put(place)
    assert folder.look().names == [path.name]


# --- leaving and picking up -------------------------------------------------------------------------------------------


def test_a_message_is_left_picked_up_and_removed(place, folder):
    name = leave_message(place, WHOLE)
    assert os.listdir(place) == [name]
    assert folder.look().names == [name]
    dropped = folder.open(name)
    assert isinstance(dropped, Dropped)
    assert dropped.uid == os.getuid()
    assert dropped.head.sender == "joe"
    assert dropped.next_piece(5) + dropped.next_piece() == CONTENT
    assert dropped.next_piece() == b""
    assert folder.remove(dropped) == ""
    dropped.close()
    assert os.listdir(place) == []
    assert folder.look().names == []


def test_the_mode_lets_the_server_read_whatever_the_umask(place):
    before = os.umask(0o777)
    try:
        with_group = leave_message(place, WHOLE)
        place.chmod(0o1733)
        without = leave_message(place, WHOLE)
    finally:
        os.umask(before)
    assert stat.S_IMODE((place / with_group).stat().st_mode) in (0o640, 0o644)
    assert stat.S_IMODE((place / without).stat().st_mode) == 0o644


@pytest.mark.parametrize("step", ["writev", "fchmod", "fsync", "rename"])
def test_nothing_is_left_behind_when_a_step_fails(place, monkeypatch, step):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises(OSError, match="No space"):
            leave_message(place, WHOLE)
    assert os.listdir(place) == []


@pytest.mark.parametrize("is_picked_up", [False, True])
def test_a_name_that_cannot_be_synced_is_taken_back_if_it_is_still_there(place, monkeypatch, is_picked_up):
    """Who is told "sent" must not lose it to a power cut; what was picked up already is safe elsewhere."""
    real, calls = os.fsync, []

    def second_fails(descriptor):
        calls.append(descriptor)
        if len(calls) > 1:
            if is_picked_up:
                os.unlink(place / os.listdir(place)[0])
            raise OSError(5, "Input/output error")
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", second_fails)
        if is_picked_up:
            assert leave_message(place, WHOLE)
        else:
            with pytest.raises(OSError, match="Input/output"):
                leave_message(place, WHOLE)
    assert os.listdir(place) == []


# --- rows of the table ------------------------------------------------------------------------------------------------


def test_half_written_files_wait_and_are_swept_after_36_hours(place, folder, monkeypatch):
    path = put(place, WHOLE[:30], name=f"tmp.{new_name()}")
    assert folder.look().names == []
    assert path.exists()
    later = time.time() + 37 * 3600
    with monkeypatch.context() as patched:
        patched.setattr(drop_module.time, "time", lambda: later)
        folder.close()
        folder.look()
    assert not path.exists()


def test_after_a_kill_between_commit_and_removal_it_is_there_again(place, folder):
    name = leave_message(place, WHOLE)
    folder.look()
    folder.open(name).close()
    folder.close()
    again = DropFolder(place, max_octets=100_000)
    assert again.look().names == [name]
    again.close()


def test_what_cannot_be_removed_is_not_handed_out_again_and_goes_when_it_can(place, folder, monkeypatch):
    name = leave_message(place, WHOLE)
    folder.look()
    dropped = folder.open(name)

    def fail(*arguments, **options):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", fail)
        assert folder.remove(dropped) == "Read-only file system"
        assert folder.look().names == []
    dropped.close()
    assert folder.look().names == []
    assert os.listdir(place) == []


def test_another_file_under_the_name_of_one_that_could_not_be_removed_stays(place, folder, monkeypatch):
    name = leave_message(place, WHOLE)
    folder.look()
    dropped = folder.open(name)
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", lambda *arguments, **options: (_ for _ in ()).throw(OSError(30, "ro")))
        folder.remove(dropped)
    dropped.close()
    (place / name).unlink()
    put(place, name=name)
    assert folder.look().names == [name]


def test_a_newer_format_is_left_and_told_once(place, folder):
    path = put(place, WHOLE.replace(b"drop 1", b"drop 7"))
    assert folder.look().names == [path.name]
    [(name, reason, is_moved)] = remarks(folder.open(path.name))
    assert (name, is_moved) == (path.name, False)
    assert "format 7" in reason
    look = folder.look()
    assert look.names == []
    assert look.remarks == []
    assert path.exists()


def test_a_folder_is_left_and_told_once(place, folder):
    (place / new_name()).mkdir()
    assert [is_moved for _, _, is_moved in remarks(folder.look())] == [False]
    assert remarks(folder.look()) == []


class _Mounted:
    """What a user's own FUSE mount in the folder looks like to us: there, and not to be looked at."""

    def __init__(self, entry):
        self.name, self.inode = entry.name, entry.inode

    def stat(self, *, follow_symlinks=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_what_cannot_even_be_looked_at_stops_nobody_elses_mail(place, folder, monkeypatch):
    """A local user mounts a file system of his own on a folder that he made in the drop folder."""
    (place / "mount").mkdir()
    scandir = os.scandir

    @contextlib.contextmanager
    def scanned(path):
        with scandir(path) as entries:
            yield [_Mounted(entry) if entry.name == "mount" else entry for entry in entries]

    monkeypatch.setattr(drop_module.os, "scandir", scanned)
    message = put(place)
    look = folder.look()
    assert not look.trouble and look.names == [message.name]
    assert remarks(look) == [("mount", "it cannot be looked at: Permission denied", False)]
    assert folder.look().remarks == []


def test_an_unreadable_file_is_left_told_once_and_taken_when_it_becomes_readable(place, folder, monkeypatch):
    path = put(place)
    real = os.open

    def denied(name, *arguments, **options):
        if name == path.name:
            raise PermissionError(13, "Permission denied")
        return real(name, *arguments, **options)

    folder.look()
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", denied)
        [(_, reason, is_moved)] = remarks(folder.open(path.name))
    assert "cannot be read" in reason
    assert not is_moved
    assert folder.look().names == []
    time.sleep(0.02)  # the file system's clock ticks every few milliseconds
    path.chmod(0o640)
    folder.close()
    assert folder.look().names == [path.name]


def symlink(place, outside):
    (place / new_name()).symlink_to(outside)


def hard_link(place, outside):
    os.link(outside, place / new_name())


def fifo(place, outside):
    os.mkfifo(place / new_name())


def unix_socket(place, outside):
    here = os.getcwd()
    os.chdir(place)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(new_name())
    finally:
        os.chdir(here)


def another_name(place, outside):
    put(place, name="hello")


def a_name_with_controls(place, outside):
    put(place, name="a\nb\x1b[2J")


@pytest.mark.parametrize("make", [symlink, hard_link, fifo, unix_socket, another_name, a_name_with_controls])
def test_what_is_no_message_is_set_aside_unread(place, folder, tmp_path, make):
    outside = tmp_path / "outside"
    outside.write_bytes(WHOLE)
    make(place, outside)
    look = folder.look()
    assert look.names == []
    assert [is_moved for _, _, is_moved in remarks(look)] == [True]
    assert len(aside(place)) == 1
    assert outside.read_bytes() == WHOLE
    assert os.listdir(place) == ["set-aside"]
    assert folder.look().remarks == []


@pytest.mark.parametrize("make", [symlink, hard_link, fifo, unix_socket])
def test_what_becomes_no_message_between_looking_and_opening_is_set_aside_too(place, folder, tmp_path, make):
    outside = tmp_path / "outside"
    outside.write_bytes(WHOLE)
    path = put(place)
    assert folder.look().names == [path.name]
    path.unlink()
    make(place, outside)
    [made] = list(place.iterdir())
    made.rename(path)
    found = folder.open(path.name)
    assert isinstance(found, Look)
    assert [is_moved for _, _, is_moved in remarks(found)] == [True]


def test_what_is_gone_between_looking_and_opening_is_nothing(place, folder):
    path = put(place)
    folder.look()
    path.unlink()
    assert folder.open(path.name) == Look()


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "it does not begin like a dropped message"),
        (b"hello", "it does not begin like a dropped message"),
        (b"\0" * 50_000, "it does not begin like a dropped message"),
        (WHOLE[:40], "the first part does not end"),
        (WHOLE[:-3], "it is not as long as it says"),
        (WHOLE + b"x", "it is not as long as it says"),
    ],
)
def test_a_foreign_or_damaged_file_is_set_aside(place, folder, octets, reason):
    path = put(place, octets)
    folder.look()
    assert [(why, is_moved) for _, why, is_moved in remarks(folder.open(path.name))] == [(reason, True)]
    assert len(aside(place)) == 1


def test_a_file_that_is_too_large_is_set_aside_unread(place, folder):
    path = put(place, b"")
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    folder.look()
    [(_, reason, is_moved)] = remarks(folder.open(path.name))
    assert "more than max_message_size allows" in reason
    assert is_moved


def test_the_place_for_what_is_set_aside_cannot_be_taken_by_others(place, folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (place / "set-aside").symlink_to(tmp_path / "elsewhere")
    (place / "x").write_bytes(b"")
    folder.look()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (place / "set-aside").is_dir()
    assert not (place / "set-aside").is_symlink()
    assert len(aside(place)) == 1


def test_a_file_that_shrinks_while_it_is_read_is_trouble_and_not_a_short_message(place, folder):
    path = put(place)
    folder.look()
    dropped = folder.open(path.name)
    with path.open("r+b") as file:
        file.truncate(dropped.head.length)
    with pytest.raises(OSError, match="shorter"):
        dropped.next_piece()
    dropped.close()


# --- many -------------------------------------------------------------------------------------------------------------


def owned_by(monkeypatch, uids):
    """Names begin with the index of their owner; as if so many users had left them."""

    class Entry:
        def __init__(self, entry):
            self.name, self._entry = entry.name, entry

        def stat(self, *, follow_symlinks):
            status = self._entry.stat(follow_symlinks=follow_symlinks)
            return os.stat_result((*status[:4], uids(self.name), *status[5:10]), {"st_ctime_ns": status.st_ctime_ns})

    scandir = os.scandir

    class Entries:
        def __init__(self, folder):
            self._entries = scandir(folder)

        def __enter__(self):
            return (Entry(entry) for entry in self._entries)

        def __exit__(self, *details):
            self._entries.close()

    monkeypatch.setattr(os, "scandir", Entries)


def test_one_user_with_many_messages_does_not_keep_others_waiting(place, folder, monkeypatch):
    for number in range(PER_OWNER * 3):
        put(place, name=f"{1000 + number:016d}.{'a' * 32}")
    late = put(place, name=f"{9_000_000:016d}.{'b' * 32}")
    owned_by(monkeypatch, lambda name: 1001 if name.endswith("b") else 1000)
    names = folder.look().names
    assert len(names) == PER_OWNER + 1
    assert late.name in names[:2]
    assert sorted(names[2:]) == names[2:], "the oldest first"


def test_one_look_hands_out_a_bounded_number(place, folder, monkeypatch):
    for number in range(PER_LOOK + 50):
        put(place, name=f"{number:016d}.{'a' * 32}")
    owned_by(monkeypatch, lambda name: int(name[:16]) % 40)
    assert len(folder.look().names) == PER_LOOK


def test_many_oddities_are_one_line_beyond_the_first(place, folder):
    for number in range(drop_module.MAX_REMARKS + 7):
        (place / f"odd{number}").write_bytes(b"")
    look = folder.look()
    assert len(look.remarks) == drop_module.MAX_REMARKS
    assert look.hidden_remarks == 7
    assert len(aside(place)) == drop_module.MAX_REMARKS + 7
