"""The daily look of the running server: when it is, what it tells, what it remembers."""

import email
import email.policy
import random

import pytest
from twisted.internet.defer import Deferred

from mailserver.doctor.check import failed, passed, unknown
from mailserver.doctor.keeper import DAY_S, FIRST_S, JITTER_S, POLL_S, SOON_S, DoctorKeeper
from mailserver.doctor.remembered import ResultsFile
from mailserver.mail.address import Mailbox
from mailserver.maillog import DoctorLooked, ReportMade, Trouble
from mailserver.ports import Lane, StorageTrouble
from mailserver.postmaster_notes import PostmasterNotes
from mailserver.relay.bounce import Reporter
from tests.fakes.awaiting import run
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import Counter, FakeClock
from tests.fakes.committer import MemoryCommitter

HOST = "mail.example.org"
WELL = [passed("disk", "77 GB free"), passed("dns", "there", "MX example.org")]
ILL = [passed("disk", "77 GB free"), failed("dns", "there is no such record", "publish it", "MX example.org")]
LOST = [passed("disk", "77 GB free"), unknown("dns", "SERVFAIL", about="MX example.org")]


class Keeping:
    """A keeper over a real folder, real notes, and a clock that is moved."""

    def __init__(self, folder, clock=None):
        self.clock, self.blocking, self.events = clock or FakeClock(), DirectBlocking(), []
        self.committer = MemoryCommitter()
        self.found = WELL
        self.looks = 0
        notes = PostmasterNotes(
            Reporter(HOST, Mailbox("postmaster", "example.org")),
            self.committer,
            Counter(),
            self.clock,
            self.events.append,
        )
        self.results = ResultsFile(folder)
        self.keeper = DoctorKeeper(
            self.results,
            self.examine,
            notes.send,
            HOST,
            blocking=self.blocking,
            clock=self.clock,
            log=self.events.append,
            rng=random.Random(7),
        )

    async def examine(self):
        self.looks += 1
        return list(self.found)

    def wait(self, seconds):
        """As `Poll` does."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            run(self.keeper.look())
            self.clock.advance(min(300.0, POLL_S * 10))

    @property
    def mails(self):
        return [
            email.message_from_bytes(one.content.replace(b"\r\n", b"\n"), policy=email.policy.default)
            for one in self.committer.stored
        ]


def test_the_first_look_is_some_minutes_after_the_start_and_then_one_each_day(tmp_path):
    keeping = Keeping(tmp_path)
    run(keeping.keeper.look())
    keeping.clock.advance(FIRST_S - 1)
    run(keeping.keeper.look())
    assert keeping.looks == 0
    keeping.clock.advance(FIRST_S + 1)
    run(keeping.keeper.look())
    assert keeping.looks == 1
    keeping.clock.advance(DAY_S - JITTER_S - 1)
    run(keeping.keeper.look())
    assert keeping.looks == 1
    keeping.wait(9 * DAY_S)
    assert 9 <= keeping.looks <= 11


def test_a_server_that_is_restarted_looks_no_more_often(tmp_path):
    keeping = Keeping(tmp_path)
    keeping.wait(DAY_S / 2)
    assert keeping.looks == 1
    again = Keeping(tmp_path, keeping.clock)
    again.wait(DAY_S / 4)
    assert again.looks == 0
    again.wait(DAY_S / 2)
    assert again.looks == 1


def test_a_clock_that_was_set_back_does_not_put_off_the_look_for_years(tmp_path):
    keeping = Keeping(tmp_path)
    keeping.wait(DAY_S / 2)
    keeping.clock.step(-5 * 365 * DAY_S)
    again = Keeping(tmp_path, keeping.clock)
    again.wait(DAY_S / 2)
    assert again.looks == 1


def test_the_postmaster_hears_of_changes_and_of_nothing_else(tmp_path):
    keeping = Keeping(tmp_path)
    keeping.wait(3 * DAY_S)
    assert keeping.mails == []
    keeping.found = ILL
    keeping.wait(4 * DAY_S)
    (mail,) = keeping.mails
    assert mail["Subject"] == f"{HOST}: something does not work"
    assert (mail["To"], mail["Auto-Submitted"]) == ("postmaster@example.org", "auto-generated")
    assert mail.get_content_type() == "text/plain"
    assert "* dns: there is no such record\n  -> publish it\n" in mail.get_content()
    keeping.found = WELL
    keeping.wait(4 * DAY_S)
    assert [one["Subject"] for one in keeping.mails[1:]] == [f"{HOST}: something is mended"]
    assert "* dns: there\n" in keeping.mails[1].get_content()
    looks = [event for event in keeping.events if isinstance(event, DoctorLooked)]
    assert [event.worse for event in looks if event.worse] == [("dns MX example.org",)]
    assert [event.mended for event in looks if event.mended] == [("dns MX example.org",)]
    assert looks[0].line() == "doctor passed=2 warned=0 failed=0 unknown=0"
    assert {type(event) for event in keeping.events} == {DoctorLooked, ReportMade}


def test_the_first_look_tells_what_does_not_work(tmp_path):
    keeping = Keeping(tmp_path)
    keeping.found = ILL
    keeping.wait(DAY_S / 2)
    (mail,) = keeping.mails
    assert "for the first time" in mail.get_content()


def test_what_cannot_be_known_is_told_when_it_has_lasted_three_days(tmp_path):
    keeping = Keeping(tmp_path)
    keeping.wait(DAY_S)
    keeping.found = LOST
    keeping.wait(2 * DAY_S)
    assert keeping.mails == []
    keeping.wait(4 * DAY_S)
    (mail,) = keeping.mails
    assert mail["Subject"] == f"{HOST}: something cannot be checked"


def test_news_survives_a_restart(tmp_path):
    keeping = Keeping(tmp_path)
    keeping.wait(DAY_S / 2)
    again = Keeping(tmp_path, keeping.clock)
    again.found = ILL
    again.wait(DAY_S)
    assert len(again.mails) == 1


def test_a_mail_that_could_not_be_written_is_written_later(tmp_path):
    keeping = Keeping(tmp_path)
    keeping.wait(DAY_S / 2)
    keeping.found = ILL
    keeping.committer.trouble = StorageTrouble("the disk is gone")
    keeping.wait(DAY_S)
    assert keeping.mails == []
    keeping.committer.trouble = None
    keeping.wait(2 * SOON_S)
    assert len(keeping.mails) == 1


def test_results_that_cannot_be_read_or_written_are_told_and_break_nothing(tmp_path):
    keeping = Keeping(tmp_path)
    (tmp_path / "doctor.json").write_text("nonsense")
    keeping.wait(DAY_S / 2)
    assert next(event.what for event in keeping.events if isinstance(event, Trouble)).startswith("the results")
    assert keeping.looks == 1
    keeping.blocking.full.add(Lane.GENERAL)
    keeping.wait(2 * DAY_S)
    assert keeping.looks > 1
    assert any(event.what == "the daily look" for event in keeping.events if isinstance(event, Trouble))


def test_a_look_that_breaks_comes_again_the_next_day(tmp_path):
    keeping = Keeping(tmp_path)

    async def breaks():
        keeping.looks += 1
        raise RuntimeError("a fault of ours")

    keeping.keeper._examine = breaks
    run(keeping.keeper.look())
    keeping.clock.advance(3 * FIRST_S)
    with pytest.raises(RuntimeError):
        run(keeping.keeper.look())
    keeping.clock.advance(POLL_S)
    run(keeping.keeper.look())
    assert keeping.looks == 1


def test_nothing_else_waits_while_it_looks(tmp_path):
    keeping = Keeping(tmp_path)
    slow = Deferred()

    async def looks():
        return await slow

    keeping.keeper._examine = looks
    run(keeping.keeper.look())
    keeping.clock.advance(3 * FIRST_S)
    looking = Deferred.fromCoroutine(keeping.keeper.look())
    assert not looking.called
    slow.callback(WELL)
    assert looking.called
