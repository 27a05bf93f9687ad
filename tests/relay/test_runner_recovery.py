"""A report is there once, wherever a crash falls between its file and the mark of the message it is about."""

import pytest
from twisted.internet.defer import Deferred

from mailserver.store.files import Files
from tests.fakes.relay import LATER, NO, OK, AtOnce, Office

REFUSED, TAKEN = "nobody@example.net", "a@example.com"


class OneWaits(AtOnce):
    """A lane in which the opening of one message has to wait for `go`."""

    def __init__(self, queue_id):
        super().__init__()
        self.queue_id = queue_id
        self.go = Deferred()

    async def run(self, lane, call, *args):
        if args == (self.queue_id,):
            await self.go
        return await super().run(lane, call, *args)


class Stubborn(Files):
    """A disk that does not let go of, or put in force, whatever has one of these names."""

    def __init__(self):
        self.names = ()

    def unlink(self, path):
        self._check(path)
        super().unlink(path)

    def rename(self, source, target):
        self._check(target)
        super().rename(source, target)

    def _check(self, path):
        if path.endswith(self.names):
            raise OSError(5, "Input/output error", path)


def answer(route, recipient):
    return {REFUSED: NO, TAKEN: OK}.get(str(recipient.mailbox), LATER)


@pytest.fixture
def disk():
    return Stubborn()


@pytest.fixture
def office(tmp_path, disk):
    return Office(tmp_path, files=disk, answer=answer)


@pytest.fixture(params=[(REFUSED,), (REFUSED, "later@example.net")], ids=["the removal", "the state"])
def unmarked(office, disk, request):
    """A message whose report is on disk, and whose own mark (its removal, or its state) is not."""
    queue_id = office.put(*request.param, tell=False)
    disk.names = (f"messages/{queue_id}",)
    office.runner.added(queue_id, office.spool.read(queue_id).envelope, office.clock.now())
    states = (*disk.names, f"states/{queue_id}")
    while not office.words("report"):
        office.clock.advance(0.001)
        if any(one.report for one in office.spool.read(queue_id).progress):
            disk.names = states
    return queue_id


def reports(office):
    return [content for name, content in office.mailboxes.filed if name == "alice@example.org"]


def test_a_report_is_not_sent_before_its_mark_is_on_disk(office, disk, unmarked):
    office.advance(60)
    assert reports(office) == []
    assert len(office.on_disk()) == 2
    disk.names = ()
    office.advance(20)
    assert len(reports(office)) == 1


def test_a_kill_before_the_mark_repeats_no_report(office, disk, unmarked):
    office.advance(1)
    disk.names = ()
    office.restart()
    office.advance(20)
    assert len(reports(office)) == 1
    assert office.words("report") == ["report"], "found, and not made again"


def test_a_report_that_was_found_waits_until_its_message_is_opened_and_marked(office, disk, unmarked):
    disk.names = ()
    office.blocking = OneWaits(unmarked)
    office.restart()
    office.advance(60)
    assert reports(office) == []
    office.blocking.go.callback(None)
    office.advance(1)
    assert len(reports(office)) == 1
    assert office.words("report") == ["report"]


def test_a_second_kill_before_the_mark_repeats_no_report_either(office, disk, unmarked):
    disk.names = ()
    office.blocking = OneWaits(unmarked)
    office.restart()
    office.advance(60)
    office.blocking = AtOnce()
    office.restart()
    office.advance(1)
    assert len(reports(office)) == 1


def test_a_report_that_was_damaged_meanwhile_is_made_again(office, disk, unmarked):
    (report_id,) = set(office.on_disk()) - {unmarked}
    office.spool.paths.message(report_id).write_bytes(b"rubbish")
    disk.names = ()
    office.restart()
    office.advance(1)
    assert len(reports(office)) == 1
    assert office.words("report") == ["report", "report"]


def test_a_report_that_was_never_written_is_made_at_the_next_start(office, disk, unmarked):
    (report_id,) = set(office.on_disk()) - {unmarked}
    office.spool.paths.message(report_id).unlink()
    disk.names = ()
    office.restart()
    office.advance(1)
    assert len(reports(office)) == 1


def test_everything_is_gone_at_the_end(office, disk, unmarked):
    disk.names = ()
    office.restart()
    office.transmitter.answer = lambda route, recipient: OK
    office.advance(400)
    assert office.on_disk() == []
    assert list(office.spool.paths.states.iterdir()) == []
    assert len(office.runner) == 0
    assert office.failures == []
