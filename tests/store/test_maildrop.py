"""The snapshot of a Maildir: what is listed, what stays when others work in the folder, what is removed."""

import errno
import os
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.ports import MessageGone, StorageTrouble
from mailserver.store.files import Files
from mailserver.store.maildir_names import build_name
from mailserver.store.maildrop import PIECE_OCTETS, WHOLE_OCTETS, LargeFile, open_snapshot
from mailserver.store.measure import BLOCK_OCTETS, wire_octets
from mailserver.wire.pop3_content import encode_whole
from tests.fakes.disk import FaultyFiles


@pytest.fixture
def maildir(tmp_path):
    folder = tmp_path / "alice"
    for place in ("tmp", "new", "cur"):
        (folder / place).mkdir(parents=True)
    return folder


def put(maildir, name, content=b"Subject: x\n\nhello\n", place="new"):
    (maildir / place / name).write_bytes(content)
    return name


def ours(number, content=b"Subject: x\n\nhello\n", seconds=1_750_000_000):
    wire = len(content) + content.count(b"\n")
    return build_name(seconds + number, 42, 4711, number, "mail.example.test", len(content), wire)


def opened(maildir, files=None):
    return open_snapshot(files or Files(), str(maildir))


def contents(snapshot):
    return [snapshot.read(number) for number in range(1, len(snapshot.sizes) + 1)]


# --- listing ----------------------------------------------------------------------------------------------------------


def test_a_maildir_that_does_not_exist_is_empty(tmp_path):
    snapshot = opened(tmp_path / "nobody" / "here")
    assert snapshot.sizes == [] and snapshot.unique_ids() == [] and snapshot.remove([]) == 0
    assert not (tmp_path / "nobody").exists()


def test_a_maildir_without_new_or_cur_is_empty(tmp_path):
    assert opened(tmp_path).sizes == []


def test_messages_of_new_and_cur_in_order_of_delivery(maildir):
    for number in (3, 1, 2):
        put(maildir, ours(number), b"%d\n" % number)
    put(maildir, ours(4) + ":2,S", b"4\n", "cur")
    put(maildir, ours(0) + ":2,", b"0\n", "cur")
    snapshot = opened(maildir)
    assert contents(snapshot) == [b"0\n", b"1\n", b"2\n", b"3\n", b"4\n"]
    assert snapshot.sizes == [21] * 5


def test_more_than_nine_messages_of_one_microsecond_stay_in_order(maildir):
    for number in range(12):
        put(maildir, build_name(1_750_000_000, 7, 4711, number, "h", 3, 4), b"%02d\n" % number)
    assert contents(opened(maildir)) == [b"%02d\n" % number for number in range(12)]


def test_names_of_other_programs_are_listed_in_their_order(maildir):
    put(maildir, "1700000000.M5P1.dovecot,S=2,W=3:2,S", b"a\n", "cur")
    put(maildir, "1700000001.4711_9.mutt:2,", b"b\n", "cur")
    put(maildir, "1700000001.4711_10.mutt:2,RS", b"c\n", "cur")
    put(maildir, "1700000002.R123.neomutt", b"d\n")
    put(maildir, "1700000003.Vfd01I2aM99.postfix", b"e\n")
    put(maildir, "letter", b"f\n")
    snapshot = opened(maildir)
    assert contents(snapshot) == [b"f\n", b"a\n", b"b\n", b"c\n", b"d\n", b"e\n"]
    assert snapshot.sizes == [3] * 6
    assert snapshot.unique_ids() == [
        "letter",
        "1700000000.M5P1.dovecot",
        "1700000001.4711_9.mutt",
        "1700000001.4711_10.mutt",
        "1700000002.R123.neomutt",
        "1700000003.Vfd01I2aM99.postfix",
    ]


def test_sizes_come_from_names_alone(maildir, monkeypatch):
    for number in range(5):
        put(maildir, ours(number))
        put(maildir, ours(number + 10) + ":2,S", place="cur")
    opens = []
    real_open = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: opens.append(path) or real_open(path, *rest))
    assert opened(maildir).sizes == [21] * 10
    assert opens == []


def test_what_is_no_regular_file_is_passed_over_and_told(maildir, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"root:x\n")
    put(maildir, ours(1))
    os.mkfifo(maildir / "new" / ours(2))
    (maildir / "new" / ours(3)).symlink_to(secret)
    (maildir / "cur" / "folder").mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(maildir / "cur" / "s"))
    listener.close()
    (maildir / ".Junk" / "new").mkdir(parents=True)
    put(maildir, ".hidden")
    snapshot = opened(maildir)
    assert len(snapshot.sizes) == 1
    assert len(snapshot.notes) == 1 and "and 3 more" in snapshot.notes[0]


def test_a_file_moving_from_new_to_cur_while_we_look_is_one_message(maildir):
    """A crash between link and unlink leaves both names; a move in the middle of a listing looks the same."""
    put(maildir, ours(1))
    os.link(maildir / "new" / ours(1), maildir / "cur" / (ours(1) + ":2,S"))
    snapshot = opened(maildir)
    assert len(snapshot.sizes) == 1
    assert snapshot.unique_ids() == [ours(1).partition(",")[0]]


def test_a_folder_that_cannot_be_listed_is_trouble(maildir):
    (maildir / "cur").rmdir()
    (maildir / "cur").write_bytes(b"")
    with pytest.raises(StorageTrouble):
        opened(maildir)


# --- sizes ------------------------------------------------------------------------------------------------------------

CONTENT = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"ab", b"\n.\n"]), max_size=20).map(b"".join)


def measured(path, content):
    path.write_bytes(content)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return wire_octets(descriptor)
    finally:
        os.close(descriptor)


@given(CONTENT)
def test_measured_is_what_the_encoder_sends(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "measured"
    assert measured(path, content) == encode_whole(content)[1]


@pytest.mark.parametrize("end", [b"", b"\r", b"\r\n", b"\n"])
def test_measured_across_the_border_of_a_block(tmp_path, end):
    for shift in (-2, -1, 0, 1):
        content = b"x" * (BLOCK_OCTETS + shift - 1) + b"\r\n.\n" + b"\r" + end
        assert measured(tmp_path / "m", content) == encode_whole(content)[1]


def test_a_foreign_file_is_measured_once_and_never_renamed(maildir):
    put(maildir, "1700000000.1.host", b"a\nb\r\nc")
    put(maildir, ours(1))
    before = sorted(os.listdir(maildir / "new"))
    assert opened(maildir).sizes == [9, 21]
    assert sorted(os.listdir(maildir / "new")) == before
    assert (maildir / "mailserver-index").read_text() == "mailserver-index 1\nw 9 1700000000.1.host\n"
    (maildir / "new" / "1700000000.1.host").write_bytes(b"other")  # not looked at
    assert opened(maildir).sizes == [9, 21]


def test_a_measured_size_survives_a_change_of_flags(maildir):
    put(maildir, "1700000000.1.host", b"a\n")
    opened(maildir)
    (maildir / "new" / "1700000000.1.host").rename(maildir / "cur" / "1700000000.1.host:2,FS")
    index = maildir / "mailserver-index"
    index.write_text(index.read_text().replace("w 3 ", "w 4 "))
    assert opened(maildir).sizes == [4]


def test_the_index_may_be_deleted_at_any_time(maildir):
    put(maildir, "1700000000.1.host", b"a\n")
    opened(maildir)
    (maildir / "mailserver-index").unlink()
    assert opened(maildir).sizes == [3]


def test_an_index_that_cannot_be_written_is_told_and_costs_only_time(maildir):
    put(maildir, "1700000000.1.host", b"a\n")
    snapshot = opened(maildir, FaultyFiles(("create", "mailserver-index"), code=errno.ENOSPC))
    assert snapshot.sizes == [3]
    assert "sizes cannot be remembered" in snapshot.notes[0]


def test_a_wrong_size_in_a_name_is_right_in_the_next_session(maildir):
    put(maildir, "1700000000.M000001P1.host,S=2,W=99", b"a\n")
    snapshot = opened(maildir)
    assert snapshot.sizes == [99]
    snapshot.remember_sizes({1: 3})
    assert snapshot.sizes == [99], "numbers of a session never change"
    assert opened(maildir).sizes == [3]


# --- unique-ids -------------------------------------------------------------------------------------------------------


def test_a_unique_id_outlives_flags_and_renames(maildir):
    name = put(maildir, ours(1))
    unique = opened(maildir).unique_ids()
    (maildir / "new" / name).rename(maildir / "cur" / (name + ":2,S"))
    assert opened(maildir).unique_ids() == unique
    (maildir / "cur" / (name + ":2,S")).rename(maildir / "cur" / (name.partition(",")[0] + ":2,FS"))
    assert opened(maildir).unique_ids() == unique == [ours(1).partition(",")[0]]


@pytest.mark.parametrize("name", ["x" * 71, "a b", "grün", "a\x7fb", "tab\tbed", ",S=5", ":2,S", "line\nfeed"])
def test_an_unusual_name_has_a_hashed_unique_id(maildir, name):
    put(maildir, name)
    (unique,) = opened(maildir).unique_ids()
    assert 1 <= len(unique) <= 70 and unique.isascii() and unique.isalnum()
    assert opened(maildir).unique_ids() == [unique]


def test_a_name_that_is_not_utf8_is_a_message_like_any_other(maildir):
    (maildir / "new" / os.fsdecode(b"1700000000.\xff\xfe.host")).write_bytes(b"a\n")
    snapshot = opened(maildir)
    assert snapshot.sizes == [3] and len(snapshot.unique_ids()[0]) == 40 and snapshot.read(1) == b"a\n"
    assert opened(maildir).sizes == [3]


def test_seventy_octets_are_not_hashed(maildir):
    assert put(maildir, "x" * 70) == opened(maildir).unique_ids()[0]


def test_files_that_share_a_unique_part_get_distinct_and_stable_ids(maildir):
    put(maildir, "1700000000.1.host,S=2,W=3", b"a\n")
    put(maildir, "1700000000.1.host,S=3,W=4", b"ab\n")
    put(maildir, "1700000001.1.host,S=2,W=3", b"c\n")
    put(maildir, "1700000001.1.host,S=2,W=3:2,S", b"d\n", "cur")
    snapshot = opened(maildir)
    unique = snapshot.unique_ids()
    assert len(set(unique)) == 4 and "1700000000.1.host" not in unique and "1700000001.1.host" not in unique
    assert sorted(contents(snapshot)) == [b"a\n", b"ab\n", b"c\n", b"d\n"]
    path = maildir / "cur" / "1700000001.1.host,S=2,W=3:2,S"
    path.rename(str(path) + "F")
    assert opened(maildir).unique_ids() == unique


def test_an_imported_unique_id_counts(maildir):
    put(maildir, "1700000000.1.host,W=3", b"a\n")
    (maildir / "mailserver-index").write_text("mailserver-index 1\nu old-id 1700000000.1.host\n")
    assert opened(maildir).unique_ids() == ["old-id"]
    put(maildir, "foreign", b"a\n")
    opened(maildir)
    assert "u old-id 1700000000.1.host\n" in (maildir / "mailserver-index").read_text()


# --- reading while others work ----------------------------------------------------------------------------------------


def test_a_message_whose_flags_change_is_found_again(maildir):
    names = [put(maildir, ours(number), b"%d\n" % number) for number in range(4)]
    snapshot = opened(maildir)
    for name in names:
        (maildir / "new" / name).rename(maildir / "cur" / (name + ":2,"))
    assert contents(snapshot) == [b"0\n", b"1\n", b"2\n", b"3\n"]
    (maildir / "cur" / (names[2] + ":2,")).rename(maildir / "cur" / (names[2] + ":2,RS"))
    assert snapshot.read(3) == b"2\n"


def test_a_message_that_lost_its_sizes_is_found_by_its_unique_part(maildir):
    name = put(maildir, ours(1), b"1\n")
    snapshot = opened(maildir)
    (maildir / "new" / name).rename(maildir / "cur" / (name.partition(",")[0] + ":2,S"))
    assert snapshot.read(1) == b"1\n"


def test_a_message_that_was_removed_is_gone_and_numbers_stay(maildir):
    names = [put(maildir, ours(number), b"%d\n" % number) for number in range(3)]
    snapshot = opened(maildir)
    (maildir / "new" / names[1]).unlink()
    for _ in range(2):
        with pytest.raises(MessageGone):
            snapshot.read(2)
    assert snapshot.read(3) == b"2\n" and len(snapshot.sizes) == 3


def test_looking_for_many_removed_messages_does_not_list_the_folder_for_each(maildir, monkeypatch):
    names = [put(maildir, ours(number)) for number in range(20)]
    snapshot = opened(maildir)
    for name in names:
        (maildir / "new" / name).unlink()
    listings = []
    real_scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listings.append(path) or real_scandir(path))
    for number in range(1, 21):
        with pytest.raises(MessageGone):
            snapshot.read(number)
    assert len(listings) <= 6


def test_a_stranger_with_a_similar_name_is_not_taken_for_the_message(maildir):
    put(maildir, "1700000000.1.host,S=2,W=3", b"a\n")
    put(maildir, "1700000000.1.host,S=3,W=4", b"ab\n")
    snapshot = opened(maildir)
    (maildir / "new" / "1700000000.1.host,S=2,W=3").unlink()
    with pytest.raises(MessageGone):
        snapshot.read(1)
    assert snapshot.read(2) == b"ab\n"


@pytest.mark.parametrize("what", ["fifo", "symlink", "folder"])
def test_a_message_that_became_something_else_is_gone(maildir, tmp_path, what):
    path = maildir / "new" / put(maildir, ours(1))
    snapshot = opened(maildir)
    path.unlink()
    match what:
        case "fifo":
            os.mkfifo(path)
        case "symlink":
            path.symlink_to("/etc/passwd")
        case "folder":
            path.mkdir()
    with pytest.raises(MessageGone):
        snapshot.read(1)
    assert snapshot.read_if_small(1, 1000) is None


def test_new_messages_do_not_join_an_open_snapshot(maildir):
    put(maildir, ours(1))
    snapshot = opened(maildir)
    put(maildir, ours(0))
    assert len(snapshot.sizes) == 1 and len(opened(maildir).sizes) == 2


# --- large messages ---------------------------------------------------------------------------------------------------


def test_up_to_one_mebibyte_a_message_is_read_whole_and_above_in_pieces(maildir):
    put(maildir, ours(1), b"x" * WHOLE_OCTETS)
    put(maildir, ours(2), b"y" * (WHOLE_OCTETS + 1))
    snapshot = opened(maildir)
    assert snapshot.read(1) == b"x" * WHOLE_OCTETS
    large = snapshot.read(2)
    assert isinstance(large, LargeFile)
    pieces = list(iter(large.next_piece, b""))
    assert [len(piece) for piece in pieces] == [PIECE_OCTETS] * 4 + [1]
    assert large.next_piece() == b""
    large.close()


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_a_large_message_holds_no_descriptor_after_close(maildir):
    put(maildir, ours(1), b"y" * (WHOLE_OCTETS + 1))
    before = open_descriptors()
    large = opened(maildir).read(1)
    assert open_descriptors() == before + 1
    large.close()
    large.close()
    assert open_descriptors() == before and large.next_piece() == b""


def test_closing_while_another_thread_reads_never_hits_a_foreign_descriptor(maildir, monkeypatch):
    put(maildir, ours(1), b"y" * (WHOLE_OCTETS + 1))
    large = opened(maildir).read(1)
    before = open_descriptors()
    reading, go_on = threading.Event(), threading.Event()
    real_read = os.read

    def slow_read(descriptor, octets):
        reading.set()
        assert go_on.wait(5)
        return real_read(descriptor, octets)

    monkeypatch.setattr("mailserver.store.maildrop.os.read", slow_read)
    pieces = []
    thread = threading.Thread(target=lambda: pieces.append(large.next_piece()))
    thread.start()
    assert reading.wait(5)
    large.close()
    assert open_descriptors() == before, "the read that is under way keeps its descriptor"
    go_on.set()
    thread.join(5)
    assert pieces == [b"y" * PIECE_OCTETS] and open_descriptors() == before - 1


def test_what_is_appended_after_opening_does_not_count(maildir):
    path = maildir / "new" / put(maildir, ours(1), b"y" * (WHOLE_OCTETS + 1))
    large = opened(maildir).read(1)
    with path.open("ab") as file:
        file.write(b"more" * 1000)
    assert sum(map(len, iter(large.next_piece, b""))) == WHOLE_OCTETS + 1


# --- removal ----------------------------------------------------------------------------------------------------------


def test_removal_takes_exactly_the_named_messages_and_syncs_each_folder_once(maildir):
    names = [put(maildir, ours(number)) for number in range(3)]
    put(maildir, ours(9) + ":2,S", place="cur")
    files = FaultyFiles()
    snapshot = opened(maildir, files)
    assert snapshot.remove({1, 3, 4}) == 0
    assert os.listdir(maildir / "new") == [names[1]] and os.listdir(maildir / "cur") == []
    synced = [path for operation, path in files.log if operation == "sync_folder"]
    assert synced == [f"{maildir}/cur", f"{maildir}/new"]
    assert files.log[-2][0] == files.log[-1][0] == "sync_folder", "after the last removal"


def test_a_message_that_moved_is_removed_where_it_is(maildir):
    name = put(maildir, ours(1))
    snapshot = opened(maildir)
    (maildir / "new" / name).rename(maildir / "cur" / (name + ":2,S"))
    assert snapshot.remove([1]) == 0
    assert os.listdir(maildir / "cur") == []


def test_a_message_that_is_gone_already_counts_as_removed(maildir):
    name = put(maildir, ours(1))
    snapshot = opened(maildir)
    (maildir / "new" / name).unlink()
    assert snapshot.remove([1]) == 0


class Undying(Files):
    """A disk on which names with `part` cannot be removed."""

    def __init__(self, part):
        self.part = part

    def unlink(self, path):
        if self.part in path:
            raise PermissionError(errno.EPERM, "Operation not permitted", path)
        super().unlink(path)


def test_what_cannot_be_removed_is_counted_and_the_rest_removed(maildir):
    names = [put(maildir, ours(number)) for number in range(3)]
    snapshot = opened(maildir, Undying(names[1]))
    assert snapshot.remove([1, 2, 3]) == 1
    assert os.listdir(maildir / "new") == [names[1]]
    assert "cannot be removed" in snapshot.notes[0]


def test_a_removal_that_cannot_be_synced_is_trouble(maildir):
    put(maildir, ours(1))
    snapshot = opened(maildir, FaultyFiles(("sync_folder", "/new")))
    with pytest.raises(StorageTrouble):
        snapshot.remove([1])


# --- flags ------------------------------------------------------------------------------------------------------------


def test_a_retrieved_message_moves_to_cur_as_seen(maildir):
    """What mutt and Dovecot beside us expect of a reader; other programs' flags stay."""
    first = put(maildir, ours(1))
    put(maildir, ours(2) + ":2,F", place="cur")
    put(maildir, ours(3) + ":2,S", place="cur")
    untouched = put(maildir, ours(4))
    unique = opened(maildir).unique_ids()
    opened(maildir).mark_seen([1, 2, 3])
    assert os.listdir(maildir / "new") == [untouched]
    assert sorted(os.listdir(maildir / "cur")) == [first + ":2,S", ours(2) + ":2,FS", ours(3) + ":2,S"]
    assert opened(maildir).unique_ids() == unique


def test_marking_never_overwrites_another_file(maildir):
    name = put(maildir, ours(1), b"mine\n")
    put(maildir, name + ":2,S", b"other\n", "cur")
    opened(maildir).mark_seen([1, 2])
    assert (maildir / "new" / name).read_bytes() == b"mine\n"
    assert (maildir / "cur" / (name + ":2,S")).read_bytes() == b"other\n"


def test_marking_a_message_that_is_gone_is_nothing(maildir):
    name = put(maildir, ours(1))
    snapshot = opened(maildir)
    (maildir / "new" / name).unlink()
    snapshot.mark_seen([1])


# --- round trips ------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.lists(CONTENT, min_size=1, max_size=5))
def test_listed_sizes_are_the_octets_sent(tmp_path_factory, messages):
    maildir = tmp_path_factory.mktemp("trip")
    (maildir / "new").mkdir()
    for number, content in enumerate(messages):
        put(maildir, f"{1700000000 + number}.1.host", content)
    snapshot = opened(maildir)
    assert snapshot.sizes == [encode_whole(content)[1] for content in messages]
    assert contents(snapshot) == messages
