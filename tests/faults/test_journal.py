"""The journal is never the truth about mail: lost, cut, damaged or full of zeros, it is made anew and mail goes on."""

import errno
import shutil
import sqlite3

import pytest

from mailserver.maillog import Filed
from mailserver.store.journal_format import DAMAGED_SUFFIX, FILE_NAME
from mailserver.store.journal_writer import JournalRules, JournalWriter
from tests.faults.disk import Fault, WatchedDisk
from tests.faults.enumerate import CODES, next_root
from tests.faults.server import Letter, Server, check_promises

ALICE = "alice@example.org"
QUICK = JournalRules(gather_s=0.0, retry_s=0.0, look_s=0.0)
SUFFIXES = ("", "-wal", "-shm")


def begun(root, disk=None, told=None):
    said = [] if told is None else told
    files = {} if disk is None else {"files": disk}
    return JournalWriter(root / FILE_NAME, QUICK, said.append, lambda: 1000.0, **files)


def add(writer, *numbers):
    for number in numbers:
        writer.add(Filed(f"{number:013d}", ALICE, ALICE, f"1.M{number}P3Q4.h"))
    writer.turn()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What a process that was killed leaves: the file, and batches in the `-wal`."""
    root = tmp_path_factory.mktemp("journal")
    writer = begun(root)
    for number in range(1, 40):
        add(writer, number)
    left = {suffix: (root / f"{FILE_NAME}{suffix}").read_bytes() for suffix in SUFFIXES}
    assert left["-wal"]
    return left


def states(written):
    """Each of the files lost, cut at several places, full of zeros, overwritten in the middle."""
    for suffix in SUFFIXES:
        octets = written[suffix]
        yield f"no {suffix}", {**written, suffix: None}
        for cut in (0, 1, 100, 4096, len(octets) // 2, len(octets) - 1):
            yield f"{suffix} cut at {cut}", {**written, suffix: octets[:cut]}
            yield f"{suffix} zeros from {cut}", {**written, suffix: octets[:cut] + bytes(len(octets) - cut)}
        middle = len(octets) // 3
        yield f"{suffix} overwritten", {**written, suffix: octets[:middle] + b"\xa5" * 2000 + octets[middle + 2000 :]}
    yield "only the wal", {"": None, "-wal": written["-wal"], "-shm": None}
    yield "nothing", dict.fromkeys(SUFFIXES)


def test_whatever_a_crash_left_history_goes_on(written, base):
    """At the latest in the second turn, and the file that was damaged is kept."""
    count = 0
    for name, state in states(written):
        root = next_root(base)
        root.mkdir()
        for suffix, octets in state.items():
            if octets is not None:
                (root / f"{FILE_NAME}{suffix}").write_bytes(octets)
        told = []
        writer = begun(root, told=told)
        add(writer, 100)
        add(writer, 101)
        writer.stop()
        writer.run()
        with sqlite3.connect(root / FILE_NAME) as connection:
            (check,) = connection.execute("PRAGMA integrity_check").fetchone()
            rows = [int(one) for (one,) in connection.execute("SELECT queue_id FROM event ORDER BY number")]
        connection.close()
        assert rows[-2:] == [100, 101], name
        assert check == "ok" or "overwritten" in name or "zeros" in name, f"{name}: {check}"
        if (root / f"{FILE_NAME}{DAMAGED_SUFFIX}").exists():
            assert any("a new one is begun" in trouble.effect for trouble in told), name
        else:
            assert told == [], name
        count += 1
        shutil.rmtree(root)
    assert count > 40


def test_mail_does_not_depend_on_it(base):
    """Deleted under a running server, and damaged before a start."""
    root = next_root(base)
    (root / "mail").mkdir(parents=True)
    letters = (Letter(1, (ALICE,), ("a@far.example",)), Letter(2, (ALICE,), ("a@far.example",)))
    server = Server(root)
    writer = begun(root / "var")
    add(writer, 1)
    server.accept(letters[0])
    for suffix in SUFFIXES:
        (root / "var" / f"{FILE_NAME}{suffix}").unlink()
    server.accept(letters[1])
    add(writer, 2)
    server.live_on()
    (root / "var" / FILE_NAME).write_bytes(b"nonsense" * 1000)
    check_promises(root, server.noted, letters)


@pytest.mark.parametrize("before", ["nothing", "damaged", "deleted"])
def test_a_failure_at_any_point_pauses_history_and_no_longer(before, base):
    """Making it, setting a damaged one aside, removing what is left of one that was deleted."""
    root = next_root(base)
    root.mkdir()
    points = _one_failure(root, before, None)
    assert points
    for at in range(1, points + 1):
        for code in CODES:
            root = next_root(base)
            root.mkdir()
            _one_failure(root, before, Fault(at, code))


def _one_failure(root, before, fault):
    disk, told = WatchedDisk(root), []
    writer = begun(root, disk, told)
    if before == "deleted":
        add(writer, 1)
        (root / FILE_NAME).unlink()
    elif before == "damaged":
        (root / FILE_NAME).write_bytes(b"nonsense" * 1000)
    disk.fail(fault)
    add(writer, 2)
    points = len(disk.points)
    disk.fail(None)
    add(writer, 3)
    add(writer, 4)
    writer.stop()
    writer.run()
    with sqlite3.connect(root / FILE_NAME) as connection:
        rows = [int(one) for (one,) in connection.execute("SELECT queue_id FROM event ORDER BY number")]
    connection.close()
    assert rows[-3:] == [2, 3, 4], (fault, told)
    assert all(trouble.reason for trouble in told)
    if fault is not None and fault.code == errno.EIO and before != "damaged":
        assert len(told) <= 1
    return points
