"""What every `Maildrops` does, the one over Maildirs and the one in memory alike; and what only the real one has."""

import os
from pathlib import Path

import pytest

from mailserver.ports import Account, Lane, MaildropInUse, MessageGone, Overloaded, StorageTrouble
from mailserver.store import maildrop as maildrop_module
from mailserver.store.files import Files
from mailserver.store.maildir_names import build_name
from mailserver.store.maildrops import MaildirMaildrops
from mailserver.store.paths import maildir_path
from tests.fakes.awaiting import run
from tests.fakes.blocking import DirectBlocking
from tests.fakes.directory import box
from tests.fakes.disk import FaultyFiles
from tests.fakes.maildrop import MemoryMaildrops

ALICE = Account(box("alice@example.test"))
BOB = Account(box("bob@example.test"))
MESSAGES = (b"Subject: 1\n\n.one\n", b"Subject: 2\r\n\r\ntwo\r\n", b"Subject: 3\n\nno end")
SIZES = [20, 19, 22]


class OnDisk:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.events = []
        self.blocking = DirectBlocking()
        self.files = Files()
        self.count = 0
        self.make()

    def make(self):
        def folder(mailbox):
            return str(maildir_path(self.root, mailbox))

        self.maildrops = MaildirMaildrops(self.blocking, self.files, folder, self.events.append)

    def add(self, *contents):
        for place in ("new", "cur", "tmp"):
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        names = []
        for content in contents:
            self.count += 1
            names.append(f"{1_750_000_000 + self.count}.M000042P4711Q{self.count}.host")
            (self.folder / "new" / names[-1]).write_bytes(content)
        return names

    @property
    def folder(self):
        return maildir_path(self.root, ALICE.mailbox)

    def remove(self, name):
        (found,) = [path for place in ("new", "cur") for path in (self.folder / place).glob(name + "*")]
        found.unlink()


class InMemory:
    def __init__(self) -> None:
        self.maildrops = MemoryMaildrops()

    def add(self, *contents):
        return self.maildrops.add(str(ALICE.mailbox), *contents)

    def remove(self, name):
        del self.maildrops.boxes[str(ALICE.mailbox)][name]


@pytest.fixture
def disk(tmp_path):
    return OnDisk(tmp_path)


@pytest.fixture
def cold(monkeypatch):
    """As on a machine whose memory holds no files, or cannot tell: everything is read in a thread."""
    monkeypatch.setattr(maildrop_module._cached, "is_able", False)


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path):
    return OnDisk(tmp_path) if request.param == "disk" else InMemory()


def opened(place, account=ALICE):
    return run(place.maildrops.open(account))


async def whole(maildrop, number):
    content = await maildrop.read(number)
    if isinstance(content, bytes):
        return content
    pieces = []
    while piece := await content.next_piece():
        pieces.append(piece)
    content.close()
    return b"".join(pieces)


# --- the contract -----------------------------------------------------------------------------------------------------


def test_an_empty_maildrop(place):
    maildrop = opened(place)
    assert list(maildrop.sizes) == [] and list(run(maildrop.unique_ids())) == []
    assert run(maildrop.update([], [])) == 0


def test_sizes_contents_and_unique_ids(place):
    names = place.add(*MESSAGES)
    maildrop = opened(place)
    assert list(maildrop.sizes) == SIZES
    assert list(run(maildrop.unique_ids())) == names
    assert [run(whole(maildrop, number)) for number in (1, 2, 3, 1)] == [*MESSAGES, MESSAGES[0]]


def test_a_large_message_comes_in_pieces(place):
    content = b"Subject: x\n\n" + b"0123456789abcde\n" * 100_000
    place.add(content)
    maildrop = opened(place)
    assert not isinstance(run(maildrop.read(1)), bytes)
    assert run(whole(maildrop, 1)) == content


def test_one_session_at_a_time_and_others_are_free(place):
    maildrop = opened(place)
    with pytest.raises(MaildropInUse):
        opened(place)
    opened(place, BOB).close()
    maildrop.close()
    again = opened(place)
    maildrop.close()
    with pytest.raises(MaildropInUse):
        opened(place)  # a second close must not free what another session holds
    again.close()


def test_update_removes_and_frees_the_lock(place):
    names = place.add(*MESSAGES)
    maildrop = opened(place)
    assert run(maildrop.update({1, 3}, {1, 2})) == 0
    again = opened(place)
    assert list(run(again.unique_ids())) == [names[1]]


def test_close_changes_nothing(place):
    names = place.add(*MESSAGES)
    opened(place).close()
    assert list(run(opened(place).unique_ids())) == names


def test_a_message_that_others_removed_is_gone_and_numbers_stay(place):
    names = place.add(*MESSAGES)
    maildrop = opened(place)
    place.remove(names[1])
    with pytest.raises(MessageGone):
        run(maildrop.read(2))
    assert run(maildrop.read(3)) == MESSAGES[2]
    assert list(maildrop.sizes) == SIZES and list(run(maildrop.unique_ids())) == names
    assert run(maildrop.update({2, 3}, ())) == 0, "what is gone counts as removed"


def test_a_measured_size_is_listed_in_the_next_session(place):
    place.add(*MESSAGES)
    maildrop = opened(place)
    run(maildrop.measured(2, 77))
    assert list(maildrop.sizes) == SIZES
    run(maildrop.update((), ()))
    assert list(opened(place).sizes) == [20, 77, 22]


# --- the real one -----------------------------------------------------------------------------------------------------


def test_reading_in_order_takes_few_hops(disk):
    disk.add(*[b"%d\n" % number for number in range(100)])
    maildrop = opened(disk)
    before = disk.blocking.calls[Lane.MAILBOX]
    assert [run(maildrop.read(number)) for number in range(1, 101)] == [b"%d\n" % number for number in range(100)]
    assert disk.blocking.calls[Lane.MAILBOX] - before <= 6


def test_what_was_read_ahead_is_given_out_once_and_right(place):
    """RETR of a message that is at hand needs no coroutine; where it is not, `read` has it."""
    contents = [b"%d\n" % number for number in range(100)]
    place.add(*contents)
    maildrop = opened(place)
    found = []
    for number in range(1, 101):
        at_hand = maildrop.at_hand(number)
        found.append(run(maildrop.read(number)) if at_hand is None else at_hand)
    assert found == contents
    assert run(maildrop.update({1, 50, 100}, ())) == 0
    assert len(opened(place).sizes) == 97


def test_most_of_a_maildrop_that_is_read_in_order_is_at_hand(disk, cold):
    disk.add(*[b"%d\n" % number for number in range(100)])
    maildrop = opened(disk)
    reads = 0
    for number in range(1, 101):
        if maildrop.at_hand(number) is None:
            run(maildrop.read(number))
            reads += 1
        assert maildrop.at_hand(number) is None, "given out once"
        assert sum(map(len, maildrop._ahead.values())) <= 256 << 10
    assert reads <= 7
    run(maildrop.update((), ()))


def test_what_the_kernel_has_in_memory_needs_no_thread(disk):
    """As is always so soon after it was written; but only where the file system can tell what it has in memory."""
    names = disk.add(*MESSAGES, b"x" * 100_000)
    maildrop = opened(disk)
    disk.blocking.full.add(Lane.MAILBOX)
    found = [maildrop.at_hand(number) for number in (2, 1, 3, 1)]
    contents = [MESSAGES[1], MESSAGES[0], MESSAGES[2], MESSAGES[0]]
    assert found == contents if maildrop_module._cached.is_able else found == [None] * 4
    assert maildrop.at_hand(4) is None, "too large"
    (disk.folder / "new" / names[0]).rename(disk.folder / "cur" / f"{names[0]}:2,S")
    assert maildrop.at_hand(1) is None, "not where it was"
    disk.blocking.full.clear()
    assert run(maildrop.read(1)) == MESSAGES[0]
    maildrop.close()


def test_no_thread_reads_any_more_while_messages_are_removed(disk, cold):
    disk.add(*[b"%d\n" % number for number in range(100)])
    maildrop = opened(disk)
    for number in range(1, 20):
        if maildrop.at_hand(number) is None:
            run(maildrop.read(number))
    assert maildrop._coming is not None
    assert run(maildrop.update(set(range(1, 101)), ())) == 0
    assert maildrop._coming is None and not opened(disk).sizes


def test_a_full_lane_only_ends_the_reading_ahead(disk, cold):
    disk.add(*[b"%d\n" % number for number in range(100)])
    maildrop = opened(disk)
    for number in range(1, 20):
        if maildrop.at_hand(number) is None:
            run(maildrop.read(number))
    disk.blocking.full.add(Lane.MAILBOX)
    for number in range(20, 34):
        assert run(maildrop.read(number)) == b"%d\n" % (number - 1)
    with pytest.raises(Overloaded):
        run(maildrop.read(34))
    disk.blocking.full.clear()
    assert run(maildrop.read(34)) == b"33\n"


def test_reading_ahead_stays_within_its_memory(disk, cold):
    disk.add(*[b"x" * 100_000 for _ in range(20)])
    maildrop = opened(disk)
    for number in range(1, 21):
        run(maildrop.read(number))
        assert sum(map(len, maildrop._ahead.values())) <= 256 << 10


def test_reading_ahead_does_not_trust_sizes_in_names(disk, cold):
    """A name may say one octet where there is a gigabyte."""
    disk.add(b"a\n", b"b\n")
    (disk.folder / "new" / "1760000000.M1P1.host,S=1,W=1").write_bytes(b"x" * 2_000_000)
    maildrop = opened(disk)
    assert [run(whole(maildrop, number)) for number in (1, 2)] == [b"a\n", b"b\n"]
    assert maildrop._ahead == {}
    assert len(run(whole(maildrop, 3))) == 2_000_000


def test_retrieved_messages_are_marked_as_seen_at_quit_only(disk):
    names = disk.add(*MESSAGES)
    maildrop = opened(disk)
    run(maildrop.read(1))
    assert sorted(os.listdir(disk.folder / "new")) == names
    run(maildrop.update({2}, {1, 2}))
    assert os.listdir(disk.folder / "cur") == [names[0] + ":2,S"]
    assert os.listdir(disk.folder / "new") == [names[2]]


@pytest.mark.parametrize("call", ["open", "read", "unique_ids", "update"])
def test_a_full_lane_is_told_and_holds_no_lock_it_should_not(disk, call, cold):
    names = disk.add(*MESSAGES)
    maildrop = None if call == "open" else opened(disk)
    disk.blocking.full.add(Lane.MAILBOX)
    with pytest.raises(Overloaded):
        match call:
            case "open":
                opened(disk)
            case "read":
                run(maildrop.read(1))
            case "unique_ids":
                run(maildrop.unique_ids())
            case "update":
                run(maildrop.update({1}, ()))
    disk.blocking.full.clear()
    if call in ("read", "unique_ids"):
        maildrop.close()
    assert list(run(opened(disk).unique_ids())) == names


def test_trouble_at_opening_holds_no_lock(disk):
    disk.add()
    (disk.folder / "mailserver-index").write_text("mailserver-index 2\n")
    with pytest.raises(StorageTrouble):
        opened(disk)
    (disk.folder / "mailserver-index").unlink()
    opened(disk)


def test_a_failed_sync_at_quit_is_trouble_and_frees_the_lock(disk):
    disk.files = FaultyFiles(("sync_folder", "/new"))
    disk.make()
    disk.add(*MESSAGES)
    with pytest.raises(StorageTrouble):
        run(opened(disk).update({1}, ()))
    opened(disk)


def test_a_lost_connection_does_not_free_the_lock_while_messages_are_being_removed(disk):
    """The thread that removes frees it: another session must not list what is half removed."""
    disk.add(*MESSAGES)
    maildrop = opened(disk)
    refused = []

    class Slow(Files):
        def unlink(self, path):
            maildrop.close()
            try:
                opened(disk)
            except MaildropInUse:
                refused.append(path)
            super().unlink(path)

    maildrop._snapshot._files = Slow()
    assert run(maildrop.update({1, 2}, ())) == 0
    assert len(refused) == 2
    opened(disk)


def test_a_wrong_size_is_told_once_and_saved_at_once(disk):
    disk.add()
    for number in range(5):
        name = build_name(1_750_000_000 + number, 1, 1, number, "h", 2, 99)
        (disk.folder / "new" / name).write_bytes(b"a\n")
    maildrop = opened(disk)
    for number in range(1, 6):
        run(maildrop.measured(number, 3))
        run(maildrop.measured(number, 3))
    assert len(disk.events) == 1 and "message 1 has 3 octets, listed were 99" in disk.events[0].line()
    maildrop.close()
    assert list(opened(disk).sizes)[:1] == [3], "even without QUIT"


def test_what_is_no_message_is_one_line_in_the_log(disk):
    disk.add(b"a\n")
    os.mkfifo(disk.folder / "new" / "pipe\x1b")
    opened(disk)
    (event,) = disk.events
    assert event.line() == 'trouble what="maildrop alice@example.test" reason="new/pipe?: not a regular file, ignored"'
