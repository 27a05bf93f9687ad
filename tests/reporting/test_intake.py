"""Reports that come in by mail: noticed, read, counted; and nothing they hold does harm."""

import gzip
from dataclasses import replace

import pytest

from mailserver.mail.reports import DAY_S
from mailserver.maillog import Accepted, Filed, ReportNotRead, ReportRead, Trouble
from mailserver.ports import Lane
from mailserver.reporting import intake as intake_module
from mailserver.reporting.intake import MAX_UNPROVEN_ROWS, ReportIntake
from mailserver.store.reports import ReportStore
from mailserver.store.reports_format import reports_path
from mailserver.store.reports_read import ReportReader
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import FakeClock
from tests.fakes.directory import MemoryDirectory
from tests.policy.reports.samples import END, GOOGLE, MICROSOFT, TLS_GOOGLE, mail

HOST = "mail.example.org"
PROVEN = (
    "Authentication-Results: mail.example.org;\n\tdmarc=pass (google.com answers for it) header.from=google.com\n"
    "\tpolicy.dmarc=reject\n"
)
GZIP = gzip.compress(GOOGLE)


class Site:
    """An intake over a Maildir of the postmaster."""

    def __init__(self, root):
        self.root, self.events, self.clock, self.blocking = root, [], FakeClock(), DirectBlocking()
        self.store = ReportStore(reports_path(root))
        self.directory = MemoryDirectory(aliases={"reports@example.org": ["bob@example.org"]})
        self.intake = ReportIntake(
            self.store,
            HOST,
            ("example.org", "example.net"),
            frozenset(("postmaster@example.org", "reports@example.org")),
            directory=self.directory,
            folder=lambda mailbox, name: str(root / str(mailbox) / name),
            blocking=self.blocking,
            clock=self.clock,
            log=self.events.append,
        )
        self._number = 0

    def file(self, content, place="new", mailbox="alice@example.org", suffix=",S=1,W=2"):
        """A message in a Maildir; the unique part of its name."""
        self._number += 1
        folder = self.root / mailbox / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self._number}.M1P1Q1.host{suffix}").write_bytes(content)
        return f"{self._number}.M1P1Q1.host"

    def comes(self, content, recipient="postmaster@example.org", **kind):
        file = self.file(content, **kind)
        self.notice(Filed("Q", kind.get("mailbox", "alice@example.org"), recipient, file))

    def notice(self, event):
        self.intake.notice(event)
        self.clock.advance(0)
        return self.events

    @property
    def rows(self):
        try:
            with ReportReader(self.store.path) as reader:
                return reader.rows(0)
        except FileNotFoundError:
            return []


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_a_report_to_the_postmaster_is_counted(site):
    site.comes(mail(GZIP, top=PROVEN))
    assert site.events == [ReportRead("Q", "dmarc", "example.org", "google.com", 16, "google.com")]
    assert [(row.source, row.count) for row in site.rows] == [("192.0.2.7", 14), ("2001:db8::19", 2)]


def test_it_is_looked_at_only_after_the_answer_to_its_sender(site):
    file = site.file(mail(GZIP))
    site.intake.notice(Filed("Q", "alice@example.org", "postmaster@example.org", file))
    assert (site.blocking.calls, site.events) == ({}, [])


@pytest.mark.parametrize(
    "event",
    [
        Filed("Q", "alice@example.org", "alice@example.org", "1.M1P1Q1.host"),
        Filed("Q", "alice@example.org", "postmaster@example.net", "1.M1P1Q1.host"),
        Accepted("Q", "[192.0.2.1]", "", ("postmaster@example.org",), 5, "ESMTP"),
    ],
)
def test_other_mail_is_not_looked_at(site, event):
    site.file(mail(GZIP))
    assert site.notice(event) == []
    assert site.blocking.calls == {}


def test_a_letter_to_the_postmaster_is_just_a_letter(site):
    site.comes(b"From: x@example.com\nSubject: hello\n\nCan you help me?\n")
    assert site.events == []
    assert not site.store.path.exists()


@pytest.mark.parametrize(
    "kind",
    [
        {"place": "cur", "suffix": ",S=1,W=2:2,S"},
        {"mailbox": "bob@example.org", "recipient": "reports@example.org"},
        {"recipient": "alice@example.org,Postmaster@Example.org"},
    ],
)
def test_it_is_found_where_it_is(site, kind):
    site.comes(mail(GZIP), **kind)
    assert len(site.rows) == 2


def test_what_waited_in_the_queue_is_found_under_the_account(site):
    """The queue knows only the recipient, `postmaster@`, who is alice."""
    file = site.file(mail(GZIP))
    site.notice(Filed("Q", "postmaster@example.org", "postmaster@example.org", file))
    assert len(site.rows) == 2


@pytest.mark.parametrize("name", ["gone.M1P1Q1.host", "../../../etc/passwd", ""])
def test_a_file_that_is_not_there_any_more_is_no_trouble(site, name):
    site.file(mail(GZIP))
    assert site.notice(Filed("Q", "alice@example.org", "postmaster@example.org", name)) == []


def test_a_link_or_a_pipe_is_not_read(site, tmp_path):
    import os

    folder = tmp_path / "alice@example.org" / "new"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "9.M1P1Q1.host,S=1")
    assert site.notice(Filed("Q", "alice@example.org", "postmaster@example.org", "9.M1P1Q1.host")) == []
    (folder / "8.M1P1Q1.host,S=1").symlink_to("/etc/passwd")
    assert site.notice(Filed("Q", "alice@example.org", "postmaster@example.org", "8.M1P1Q1.host")) == []


def test_the_same_report_twice_counts_once(site):
    site.comes(mail(GZIP, top=PROVEN))
    site.comes(mail(GZIP, top=PROVEN))
    assert len(site.rows) == 2
    assert site.events[1] == ReportNotRead("Q", "the report about example.org is here already")


def test_what_nobody_vouches_for_is_marked(site):
    site.comes(mail(GZIP))
    assert {row.proven for row in site.rows} == {""}
    forged = PROVEN.replace("mail.example.org", "mx.elsewhere.example")
    site.comes(mail(gzip.compress(GOOGLE.replace(b"1029", b"7")), top=forged))
    assert {row.proven for row in site.rows} == {""}


def about(domain: bytes) -> bytes:
    told = GOOGLE.replace(b"<domain>example.org</domain>", b"<domain>" + domain + b"</domain>", 1)
    return mail(gzip.compress(told))


def test_a_report_about_somebody_else_is_not_kept(site):
    site.comes(about(b"notexample.org"))
    assert site.events == [ReportNotRead("Q", "it is about none of our domains")]
    assert not site.rows
    site.comes(about(b"sub.example.org"))
    assert site.rows[0].domain == "sub.example.org"


def test_a_report_about_a_time_to_come_is_not_kept(site):
    """It would be the last one to be forgotten, when there are too many."""
    site.comes(mail(GOOGLE.replace(str(END).encode(), str(END + 40 * DAY_S - DAY_S).encode())))
    assert [event.reason for event in site.events] == ["it is about a time that is yet to come"]
    assert not site.store.path.exists()


def test_a_large_report_has_to_be_vouched_for(site):
    start, record = GOOGLE.split(b"  <record>", 1)
    record = b"<record>" + record.split(b"</record>")[0] + b"</record>"
    addresses = (b"10.0.%d.%d" % divmod(number, 256) for number in range(MAX_UNPROVEN_ROWS + 1))
    many = start + b"".join(record.replace(b"192.0.2.7", address) for address in addresses)
    many += b"</feedback>"
    site.comes(mail(gzip.compress(many)))
    assert "rows" in site.events[0].reason
    site.comes(mail(gzip.compress(many), top=PROVEN))
    assert len(site.rows) == MAX_UNPROVEN_ROWS + 1


@pytest.mark.parametrize(
    "content",
    [
        mail(gzip.compress(b"<?xml " + b" " * 30_000_000)),
        mail(GZIP[:50]),
        mail(b'<?xml version="1.0"?><!DOCTYPE f [<!ENTITY a "b">]><feedback>&a;</feedback>', "text/xml"),
        mail(b"<?xml?>", "text/xml"),
        mail(b"{" * 100_000, "application/json"),
    ],
)
def test_a_broken_report_is_just_mail(site, content):
    site.comes(content)
    assert [type(event) for event in site.events] == [ReportNotRead]
    site.comes(mail(GZIP))
    assert len(site.rows) == 2


def test_a_reader_that_breaks_stops_nothing(site, monkeypatch):
    def broken(octets):
        raise RecursionError

    with monkeypatch.context() as patch:
        patch.setattr(intake_module, "read_reports", broken)
        site.comes(mail(GZIP))
    assert [type(event) for event in site.events] == [ReportNotRead]
    site.comes(mail(GZIP))
    assert len(site.rows) == 2


def test_a_report_about_tls(site):
    site.comes(mail(gzip.compress(TLS_GOOGLE), "application/tlsrpt+gzip"))
    assert site.events == [ReportRead("Q", "tls", "example.org", "Google Inc.", 23)]


def test_rows_that_make_no_sense_are_told(site):
    site.comes(mail(MICROSOFT.replace(b"<count>12<", b"<count>x<"), "text/xml"))
    assert site.events[0].skipped == 1


def test_a_busy_server_reads_it_later(site):
    site.blocking.full.add(Lane.GENERAL)
    site.comes(mail(GZIP))
    assert site.events == []
    site.blocking.full.clear()
    site.clock.advance(5)
    assert len(site.rows) == 2


def test_a_report_that_takes_long_is_followed_by_a_rest(site, monkeypatch):
    def slow(octets):
        site.clock.twisted.rightNow += 2.0
        return []

    monkeypatch.setattr(intake_module, "read_reports", slow)
    site.comes(mail(GZIP))
    site.comes(mail(GZIP))
    assert site.blocking.calls == {Lane.GENERAL: 1}
    site.clock.advance(7.5)
    assert site.blocking.calls == {Lane.GENERAL: 1}
    site.clock.advance(1)
    assert site.blocking.calls == {Lane.GENERAL: 2}


def test_a_server_that_stays_busy_gives_up_and_says_so(site):
    site.blocking.full.add(Lane.GENERAL)
    site.comes(mail(GZIP))
    for _ in range(30):
        site.clock.advance(5)
    assert "too busy" in site.events[0].reason


def test_too_many_at_once_are_left_for_the_import(site, monkeypatch):
    monkeypatch.setattr(intake_module, "MAX_WAITING", 3)
    event = Filed("Q", "alice@example.org", "postmaster@example.org", site.file(mail(GZIP)))
    for number in range(6):
        site.intake.notice(replace(event, queue_id=f"Q{number}"))
    assert [one.queue_id for one in site.events] == ["Q4", "Q5"]
    for _ in range(6):
        site.clock.advance(0)
    assert len(site.events) == 6


def test_a_file_that_cannot_be_written_is_told_once(site):
    site.store.path.mkdir()
    site.store.path.with_name("reports.sqlite3.damaged").mkdir()
    (site.store.path / "x").touch()
    (site.store.path.with_name("reports.sqlite3.damaged") / "x").touch()
    site.comes(mail(GZIP))
    site.comes(mail(GZIP))
    assert [type(event) for event in site.events] == [Trouble]
