"""The journal on disk: what is kept, for how long, and what a crash, a full disk or somebody's hand can do to it."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap

import pytest

from mailserver.maillog import Accepted, Erased, Fetched, Filed, LoginSucceeded, Refused
from mailserver.store import journal_format
from mailserver.store.journal import SLICE, Journal
from mailserver.store.journal_facts import Facts, address_key, file_key, message_id_key, peer_key
from mailserver.store.journal_format import (
    STEPS,
    JournalDamaged,
    JournalNewer,
    JournalUnavailable,
    open_for_writing,
    set_aside,
)
from mailserver.store.journal_read import JournalReader

ID, OTHER = "0000000000001", "0000000000002"
PEER = "192.0.2.7:4711"
ACCEPTED = Accepted(
    ID, PEER, "<Tony@Outside.example>", ("alice@example.org", "bob@example.org"), 512, "ESMTPS",
    message_id="<1@outside.example>", hello="mx.outside.example", subject=b"=?utf-8?q?gr=C3=BC=C3=9Fe?=",
)  # fmt: skip
FILED = Filed(ID, "alice@example.org", "sales@example.org,alice@example.org", "1.M2P3Q4.h")


def write(path, *events, at=1000.0, **rules):
    facts = Facts(**rules)
    journal = Journal(path)
    try:
        journal.write([fact for event in events if (fact := facts.of(at, event)) is not None])
    finally:
        journal.close()


def found(path, mention, since=0.0):
    with JournalReader(path) as reader:
        return [(entry.queue_id, entry.word) for entry in reader.mentioning(mention, since)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite3"


def test_a_message_is_found_by_everybody_it_concerns(path):
    write(path, ACCEPTED, FILED, Fetched(PEER, "alice@example.org", "1.M2P3Q4.h", 512))
    for key in ("<tony@outside.EXAMPLE>", "BOB@example.org"):
        assert found(path, address_key(key)) == [(ID, "accepted")]
    assert found(path, address_key("alice@example.org")) == [(ID, "filed"), (ID, "accepted")]
    assert found(path, address_key("sales@example.org")) == [(ID, "filed")]
    assert found(path, message_id_key("1@outside.example")) == [(ID, "accepted")]
    assert found(path, peer_key("192.0.2.7")) == [("", "fetched"), (ID, "accepted")]
    assert found(path, file_key("1.M2P3Q4.h")) == [("", "fetched"), (ID, "filed")]
    assert found(path, address_key("alice@example.org"), since=1000.5) == []
    assert found(path, "a:alice") == []


def test_facts_and_not_sentences_are_stored(path):
    write(path, ACCEPTED)
    with JournalReader(path) as reader:
        [entry] = reader.of_message(ID)
        assert reader.covered().count == 1
    assert (entry.time, entry.word) == (1000.0, "accepted")
    assert entry.fields == {
        "peer": PEER,
        "reverse_path": "<Tony@Outside.example>",
        "recipients": ["alice@example.org", "bob@example.org"],
        "size_octets": 512,
        "protocol": "ESMTPS",
        "message_id": "<1@outside.example>",
        "hello": "mx.outside.example",
        "subject": "grüße",
    }


def test_subject_and_message_id_can_be_switched_off(path):
    write(path, ACCEPTED, subjects=False, message_ids=False)
    with JournalReader(path) as reader:
        [entry] = reader.of_message(ID)
    assert not {"subject", "message_id"} & set(entry.fields)
    assert found(path, message_id_key("1@outside.example")) == []


def test_nobody_else_may_read_it(path):
    journal = Journal(path)
    journal.write([Facts().of(1.0, ACCEPTED)])
    for name in os.listdir(path.parent):
        assert stat.S_IMODE(os.stat(path.parent / name).st_mode) == 0o600, name
    journal.close()


def test_numbers_go_on_over_openings(path):
    write(path, ACCEPTED)
    write(path, FILED)
    with JournalReader(path) as reader:
        assert [entry.number for entry in reader.of_message(ID)] == [1, 2]


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_reader_beside_the_writer_sees_what_was_written(path):
    journal = Journal(path)
    journal.write([Facts().of(1.0, ACCEPTED)])
    assert found(path, peer_key(PEER)) == [(ID, "accepted")]
    journal.write([Facts().of(1.0, FILED)])
    with JournalReader(path) as reader:
        journal.write([Facts().of(2.0, FILED)])
        assert len(reader.of_message(ID)) == 3
    assert journal.is_in_place
    journal.close()


def test_a_reader_that_may_not_write_there_reads_a_copy(path, monkeypatch):
    journal = Journal(path)
    journal.write([Facts().of(1.0, ACCEPTED)])
    access = os.access
    monkeypatch.setattr(os, "access", lambda name, mode: mode != os.W_OK and access(name, mode))
    before = sorted(os.listdir(path.parent))
    assert found(path, peer_key(PEER)) == [(ID, "accepted")]
    assert sorted(os.listdir(path.parent)) == before
    journal.close()


def test_what_is_no_journal_is_told_to_readers(path):
    with pytest.raises(FileNotFoundError):
        JournalReader(path)
    path.write_bytes(b"")
    with pytest.raises(JournalDamaged):
        JournalReader(path)
    path.write_bytes(b"hello, this is no database at all" * 100)
    with pytest.raises(JournalDamaged):
        JournalReader(path)


def test_a_row_that_cannot_be_read_costs_only_itself(path):
    write(path, ACCEPTED)
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO event VALUES (9, 5.0, ?, 'filed', 'no json')", (ID,))
    connection.execute("INSERT INTO event VALUES (10, 5.0, ?, 'filed', cast(x'ff22' as text))", (ID,))
    connection.commit()
    connection.close()
    with JournalReader(path) as reader:
        assert [dict(entry.fields) for entry in reader.of_message(ID)][1:] == [{}, {}]


# --- versions ---------------------------------------------------------------------------------------------------------


def test_an_older_format_is_brought_up_to_date(path):
    write(path, ACCEPTED)
    steps = (*STEPS, "ALTER TABLE event ADD COLUMN more TEXT;")
    for _ in range(2):
        connection = open_for_writing(path, steps)
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("SELECT word, more FROM event").fetchall() == [("accepted", None)]
        connection.close()


def test_a_newer_format_is_refused_and_left_alone(path):
    open_for_writing(path, (*STEPS, "ALTER TABLE event ADD COLUMN more TEXT;")).close()
    before = path.read_bytes()
    for opened in (Journal, JournalReader):
        with pytest.raises(JournalNewer, match="format 2, and this release reads up to format 1"):
            opened(path)
    assert path.read_bytes() == before


def test_another_programs_database_is_not_written_into(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(JournalDamaged, match="another program"):
        Journal(path)


def test_what_is_no_file_is_damage(path):
    path.mkdir()
    with pytest.raises(JournalDamaged):
        Journal(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(JournalDamaged):
        Journal(path)


def test_a_damaged_file_is_set_aside_over_the_last_one(path):
    for content in (b"first" * 500, b"second" * 500):
        path.write_bytes(content)
        path.with_name(path.name + "-wal").write_bytes(b"x")
        aside = set_aside(path)
        assert aside.read_bytes() == content
    assert sorted(os.listdir(path.parent)) == [aside.name]


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_loses_the_batch_whole_and_says_so(path):
    journal = Journal(path)
    journal.write([Facts().of(1.0, ACCEPTED)])
    journal._connection.execute("PRAGMA max_page_count = 12")
    with pytest.raises(JournalUnavailable, match="full"):
        journal.write([Facts().of(1.0, ACCEPTED)] * 500)
    journal._connection.execute("PRAGMA max_page_count = 100000")
    journal.write([Facts().of(1.0, FILED)])
    journal.close()
    with JournalReader(path) as reader:
        assert [entry.word for entry in reader.of_message(ID)] == ["accepted", "filed"]


def test_a_journal_that_was_deleted_or_replaced_is_noticed(path):
    journal = Journal(path)
    journal.write([Facts().of(1.0, ACCEPTED)])
    assert journal.is_in_place
    path.with_name(path.name + "-wal").unlink()
    assert not journal.is_in_place
    journal.close()
    journal = Journal(path)
    path.unlink()
    assert not journal.is_in_place
    journal.close()


def test_octets_changed_in_the_middle_are_damage(path):
    journal = Journal(path)
    facts = Facts()
    journal.write([facts.of(1.0, ACCEPTED)] * 2000)
    journal.close()
    octets = bytearray(path.read_bytes())
    octets[4096 * 2 : -4096] = b"\xa5" * (len(octets) - 4096 * 3)
    path.write_bytes(octets)
    with pytest.raises(JournalDamaged):
        journal = Journal(path)
        journal.write([facts.of(1.0, ACCEPTED)] * 2000)


def test_a_kill_in_the_middle_of_a_batch_leaves_whole_batches(path, tmp_path):
    """SIGKILL at some point of many batches: the file opens, and holds batches of 50 without a gap."""
    script = tmp_path / "write.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from pathlib import Path
            from mailserver.maillog import Filed
            from mailserver.store.journal import Journal
            from mailserver.store.journal_facts import Facts
            journal, facts = Journal(Path({str(path)!r})), Facts()
            event = Filed({ID!r}, "alice@example.org", "alice@example.org", "1.M2P3Q4.h")
            while True:
                journal.write([facts.of(1.0, event)] * 50)
                print("written", flush=True)
            """
        )
    )
    written = 0
    for rounds in (1, 7, 23):
        process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
        for _ in range(rounds):
            assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
        more = process.communicate()[0].count(b"written\n")
        written += rounds + more
        with JournalReader(path) as reader:
            count = reader.covered().count
        # The last batch may be in the file though its word did not come out.
        assert count % 50 == 0 and count // 50 in (written, written + 1)
        written = count // 50
        journal = Journal(path)
        assert journal._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        journal.close()


# --- pruning ----------------------------------------------------------------------------------------------------------


def test_what_is_too_old_goes_in_slices_and_with_its_mentions(path):
    journal, facts = Journal(path), Facts()
    journal.write([facts.of(100.0, FILED)] * (SLICE + 10))
    journal.write([facts.of(200.0, ACCEPTED)])
    assert journal.prune(150.0, 10**9)
    with JournalReader(path) as reader:
        assert reader.covered().count == 11
    assert journal.prune(150.0, 10**9)
    assert not journal.prune(150.0, 10**9)
    assert journal._connection.execute("SELECT count(*) FROM mention WHERE event < 1011").fetchone() == (0,)
    assert found(path, peer_key(PEER)) == [(ID, "accepted")]
    journal.close()


def test_a_clock_that_ran_ahead_keeps_nothing_else_from_going(path):
    journal, facts = Journal(path), Facts()
    journal.write([facts.of(10.0**10, ACCEPTED)])
    journal.write([facts.of(100.0, FILED)] * 5)
    assert journal.prune(150.0, 10**9)
    assert found(path, address_key("sales@example.org")) == []
    assert found(path, peer_key(PEER)) == [(ID, "accepted")]
    journal.close()


def test_what_is_too_much_goes_oldest_first_and_the_file_stays_bounded(path):
    journal, facts = Journal(path), Facts()
    limit = 600_000
    for number in range(40):
        journal.write([facts.of(float(number), ACCEPTED)] * 200)
        while journal.prune(0.0, limit):
            pass
        assert path.stat().st_size + path.with_name(path.name + "-wal").stat().st_size < limit + 18_000_000
    with JournalReader(path) as reader:
        covered = reader.covered()
    assert covered.last == 39.0 and covered.first > 20.0
    journal.close()
    assert path.stat().st_size < 1.5 * limit


def test_a_lowered_limit_shrinks_the_file(path):
    journal, facts = Journal(path), Facts()
    journal.write([facts.of(1.0, ACCEPTED)] * 8000)
    while journal.prune(0.0, 10**9):
        pass
    for _ in range(200):
        if not journal.prune(0.0, 200_000):
            break
    else:
        pytest.fail("pruning does not end")
    journal.close()
    assert path.stat().st_size < 500_000


def test_an_absurdly_small_limit_ends(path):
    journal, facts = Journal(path), Facts()
    journal.write([facts.of(1.0, ACCEPTED)] * 10)
    for _ in range(10):
        if not journal.prune(0.0, 1):
            break
    else:
        pytest.fail("pruning does not end")
    journal.close()


# --- throughput -------------------------------------------------------------------------------------------------------


def test_the_writer_keeps_up_with_any_server(path):
    """Generous, for a busy machine: what is measured is that a batch is one call and not one for each row."""
    import time

    journal, facts = Journal(path), Facts()
    began = time.perf_counter()
    for number in range(10):
        journal.write([facts.of(float(number), event) for _ in range(500) for event in (ACCEPTED, FILED)])
    took = time.perf_counter() - began
    journal.close()
    assert took < 5.0, f"10,000 facts took {took:.1f} s"


def test_events_that_nobody_can_ask_for_are_not_kept():
    assert Facts().of(1.0, Refused("", PEER, "EHLO", "501 5.5.4 what")) is not None
    assert LoginSucceeded.is_log_only
    assert Facts().of(1.0, Erased("local", "", "")) is not None
    assert json.dumps(Facts().of(1.0, ACCEPTED))
    assert journal_format.FILE_NAME == "journal.sqlite3"
