"""Messages in memory: those that are being sent, and those that were accepted a moment ago."""

import pytest

from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.ids import QueueId
from mailserver.ports import Report, StoredContent
from mailserver.relay.opened import FRESH_MESSAGE_OCTETS, FRESH_OCTETS, OpenMessages
from mailserver.store.files import Files
from mailserver.store.queue_orders import Choice
from mailserver.store.spool import Spool, untried
from mailserver.store.spool_changes import AddReport, WriteState
from mailserver.store.spool_format import SpoolPaths
from mailserver.store.spool_state import RecipientProgress
from tests.fakes.awaiting import start
from tests.fakes.directory import box
from tests.fakes.relay import DOWN, OK, AtOnce, Office

ENVELOPE = Envelope(box("alice@example.org"), (Recipient(box("bob@example.net")),))
A = QueueId("0000000000001")


class Reading(AtOnce):
    """Counts what goes to a thread."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    async def run(self, lane, call, *args):
        self.calls += 1
        return await super().run(lane, call, *args)


class Shelf:
    """Open messages over a real folder; `put` writes one and tells of it as the committer does."""

    def __init__(self, folder):
        self.spool = Spool(SpoolPaths(folder), Files())
        self.spool.prepare()
        self.blocking = Reading()
        self.messages = OpenMessages(self.spool, self.blocking)

    def put(self, queue_id, content=b"Subject: x\r\n\r\nbody\r\n", octets=None):
        assert self.spool.apply([AddReport(Report(queue_id, ENVELOPE, content), 1.0)]) == [None]
        read = self.spool.read(queue_id)
        stored = StoredContent(read.content.path, read.content.offset, len(content), octets or content)
        self.messages.remember(untried(queue_id, 1.0, ENVELOPE, "", stored))

    def open(self, queue_id):
        opened, trouble = start(self.messages.open(queue_id)).result
        assert trouble == []
        return opened


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path)


def test_a_fresh_message_is_opened_once_without_reading_it(shelf):
    shelf.put(A)
    opened = shelf.open(A)
    assert shelf.blocking.calls == 0
    assert opened.message.envelope == ENVELOPE
    assert opened.message.content == shelf.spool.read(A).content
    assert opened.message.content.octets == b"Subject: x\r\n\r\nbody\r\n"
    assert opened.progress == [RecipientProgress()]
    shelf.messages.close(A)
    assert shelf.spool.apply([WriteState(A, (RecipientProgress(attempts=1),))]) == [None]
    again = shelf.open(A)
    assert shelf.blocking.calls == 1
    assert again.message.content.octets is None
    assert again.progress == [RecipientProgress(attempts=1)]


def test_two_jobs_share_a_fresh_message(shelf):
    shelf.put(A)
    assert shelf.open(A) is shelf.open(A)
    assert shelf.blocking.calls == 0


def test_what_is_forgotten_or_large_is_read(shelf):
    shelf.put(A)
    shelf.messages.forget(A)
    shelf.open(A)
    assert shelf.blocking.calls == 1
    shelf.put(QueueId("0000000000002"), b"x" * (FRESH_MESSAGE_OCTETS + 1))
    shelf.open(QueueId("0000000000002"))
    assert shelf.blocking.calls == 2


def test_the_oldest_make_room(shelf):
    """Messages for a destination that is down may wait for hours: memory is bounded all the same."""
    each = FRESH_MESSAGE_OCTETS
    count = FRESH_OCTETS // each + 5
    ids = [QueueId(f"{number:013d}") for number in range(count)]
    for queue_id in ids:
        shelf.put(queue_id, b"y" * each)
    shelf.open(ids[-1])
    assert shelf.blocking.calls == 0
    shelf.open(ids[0])
    assert shelf.blocking.calls == 1


# --- in the queue -----------------------------------------------------------------------------------------------------


def told(office, queue_id):
    """Tell the queue of a message that `put` wrote silently, with its content, as the committer does."""
    message = office.spool.read(queue_id)
    octets = office.spool.read_content(message.content, message.content.length)
    content = StoredContent(message.content.path, message.content.offset, message.content.length, octets)
    office.runner.added(queue_id, message.envelope, message.received_at, "", content)


def test_a_fresh_message_goes_out_without_being_read(tmp_path):
    office = Office(tmp_path)
    kinds = []

    async def run(lane, call, *args):
        kinds.append(call.__name__)
        return call(*args)

    office.blocking.run = run
    told(office, office.put("bob@example.net", tell=False))
    office.settle()
    assert office.on_disk() == []
    assert kinds == ["apply"]
    assert len(office.transmitter.sent) == 1


def test_a_fresh_message_that_is_put_off_is_read_for_the_next_attempt(tmp_path):
    answers = [DOWN, OK]
    office = Office(tmp_path, answer=lambda route, recipient: answers.pop(0))
    queue_id = office.put("bob@example.net", tell=False)
    told(office, queue_id)
    office.settle()
    assert office.spool.read(queue_id).progress[0].attempts == 1
    office.advance(600)
    assert office.on_disk() == []
    assert answers == []


def test_a_fresh_message_that_is_held_before_its_turn_stays_held(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: DOWN)
    for number in range(3):
        office.put(f"u{number}@example.net")
    office.settle()  # the destination is closed now
    queue_id = office.put("bob@example.net", tell=False)
    told(office, queue_id)
    done = start(office.runner.hold([queue_id], Choice(), "root", "a test"))
    office.settle()
    assert done.result.count == 1
    office.transmitter.answer = lambda route, recipient: OK
    office.advance(3600)
    assert office.on_disk() == [queue_id]
    assert office.spool.read(queue_id).progress[0].is_held
