"""When app passwords were used last: gathered, written, kept over a restart."""

import json

from mailserver.last_uses import GATHER_S, LastUses
from mailserver.ports import Use
from mailserver.store.files import Files
from mailserver.store.last_use import LastUseFile
from tests.fakes.awaiting import run
from tests.fakes.clock import EPOCH, FakeClock
from tests.store.test_logins import AtOnce

ALICE = "alice@example.org"


class Book:
    """Last uses over a real file; `writes` counts how often it was written."""

    def __init__(self, state, is_there=lambda address, device: True):
        self.file = LastUseFile(state, Files())
        self.clock = FakeClock()
        self.events = []
        self.blocking = AtOnce()
        self.uses = LastUses(self.file, is_there, blocking=self.blocking, clock=self.clock, sink=self.events.append)
        self.uses.load()

    @property
    def writes(self):
        return len(self.blocking.lanes)


def test_uses_of_a_minute_are_written_once(tmp_path):
    book = Book(tmp_path)
    for _ in range(100):
        book.uses.note(ALICE, "phone", "192.0.2.7", Use.POP3)
        book.clock.advance(0.1)
    book.uses.note(ALICE, "scanner", "192.0.2.8", Use.SUBMISSION)
    assert book.writes == 0
    book.clock.advance(GATHER_S)
    assert book.writes == 1
    found = book.file.read()
    assert {key: (use.address, use.use) for key, use in found.items()} == {
        (ALICE, "phone"): ("192.0.2.7", "pop3"),
        (ALICE, "scanner"): ("192.0.2.8", "submission"),
    }
    assert abs(found[ALICE, "phone"].at - EPOCH - 9.9) < 0.01
    book.clock.advance(10 * GATHER_S)
    assert book.writes == 1, "nothing new, nothing written"
    assert (tmp_path / "last-use.json").stat().st_mode & 0o777 == 0o600


def test_they_are_kept_over_a_restart_and_written_at_the_stop(tmp_path):
    book = Book(tmp_path)
    book.uses.note(ALICE, "phone", "192.0.2.7", Use.POP3)
    run(book.uses.stop())
    book = Book(tmp_path)
    book.uses.note(ALICE, "scanner", "192.0.2.8", Use.SUBMISSION)
    run(book.uses.stop())
    assert set(book.file.read()) == {(ALICE, "phone"), (ALICE, "scanner")}


def test_what_was_revoked_is_forgotten(tmp_path):
    there = {"phone", "scanner"}
    book = Book(tmp_path, lambda address, device: device in there)
    for device in ("phone", "scanner"):
        book.uses.note(ALICE, device, "192.0.2.7", Use.POP3)
    there.remove("phone")
    run(book.uses.stop())
    assert set(book.file.read()) == {(ALICE, "scanner")}


def test_a_damaged_file_is_told_and_written_over(tmp_path):
    (tmp_path / "last-use.json").write_text('{"version": 1, "uses": [["x"]]}')
    book = Book(tmp_path)
    assert [event.effect for event in book.events] == ["last uses begin anew"]
    book.uses.note(ALICE, "phone", "192.0.2.7", Use.POP3)
    run(book.uses.stop())
    assert set(book.file.read()) == {(ALICE, "phone")}


def test_a_file_of_a_newer_release_is_left_alone(tmp_path):
    text = json.dumps({"version": 2, "uses": []})
    (tmp_path / "last-use.json").write_text(text)
    book = Book(tmp_path)
    book.uses.note(ALICE, "phone", "192.0.2.7", Use.POP3)
    run(book.uses.stop())
    assert (tmp_path / "last-use.json").read_text() == text
    assert [event.effect for event in book.events] == ["last uses of app passwords are not noted"]
