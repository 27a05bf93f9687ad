"""The transcript file of a queued message, and its end with the message."""

import contextlib

import pytest

from mailserver.store.spool_changes import Remove, WriteTranscript
from mailserver.store.transcripts import MAX_CHARS, with_section
from tests.fakes.disk import FaultyFiles
from tests.fakes.relay import LATER, OK, Office
from tests.store.test_spool_crash import DyingFiles, Killed


def test_each_destination_has_its_last_session():
    text = with_section("", "example.net", "   0.000 < 220 a\n", 0.0)
    text = with_section(text, "example.com", "   0.000 < 220 b\n", 1.0)
    text = with_section(text, "example.net", "   0.000 < 220 c\n", 2.0)
    assert text == (
        "== example.com, 1970-01-01 00:00:01+00:00 ==\n   0.000 < 220 b\n"
        "== example.net, 1970-01-01 00:00:02+00:00 ==\n   0.000 < 220 c\n"
    )


def test_the_oldest_go_when_it_becomes_too_long():
    text = ""
    for number in range(20):
        text = with_section(text, f"d{number}.example", "x" * 30_000 + "\n", 0.0)
    assert len(text) <= MAX_CHARS
    assert "d19.example" in text
    assert "d0.example" not in text
    assert "d1.example" in with_section("nonsense\n", "d1.example", "x\n", 0.0)


@pytest.fixture
def office(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: LATER, transcripts=True)
    yield office
    assert not office.failures


def test_it_is_kept_while_the_message_waits_and_goes_with_it(office):
    queue_id = office.put("bob@example.net", "eve@example.com")
    office.settle()
    text = office.spool.read_transcript(queue_id)
    assert "== example.net, " in text
    assert "== example.com, " in text
    assert "- connecting to example.net\n" in text
    assert office.spool.paths.transcript(queue_id).stat().st_mode & 0o777 == 0o600
    office.transmitter.answer = lambda route, recipient: OK
    office.advance(331)
    assert office.on_disk() == []
    assert list(office.spool.paths.transcripts.iterdir()) == []


def test_none_is_kept_of_what_was_delivered_or_when_it_is_off(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: LATER)
    queue_id = office.put("bob@example.net")
    office.settle()
    assert office.spool.read_transcript(queue_id) is None
    assert not office.spool.paths.transcripts.exists()


def test_trouble_with_it_holds_nothing_up(tmp_path):
    files = FaultyFiles(("write", ".transcript"), times=5)
    office = Office(tmp_path, files=files, answer=lambda route, recipient: LATER, transcripts=True)
    queue_id = office.put("bob@example.net")
    office.settle()
    assert office.spool.read(queue_id).progress[0].attempts == 1
    assert office.spool.read_transcript(queue_id) is None
    assert office.words("trouble") == []


def test_row_12_one_without_its_message_is_swept(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: LATER, transcripts=True)
    queue_id = office.put("bob@example.net")
    office.settle()
    office.spool.paths.message(queue_id).unlink()
    office.restart()
    assert list(office.spool.paths.transcripts.iterdir()) == []


def test_a_kill_at_any_step_leaves_a_whole_one_or_none(tmp_path):
    for at in range(1, 6):
        for after in (False, True):
            files = DyingFiles()
            office = Office(tmp_path / f"{at}{after}", files=files)
            queue_id = office.put("bob@example.net", tell=False)
            change = WriteTranscript(queue_id, "example.net", "   0.000 < 220 a\n", 1.0)
            files.die_at(at, after)
            with contextlib.suppress(Killed):
                office.spool.apply([change])
            office.files.die_at(None)
            office.spool.prepare()
            assert list(office.spool.paths.tmp.iterdir()) == []
            text = office.spool.read_transcript(queue_id)
            assert text is None or text.endswith("220 a\n")
            assert office.spool.apply([change]) == [None]
            assert office.spool.apply([Remove(queue_id)]) == [None]
            assert office.spool.apply([change]) == [None]  # too late: the message is gone
            assert office.spool.read_transcript(queue_id) is None
