"""The committer as a session sees it: answers after the disk, groups, back-pressure, trouble, stop."""

import os
import threading
from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.ids import QueueId
from mailserver.net.blocking import BlockingLanes
from mailserver.net.clock import ReactorClock
from mailserver.net.committer import GROUP_MESSAGES, MAX_WAITING_MESSAGES, GroupCommitter
from mailserver.net.lulls import at_once
from mailserver.ports import Acceptance, LocalCopy, Overloaded, StorageTrouble
from mailserver.store.commit import CommitWriter
from mailserver.store.files import Files
from mailserver.store.maildir import Maildirs
from mailserver.store.spool_format import SpoolPaths
from tests.fakes.directory import box
from tests.fakes.disk import FaultyFiles


class GatedWriter(CommitWriter):
    """Waits at the gate before each group, so that a test decides when the disk goes on."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.gate = threading.Semaphore(0)
        self.groups = []

    def commit(self, group):
        self.gate.acquire(timeout=10)
        self.groups.append(len(group))
        if any(acceptance.source == "explode" for acceptance, _ in group):
            raise ValueError("nobody named this")
        return super().commit(group)


class Bench:
    def __init__(self, root, files=None, min_free=0, at_lull=at_once):
        files = files or Files()
        self.root = root
        paths = SpoolPaths(root / "var")
        for folder in (paths.tmp, paths.messages, root / "maildirs"):
            folder.mkdir(parents=True, exist_ok=True)
        self.paths = paths
        self.spooled = []
        self.blocking = BlockingLanes(reactor)
        self.writer = GatedWriter(files, Maildirs(files, root / "maildirs", "host"), paths)
        self.committer = GroupCommitter(
            self.writer,
            lambda queue_id, envelope, *about: self.spooled.append((queue_id, envelope)),
            self.blocking,
            ReactorClock(reactor),
            reactor.callFromThread,
            [root],
            min_free,
            at_lull,
        )

    async def stop(self):
        self.writer.gate.release(1000)
        await self.committer.stop()
        await self.blocking.close()

    def filed(self):
        return sorted((self.root / "maildirs").rglob("new/*"))


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    made.committer.start()
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.stop()))


def message(number, remote=False, source=""):
    alice = box("alice@example.org")
    recipient = Recipient(box("x@far.example") if remote else alice)
    copies = () if remote else (LocalCopy(alice, (recipient,), b""),)
    return Acceptance(
        QueueId(f"{number:013d}"),
        1.0,
        Envelope(None, (recipient,)),
        b"",
        copies,
        (recipient,) if remote else (),
        source=source,
    )


@pytest_twisted.ensureDeferred
async def test_it_answers_only_when_the_file_is_there(bench):
    answer = bench.committer.commit(message(1), b"x\r\n")
    assert not answer.called and bench.filed() == []
    bench.writer.gate.release()
    await answer
    assert [path.read_bytes() for path in bench.filed()] == [b"x\n"]


@pytest_twisted.ensureDeferred
async def test_what_waits_while_the_disk_works_becomes_one_group(bench):
    answers = [bench.committer.commit(message(number), b"x\r\n") for number in range(1 + GROUP_MESSAGES + 5)]
    bench.writer.gate.release(10)
    await gatherResults(answers)
    assert sum(bench.writer.groups) == len(answers)
    assert len(bench.writer.groups) <= 3 and max(bench.writer.groups) <= GROUP_MESSAGES


@pytest_twisted.ensureDeferred
async def test_the_queue_is_told_before_the_answer(bench):
    bench.writer.gate.release()
    answer = bench.committer.commit(message(7, remote=True), b"x\r\n")
    told = []
    answer.addCallback(lambda result: told.extend(bench.spooled))
    await answer
    assert [queue_id for queue_id, _ in told] == [QueueId(f"{7:013d}")]


@pytest_twisted.ensureDeferred
async def test_an_exception_nobody_named_is_temporary_and_the_worker_lives(bench, caplog):
    bench.writer.gate.release(2)
    with pytest.raises(StorageTrouble):
        await bench.committer.commit(message(1, source="explode"), b"x\r\n")
    await bench.committer.commit(message(2), b"x\r\n")
    assert len(bench.filed()) == 1


@pytest_twisted.ensureDeferred
async def test_too_many_waiting_messages_are_refused_at_once(bench):
    answers = [bench.committer.commit(message(number), b"") for number in range(MAX_WAITING_MESSAGES)]
    with pytest.raises(Overloaded):
        for number in range(GROUP_MESSAGES + 2):
            answers.append(bench.committer.commit(message(9000 + number), b""))
    bench.writer.gate.release(1000)
    await gatherResults(answers)


@pytest_twisted.ensureDeferred
async def test_stop_finishes_what_waits_and_takes_no_more(bench):
    answers = [bench.committer.commit(message(number), b"x\r\n") for number in range(3)]
    stopped = bench.committer.stop()
    with pytest.raises(Overloaded):
        bench.committer.commit(message(9), b"")
    bench.writer.gate.release(10)
    await gatherResults(answers)
    await stopped
    assert len(bench.filed()) == 3


@pytest_twisted.ensureDeferred
async def test_a_large_content_holds_its_sender_back_and_arrives_whole(bench):
    bench.writer.gate.release()
    writer = bench.committer.open(message(1))
    piece = (b"x" * 1022 + b"\r\n") * 64
    held = 0
    for _ in range(64):
        waiting = writer.write(piece)
        if waiting is not None:
            held += 1
            await waiting
    await writer.commit()
    assert held > 0
    (path,) = bench.filed()
    assert path.read_bytes() == piece.replace(b"\r\n", b"\n") * 64


@pytest_twisted.ensureDeferred
async def test_a_large_content_can_be_read_before_it_is_known_where_it_goes(bench):
    bench.writer.gate.release()
    given = message(1)
    writer = bench.committer.open(given)
    piece = (b"x" * 1022 + b"\r\n") * 300
    waiting = writer.write(piece)
    if waiting is not None:
        await waiting
    content = await writer.written()
    with content.path.open("rb") as file:
        file.seek(content.offset)
        assert file.read() == piece.replace(b"\r\n", b"\n") and content.length == len(piece) - 300
    local = tuple(replace(copy, folder="Junk") for copy in given.local)
    filed = await writer.commit(replace(given, local=local))
    assert filed.filed == local
    (path,) = [path for path in bench.root.rglob("new/*") if path.is_file()]
    assert path.parts[-3] == ".Junk" and path.read_bytes().endswith(piece.replace(b"\r\n", b"\n"))


@pytest_twisted.ensureDeferred
async def test_a_large_content_that_is_discarded_leaves_nothing(bench):
    writer = bench.committer.open(message(1))
    for _ in range(20):
        writer.write(b"x" * 65536)
    writer.discard()
    await bench.blocking.close()
    assert [path for path in bench.root.rglob("*") if path.is_file()] == []


@pytest_twisted.ensureDeferred
async def test_trouble_while_a_large_content_comes_is_told_at_its_end(tmp_path):
    bench = Bench(tmp_path, FaultyFiles(("write", "/tmp/"), times=99))
    bench.committer.start()
    bench.writer.gate.release()
    writer = bench.committer.open(message(1))
    for _ in range(20):
        waiting = writer.write(b"x" * 65536)
        if waiting is not None:
            await waiting
    with pytest.raises(StorageTrouble):
        await writer.commit()
    await bench.stop()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest_twisted.ensureDeferred
async def test_a_large_content_that_comes_too_late_leaves_no_file_and_no_descriptor(bench):
    """The line is full, or the server stops, when its last octet is there."""
    before = set(os.listdir("/proc/self/fd"))
    writer = bench.committer.open(message(1))
    for _ in range(20):
        waiting = writer.write(b"x" * 65536)
        if waiting is not None:
            await waiting
    await bench.committer.stop()
    with pytest.raises(Overloaded):
        await writer.commit()
    await bench.blocking.close()
    assert [path for path in bench.root.rglob("*") if path.is_file()] == []
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest_twisted.ensureDeferred
async def test_an_exception_nobody_named_leaves_nothing_of_a_large_content(bench):
    before = set(os.listdir("/proc/self/fd"))
    bench.writer.gate.release()
    writer = bench.committer.open(message(1, source="explode"))
    for _ in range(20):
        waiting = writer.write(b"x" * 65536)
        if waiting is not None:
            await waiting
    with pytest.raises(StorageTrouble):
        await writer.commit()
    await bench.blocking.close()
    assert [path for path in bench.root.rglob("*") if path.is_file()] == []
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest_twisted.ensureDeferred
async def test_a_queue_that_cannot_be_told_leaves_nobody_waiting(bench, monkeypatch):
    def broken(*told):
        raise ValueError(told)

    monkeypatch.setattr(bench.committer, "_on_spooled", broken)
    bench.writer.gate.release(10)
    results = await gatherResults([bench.committer.commit(message(number, remote=True), b"x\r\n") for number in (1, 2)])
    assert len(results) == 2


def test_a_file_system_without_inodes_has_no_room(tmp_path, monkeypatch):
    room = os.statvfs(tmp_path)
    few = os.statvfs_result([*room[:5], max(room.f_files, 2000), 10, 10, *room[8:]])
    monkeypatch.setattr(os, "statvfs", lambda path: few)
    assert not Bench(tmp_path, min_free=1).committer.has_room(0)


def test_room_is_what_min_free_leaves(tmp_path):
    bench = Bench(tmp_path)
    assert bench.committer.has_room(1000)
    assert not bench.committer.has_room(1 << 60)
    assert not Bench(tmp_path / "b", min_free=1 << 60).committer.has_room(1)


def test_room_counts_what_was_taken_since_it_was_measured(tmp_path, monkeypatch):
    """A disk can fill within the second for which the figure holds."""
    room = os.statvfs(tmp_path)
    free = os.statvfs_result([4096, 4096, 100, 100, 100, 10_000, 10_000, 10_000, *room[8:]])
    monkeypatch.setattr(os, "statvfs", lambda path: free)
    bench = Bench(tmp_path, min_free=4096 * 50)
    assert bench.committer.has_room(4096 * 50)
    bench.committer.commit(message(1), b"x" * 4096 * 10)
    assert not bench.committer.has_room(4096 * 50)
    assert bench.committer.has_room(4096 * 20)
    bench.committer._room = (float("-inf"), 0)
    assert bench.committer.has_room(4096 * 50), "the new figure knows of it"


@pytest_twisted.ensureDeferred
async def test_a_group_begins_in_a_lull_with_all_that_came_until_then(tmp_path):
    lulls = []
    bench = Bench(tmp_path, at_lull=lulls.append)
    bench.committer.start()
    bench.writer.gate.release(1000)
    first = [bench.committer.commit(message(number), b"x\r\n") for number in range(3)]
    (lull,) = lulls
    assert bench.writer.groups == []
    lull()
    await gatherResults(first)
    assert bench.writer.groups == [3]
    # And who comes later waits for the next one.
    second = bench.committer.commit(message(4), b"x\r\n")
    lulls[1]()
    await second
    assert bench.writer.groups == [3, 1]
    await bench.stop()


@pytest_twisted.ensureDeferred
async def test_a_full_group_waits_for_no_lull_and_neither_does_the_stop(tmp_path):
    bench = Bench(tmp_path, at_lull=lambda call: None)
    bench.committer.start()
    bench.writer.gate.release(1000)
    await gatherResults([bench.committer.commit(message(number), b"x\r\n") for number in range(GROUP_MESSAGES)])
    last = bench.committer.commit(message(GROUP_MESSAGES), b"x\r\n")
    await bench.committer.stop()
    await last
    assert bench.writer.groups == [GROUP_MESSAGES, 1]
