"""The operator's hand and our own disk, at the worst moments of an attempt or of loading."""

import errno
import os

import pytest
from twisted.internet.defer import Deferred as Promise

from mailserver.ports import Overloaded
from mailserver.store.spool_format import FORMAT_VERSION
from tests.fakes.awaiting import start
from tests.fakes.relay import DAY, DOWN, LATER, NO, OK, Office


@pytest.fixture
def office(tmp_path):
    office = Office(tmp_path)
    yield office
    assert not office.failures


class Gate:
    """Holds every call of the blocking door whose function has this name until `open`."""

    def __init__(self, office, name):
        self.held = []
        self._office, self._real = office, office.blocking.run
        real = self._real

        async def run(lane, call, *args):
            if call.__name__ == name:
                wait = Promise()
                self.held.append(wait)
                await wait
            return await real(lane, call, *args)

        office.blocking.run = run

    def open(self):
        held, self.held = self.held, []
        for one in held:
            one.callback(None)

    def end(self):
        self._office.blocking.run = self._real


def is_gone(office, sent):
    office.settle()
    office.advance(DAY)
    assert office.on_disk() == []
    assert len(office.runner) == 0
    assert len(office.transmitter.sent) == sent
    assert office.words("bounced", "report") == []
    assert [event.reason for event in office.events if event.word == "removed"] == ["by the operator"]


def test_removed_while_its_file_is_being_read_it_is_not_sent(office):
    gate = Gate(office, "_read")
    queue_id = office.put("bob@example.net")
    office.settle()
    start(office.runner.remove([queue_id]))
    gate.open()
    is_gone(office, sent=0)


def test_removed_while_the_disk_was_too_busy_to_read_it_it_is_not_sent(office):
    gate = Gate(office, "_read")
    queue_id = office.put("bob@example.net")
    office.settle()
    start(office.runner.remove([queue_id]))
    gate.end()
    gate.held.pop().errback(Overloaded("queue"))
    is_gone(office, sent=0)


def test_removed_while_its_state_is_being_written_it_is_not_tried_again(office):
    """Two recipients come to different ends; the mark of the first waits for the disk, and the operator is faster."""
    office.transmitter.answer = lambda route, recipient: OK if recipient.mailbox.local_part == "a" else LATER
    gate = Gate(office, "apply")
    queue_id = office.put("a@example.net", "b@example.net")
    office.settle()
    start(office.runner.remove([queue_id]))
    office.settle()
    for _ in range(5):
        gate.open()
        office.settle()
    gate.end()
    is_gone(office, sent=1)


def test_removed_while_a_report_is_being_made_it_is_not_tried_again(office):
    office.transmitter.answer = lambda route, recipient: NO if recipient.mailbox.local_part == "a" else LATER
    gate = Gate(office, "read_content")
    queue_id = office.put("a@example.net", "b@example.net")
    office.settle()
    assert gate.held
    start(office.runner.remove([queue_id]))
    gate.open()
    office.settle()
    office.advance(DAY)
    assert queue_id not in office.on_disk()
    assert len(office.runner) == 0
    assert [sent for sent in office.transmitter.sent if sent[0] == "example.net"] == [
        ("example.net", ("a@example.net", "b@example.net"))
    ]


def test_removed_while_two_destinations_are_tried_it_goes_with_the_last(tmp_path):
    first, second = Promise(), Promise()
    office = Office(tmp_path, answer=lambda route, recipient: first if route.domain == "a.example" else second)
    queue_id = office.put("u@a.example", "u@b.example")
    office.settle()
    start(office.runner.remove([queue_id]))
    second.callback(DOWN)
    office.settle()
    assert office.on_disk() == [queue_id]
    first.callback(OK)
    is_gone(office, sent=2)


# --- loading ----------------------------------------------------------------------------------------------------------


def test_a_message_on_disk_is_removed_although_it_is_not_loaded_yet(office):
    office.transmitter.answer = lambda route, recipient: DOWN
    queue_id = office.put("bob@example.net", tell=False)
    gate = Gate(office, "_read_slice")
    start(office.runner.load())
    office.settle()
    removed = start(office.runner.remove([queue_id]))
    retried = start(office.runner.retry_when_loaded())
    gate.open()
    office.settle()
    assert (removed.result, retried.result) == (1, 0)
    office.settle()
    assert office.on_disk() == []


def test_a_folder_that_cannot_be_read_now_is_read_later(office, monkeypatch):
    queue_id = office.put("bob@example.net", tell=False)
    real = os.scandir
    monkeypatch.setattr(os, "scandir", failing(real, office.spool.paths.messages, errno.EMFILE))
    start(office.runner.load())
    office.settle()
    office.advance(60)
    assert office.words() == ["trouble"], "told once"
    assert office.runner.is_loading
    monkeypatch.setattr(os, "scandir", real)
    office.advance(10)
    assert office.transmitter.sent == [("example.net", ("bob@example.net",))]
    assert queue_id not in office.on_disk()
    assert not office.runner.is_loading


def test_a_message_that_cannot_be_read_while_loading_is_read_later(office, monkeypatch):
    first, second = office.put("a@example.net", tell=False), office.put("b@example.com", tell=False)
    real = os.open
    monkeypatch.setattr(os, "open", failing(real, office.spool.paths.message(first), errno.EMFILE))
    start(office.runner.load())
    office.settle()
    assert office.on_disk() == [first]
    assert office.words() == ["trouble", "delivered", "removed"]
    monkeypatch.setattr(os, "open", real)
    office.advance(301)
    assert office.on_disk() == []
    assert second not in office.on_disk()


def test_a_message_of_a_newer_release_is_left_alone_and_told_once(office):
    queue_id = office.put("a@example.net", tell=False)
    path = office.spool.paths.message(queue_id)
    path.write_bytes(path.read_bytes().replace(b"mailserver-queue 1", b"mailserver-queue %d" % (FORMAT_VERSION + 1)))
    start(office.runner.load())
    office.advance(DAY)
    assert office.words() == ["trouble"]
    assert office.on_disk() == [queue_id]


def failing(real, target, number):
    def call(path, *rest, **more):
        if str(path) == str(target):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *rest, **more)

    return call


# --- many dead destinations -------------------------------------------------------------------------------------------


def test_tarpits_that_fill_every_place_delay_a_living_destination_by_seconds(tmp_path):
    silent = []

    def answer(route, recipient):
        if route.domain == "live.example":
            return OK
        silent.append(Promise())
        return silent[-1]

    office = Office(tmp_path, answer=answer, total=10)
    for number in range(25):
        office.put(f"u@dead{number}.example")
    office.settle()
    assert office.transmitter.busy == 10
    office.put("u@live.example")
    for _ in range(4):
        office.advance(10)
    assert office.words("delivered") == ["delivered"]
    assert office.transmitter.busy == 25
    # The next round: they are known to be dead, so that half of the places stay free for others.
    held, silent[:] = silent[:], []
    for one in held:
        one.callback(DOWN)
    office.settle()
    office.advance(331)
    office.put("u@live.example")
    office.settle()
    assert office.words("delivered") == ["delivered"] * 2, "at once"
