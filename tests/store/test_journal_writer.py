"""The writer's thread, moved by hand: batches, troubles told once, nothing that holds up mail."""

import os
import sqlite3
import threading

import pytest

from mailserver.maillog import Filed, LoginSucceeded, Trouble
from mailserver.store import journal_writer
from mailserver.store.journal_facts import LOST, address_key
from mailserver.store.journal_format import JournalUnavailable, set_aside
from mailserver.store.journal_read import JournalReader
from mailserver.store.journal_writer import MAX_WAITING, JournalRules, JournalWriter

ALICE = "alice@example.org"
QUICK = JournalRules(gather_s=0.0, retry_s=0.0, look_s=0.0)


def filed(number=1):
    return Filed(f"{number:013d}", ALICE, ALICE, f"1.M{number}P3Q4.h")


class Desk:
    def __init__(self, folder, rules=QUICK):
        self.path = folder / "journal.sqlite3"
        self.told = []
        self.now = 1000.0
        self.writer = JournalWriter(self.path, rules, self.told.append, lambda: self.now)

    def add(self, *numbers):
        for number in numbers:
            self.writer.add(filed(number))

    def ids(self):
        with JournalReader(self.path) as reader:
            return [int(entry.queue_id) for entry in reader.mentioning(address_key(ALICE))][::-1]


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_what_is_added_is_written_in_order(desk):
    desk.add(1, 2, 3)
    assert not desk.path.exists()
    desk.writer.turn()
    desk.add(4)
    desk.writer.turn()
    assert desk.ids() == [1, 2, 3, 4]
    assert desk.told == []


def test_no_file_is_made_for_nothing(desk):
    desk.writer.turn()
    desk.writer.add(LoginSucceeded("192.0.2.1:1", "pop3", ALICE, "PLAIN"))
    desk.writer.turn()
    assert not desk.path.exists()


def test_a_flush_answers_when_everything_is_in_the_file(desk):
    answers = []
    desk.add(1)
    desk.writer.flush(lambda is_written: answers.append((is_written, desk.ids())))
    desk.writer.turn()
    assert answers == [(True, [1])]


def test_deleting_the_file_begins_a_new_one_and_is_no_trouble(desk):
    desk.add(1)
    desk.writer.turn()
    for name in os.listdir(desk.path.parent):
        (desk.path.parent / name).unlink()
    desk.add(2)
    desk.writer.turn()
    assert desk.ids() == [2]
    desk.path.with_name(desk.path.name + "-wal").unlink()
    desk.add(3)
    desk.writer.turn()
    assert desk.ids()[-1] == 3
    assert desk.told == []


@pytest.mark.parametrize("is_running", [True, False])
def test_a_damaged_file_is_set_aside_and_told_and_nothing_new_is_lost(desk, is_running):
    if is_running:
        desk.add(1)
        desk.writer.turn()
        desk.path.unlink()
    desk.path.write_bytes(b"nonsense" * 1000)
    desk.add(2)
    desk.writer.turn()
    assert desk.ids() == [2]
    [trouble] = desk.told
    assert isinstance(trouble, Trouble) and "journal.sqlite3.damaged" in trouble.effect
    assert (desk.path.parent / "journal.sqlite3.damaged").exists()


def test_a_newer_journal_is_left_alone_told_once_and_costs_no_memory(desk):
    connection = sqlite3.connect(desk.path)
    connection.execute("CREATE TABLE event (x)")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = desk.path.read_bytes()
    for _ in range(3):
        desk.add(1)
        desk.writer.turn()
    assert desk.path.read_bytes() == before
    assert not desk.writer._waiting
    [trouble] = desk.told
    assert "format 99" in trouble.reason
    answers = []
    desk.writer.flush(answers.append)
    desk.writer.turn()
    assert answers == [False]


def test_a_full_disk_pauses_history_and_it_is_made_up_for(desk, monkeypatch):
    desk.add(1)
    desk.writer.turn()
    desk.writer._journal._connection.execute("PRAGMA max_page_count = 14")
    opened = journal_writer.Journal

    def full(path, files):
        raise JournalUnavailable("database or disk is full")

    monkeypatch.setattr(journal_writer, "Journal", full)
    desk.add(*range(2, 1000))
    for _ in range(3):
        desk.writer.turn()
    assert desk.ids() == [1]
    assert [trouble.reason for trouble in desk.told] == ["database or disk is full"]
    monkeypatch.setattr(journal_writer, "Journal", opened)
    desk.add(1000)
    desk.writer.turn()
    assert desk.ids() == list(range(1, 1001))


def test_a_full_queue_drops_the_oldest_tells_once_and_notes_the_gap(desk):
    desk.add(*range(MAX_WAITING + 500))
    assert len(desk.writer._waiting) == MAX_WAITING
    desk.writer.turn()
    assert desk.ids()[0] == 500
    desk.add(*range(MAX_WAITING + 1))
    desk.writer.turn()
    assert len(desk.told) == 1
    with JournalReader(desk.path) as reader:
        assert reader.losses() == 501
        assert next(reader.mentioning(f"{LOST}:")).word == LOST


def test_a_disk_that_stays_full_keeps_the_newest(desk, monkeypatch):
    opened = journal_writer.Journal

    def full(path, files):
        raise JournalUnavailable("full")

    monkeypatch.setattr(journal_writer, "Journal", full)
    for start in range(0, 50_000, 10_000):
        desk.add(*range(start, start + 10_000))
        desk.writer.turn()
    monkeypatch.setattr(journal_writer, "Journal", opened)
    desk.writer.turn()
    ids = desk.ids()
    assert ids[-1] == 49_999 and ids == sorted(ids)
    with JournalReader(desk.path) as reader:
        assert reader.losses() == 50_000 - len(ids)
    assert len(ids) >= MAX_WAITING - 200


def test_trouble_nobody_named_is_told_and_the_thread_lives(desk, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(desk.writer._facts, "_plan", broken)
    desk.add(1)
    desk.writer.turn()
    assert desk.told[0].reason == "ZeroDivisionError: oops"
    monkeypatch.undo()
    desk.add(2)
    desk.writer.turn()
    assert desk.ids() == [2]


def test_old_history_goes_though_nothing_happens(tmp_path):
    desk = Desk(tmp_path, JournalRules(keep_s=100.0, gather_s=0.0, look_s=0.0))
    desk.add(1)
    desk.writer.turn()
    desk.now += 50.0
    desk.add(2)
    desk.writer.turn()
    desk.now += 60.0
    desk.writer.turn()
    assert desk.ids() == [2]
    desk.now += 60.0
    desk.writer.turn()
    assert desk.ids() == []


def test_the_thread_writes_by_itself_and_ends_when_it_is_asked(tmp_path):
    desk = Desk(tmp_path, JournalRules(gather_s=0.01))
    thread = threading.Thread(target=desk.writer.run, daemon=True)
    thread.start()
    for number in range(100):
        desk.add(number)
    flushed = threading.Event()
    desk.writer.flush(lambda is_written: flushed.set())
    assert flushed.wait(10.0)
    assert desk.ids() == list(range(100))
    desk.add(100)
    desk.writer.stop()
    thread.join(10.0)
    assert not thread.is_alive()
    assert os.listdir(tmp_path) == ["journal.sqlite3"], "a clean end leaves one file"
    assert desk.ids() == list(range(101))


def test_a_stop_does_not_wait_for_a_disk_that_is_full(tmp_path, monkeypatch):
    desk = Desk(tmp_path, JournalRules(gather_s=0.01, retry_s=60.0))

    def full(path, files):
        raise JournalUnavailable("full")

    monkeypatch.setattr(journal_writer, "Journal", full)
    thread = threading.Thread(target=desk.writer.run, daemon=True)
    thread.start()
    desk.add(1)
    flushed = threading.Event()
    desk.writer.flush(lambda is_written: flushed.set())
    assert flushed.wait(10.0)
    desk.writer.stop()
    thread.join(10.0)
    assert not thread.is_alive()


def test_what_cannot_be_set_aside_pauses_history(desk, monkeypatch):
    desk.path.write_bytes(b"nonsense" * 1000)

    def refused(path, files):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(journal_writer, "set_aside", refused)
    desk.add(1)
    for _ in range(3):
        desk.writer.turn()
    assert len(desk.told) == 1
    monkeypatch.setattr(journal_writer, "set_aside", set_aside)
    desk.writer.turn()
    assert desk.ids() == [1]
