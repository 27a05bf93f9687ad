"""Our own reports from the first message that is counted to the mail in the queue, by a clock that is moved."""

import random
from ipaddress import ip_address

import pytest

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Notify
from mailserver.mail.reports import DAY_S, DmarcReport, DmarcRow, SignatureSeen, TlsReport
from mailserver.maillog import ReportMade, ReportsSent, Trouble
from mailserver.policy.dkim.result import DkimResult, DkimVerdict, SignatureResults
from mailserver.policy.dmarc.record import parse_record
from mailserver.policy.dmarc.result import Disposition, DmarcResult, DmarcVerdict
from mailserver.policy.reports.letters import Letterhead
from mailserver.policy.reports.read import read_reports
from mailserver.policy.spf.evaluation import SpfQuestion
from mailserver.policy.spf.result import SpfIdentity, SpfResult, SpfVerdict
from mailserver.ports import ConnectionFailed, Lane, StorageFull
from mailserver.relay.tls_results import TlsSession
from mailserver.reporting import counting
from mailserver.reporting.counting import Counts
from mailserver.reporting.sending import MAX_AT_ONCE, Kept, ReportSender
from mailserver.session.dmarc_check import DmarcFinding
from mailserver.session.sender_check import NOT_ASKED, SpfFinding, SpfFindings
from mailserver.store.reports import ReportStore
from mailserver.store.reports_format import reports_path
from tests.fakes.awaiting import run
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import Counter, FakeClock
from tests.fakes.committer import MemoryCommitter
from tests.fakes.zone import ZoneResolver

# Noon of 2025-06-16, UTC.
NOON = 1_750_075_200.0
MORNING = NOON + 18 * 3600.0
BEGIN = int(NOON // DAY_S) * DAY_S
RECORD = "v=DMARC1; p=reject; sp=quarantine; adkim=s; rua=mailto:rua@outside.example"
ZONE = {
    "_dmarc.outside.example": {"TXT": [RECORD]},
    "_dmarc.other.example": {"TXT": ["v=DMARC1; p=none; rua=mailto:a@other.example, mailto:b@other.example!1k"]},
    "_smtp._tls.far.example": {"TXT": ["v=TLSRPTv1; rua=mailto:tls@far.example"]},
}


class Site:
    def __init__(self, root, kinds=("dmarc", "tls")):
        self.clock, self.blocking, self.events = FakeClock(NOON), DirectBlocking(), []
        self.zone = {name: dict(entry) for name, entry in ZONE.items()}
        self.committer = MemoryCommitter()
        self.store = ReportStore(reports_path(root))
        self.counts = Counts(self.store, blocking=self.blocking, clock=self.clock, log=self.events.append)
        self.kinds, self.posted, self.post_trouble = kinds, [], ""
        self.sender = self.restarted()

    def restarted(self):
        self.sender = ReportSender(
            self.store,
            Letterhead("mail.example.org", Mailbox("postmaster", "example.org")),
            self.kinds,
            Kept(180 * 86400.0, 100_000_000),
            sign=lambda content: b"DKIM-Signature: x\r\n" + content,
            post=self.post,
            committer=self.committer,
            new_queue_id=Counter(),
            resolver=ZoneResolver(self.zone),
            blocking=self.blocking,
            clock=self.clock,
            rng=random.Random(1),
            log=self.events.append,
        )
        return self.sender

    async def post(self, url, packed):
        if self.post_trouble:
            raise ConnectionFailed(self.post_trouble)
        self.posted.append((url, packed))

    def receive(self, domain="outside.example", text=RECORD, **kind):
        self.counts.dmarc(*message(domain, text, **kind))
        run(self.counts.flush())

    def look(self, at=None):
        if at is not None:
            self.clock.step(at - self.clock.now())
        run(self.sender.look())
        return [(str(one.acceptance.remote[0].mailbox), one) for one in self.committer.stored]

    def report(self, number=0):
        [found] = read_reports(self.committer.stored[number].content)
        return found


def message(
    domain="outside.example", text=RECORD, *, client="192.0.2.9", verdict=DmarcVerdict.FAIL, done=Disposition.NONE,
    policy=None, spf=SpfVerdict.PASS, sender="bounce.example", local_part="x", signatures=(), aligned=(False, False),
    author=None,
):  # fmt: skip
    record = parse_record(text)
    result = DmarcResult(
        verdict, author or domain, policy or record.policy, domain, "", record.is_testing, record=record,
        has_aligned_spf=aligned[0], has_aligned_dkim=aligned[1],
    )  # fmt: skip
    question = SpfQuestion(ip_address(client), sender, local_part, "mx.example", "us", SpfIdentity.MAIL_FROM)
    found = SpfFinding(question, SpfResult(spf, SpfIdentity.MAIL_FROM, sender))
    return SignatureResults(tuple(signatures)), SpfFindings(found), DmarcFinding(result, done)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


# --- DMARC ------------------------------------------------------------------------------------------------------------


def test_what_came_in_on_a_day_is_reported_the_next(site):
    signatures = (
        DkimResult(DkimVerdict.FAIL, "", "x.example", "s2"),
        DkimResult(DkimVerdict.PASS, "", "outside.example", "s1"),
    )
    for _ in range(3):
        site.receive(
            verdict=DmarcVerdict.PASS, aligned=(False, True), signatures=signatures, author="mail.outside.example"
        )
    site.receive(client="203.0.113.9", spf=SpfVerdict.FAIL, sender="outside.example", local_part="")
    site.receive(client="203.0.113.9", done=Disposition.REJECT)
    assert site.look() == site.look(NOON + 12 * 3600.0 + 600) == []  # ten past midnight is too early
    [(to, stored)] = site.look(MORNING)
    assert to == "rua@outside.example"
    report = site.report()
    assert isinstance(report, DmarcReport)
    assert (report.reporter, report.contact) == ("example.org", "postmaster@example.org")
    assert (report.begin, report.end) == (BEGIN, BEGIN + 86399)
    policy = report.policy
    assert (policy.domain, policy.policy, policy.subdomains, policy.dkim, policy.spf) == (
        "outside.example", "reject", "quarantine", "s", "r",
    )  # fmt: skip
    assert sorted(report.rows, key=lambda row: (row.source, row.disposition)) == [
        DmarcRow(
            "192.0.2.9", 3, "none", True, False, "mail.outside.example", "bounce.example",
            (SignatureSeen("outside.example", "s1", "pass"), SignatureSeen("x.example", "s2", "fail")),
            "bounce.example", "pass",
        ),
        DmarcRow(
            "203.0.113.9", 1, "none", False, False, "outside.example", "", (), "outside.example", "fail",
            ("local_policy",),
        ),
        DmarcRow(
            "203.0.113.9", 1, "reject", False, False, "outside.example", "bounce.example", (), "bounce.example", "pass",
        ),
    ]  # fmt: skip
    assert stored.content.startswith(b"DKIM-Signature: x\r\nFrom: ")


def test_the_mail_goes_out_with_the_null_reverse_path_and_wants_no_report(site):
    site.receive()
    [(_, stored)] = site.look(MORNING)
    envelope = stored.acceptance.envelope
    assert envelope.reverse_path is None
    assert stored.acceptance.remote[0].notify == frozenset({Notify.NEVER})
    assert [type(event) for event in site.events] == [ReportMade, ReportsSent]
    assert site.events[1] == ReportsSent("dmarc", "2025-06-16", 1, 0, 0)


def test_it_is_sent_once(site):
    site.receive()
    site.look(MORNING)
    site.look(MORNING + 300)
    site.restarted()
    assert len(site.look(MORNING + 86400.0)) == 1


def test_days_are_told_apart(site):
    site.receive()
    site.clock.step(86400.0)
    site.receive()
    assert len(site.look(MORNING)) == 1
    assert len(site.look(MORNING + 86400.0)) == 2
    assert site.report(0).begin + 86400 == site.report(1).begin


def test_counts_survive_a_restart(site):
    site.receive()
    site.restarted()
    assert len(site.look(MORNING)) == 1


def test_a_report_that_is_made_again_after_a_crash_has_the_same_id(site, monkeypatch):
    site.receive()
    settle = site.store.settle
    monkeypatch.setattr(site.store, "settle", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
    with pytest.raises(RuntimeError):
        site.look(MORNING)
    monkeypatch.setattr(site.store, "settle", settle)
    site.restarted()
    site.look(MORNING + 600)
    assert site.report(0) == site.report(1)


def test_who_does_not_ask_for_reports_is_not_even_counted(site):
    site.receive(text="v=DMARC1; p=reject")
    assert not site.store.path.exists()


@pytest.mark.parametrize("verdict", [DmarcVerdict.NONE, DmarcVerdict.TEMPERROR, DmarcVerdict.PERMERROR])
def test_what_has_no_verdict_is_not_counted(site, verdict):
    site.receive(verdict=verdict)
    assert not site.store.path.exists()


def test_a_message_without_spf_is_not_counted(site):
    signatures, _, finding = message()
    site.counts.dmarc(signatures, NOT_ASKED, finding)
    run(site.counts.flush())
    assert not site.store.path.exists()


def test_a_domain_that_does_not_want_it_any_more_gets_none(site):
    site.receive()
    site.zone["_dmarc.outside.example"] = {"TXT": ["v=DMARC1; p=reject"]}
    site.restarted()
    assert site.look(MORNING) == []
    assert site.events == [ReportsSent("dmarc", "2025-06-16", 0, 1, 0)]


def test_a_destination_outside_has_to_agree(site):
    site.zone["_dmarc.outside.example"] = {"TXT": ["v=DMARC1; p=reject; rua=mailto:victim@elsewhere.example"]}
    site.receive()
    assert site.look(MORNING) == []


def test_a_limit_on_the_size_is_kept(site):
    site.receive("other.example", "v=DMARC1; p=none; rua=mailto:a@other.example")
    assert [to for to, _ in site.look(MORNING)] == ["a@other.example"]


def test_a_domain_whose_dns_is_down_is_asked_again_and_given_up_after_days(site):
    site.zone["_dmarc.outside.example"] = {"rcode": "SERVFAIL"}
    site.receive()
    assert site.look(MORNING) == []
    site.zone["_dmarc.outside.example"] = ZONE["_dmarc.outside.example"]
    assert len(site.look(MORNING + 3600)) == 1
    site.zone["_dmarc.outside.example"] = {"rcode": "SERVFAIL"}
    site.receive()
    site.look(MORNING + 4 * 86400.0)
    site.look(MORNING + 5 * 86400.0)
    assert site.events[-1] == ReportsSent("dmarc", "2025-06-17", 0, 0, 1)
    assert len(site.committer.stored) == 1


def test_many_reports_go_out_over_time(site):
    for number in range(MAX_AT_ONCE + 5):
        domain = f"d{number}.example"
        text = f"v=DMARC1; p=none; rua=mailto:a@{domain}"
        site.zone[f"_dmarc.{domain}"] = {"TXT": [text]}
        site.counts.dmarc(*message(domain, text))
    run(site.counts.flush())
    site.restarted()
    assert len(site.look(MORNING)) == MAX_AT_ONCE
    assert len(site.look(MORNING + 300)) == MAX_AT_ONCE + 5
    assert [event for event in site.events if isinstance(event, ReportsSent)] == [
        ReportsSent("dmarc", "2025-06-16", MAX_AT_ONCE + 5, 0, 0)
    ]


def test_trouble_is_told_once_and_tried_again(site):
    site.receive()
    site.committer.trouble = StorageFull("no room")
    site.look(MORNING)
    site.look(MORNING + 300)
    assert [type(event) for event in site.events] == [Trouble]
    site.committer.trouble = None
    assert len(site.look(MORNING + 600)) == 1


def test_servers_do_not_all_send_at_the_same_moment(tmp_path):
    offsets = set()
    for number in range(10):
        sender = ReportSender(
            ReportStore(tmp_path / "x"), Letterhead("a", Mailbox("p", "a.example")), (), Kept(1.0, 1), sign=bytes,
            post=print,
            committer=MemoryCommitter(), new_queue_id=Counter(), resolver=ZoneResolver({}), blocking=DirectBlocking(),
            clock=FakeClock(), rng=random.Random(number), log=print,
        )  # fmt: skip
        offsets.add(sender.offset_s)
    assert len(offsets) == 10
    assert all(900 <= offset <= 4 * 3600 for offset in offsets)


def test_kinds_that_are_off_are_not_sent(tmp_path):
    site = Site(tmp_path, ("tls",))
    site.receive()
    assert site.look(MORNING) == []


def test_a_policy_in_testing_says_why_less_was_done(site):
    text = "v=DMARC1; p=reject; t=y; rua=mailto:rua@outside.example"
    quarantined = parse_record(text).policy.lowered
    site.receive(text=text, policy=quarantined, done=Disposition.QUARANTINE)
    site.look(MORNING)
    assert site.report().rows[0].reasons == ("policy_test_mode",)
    assert site.report().policy.is_testing


# --- TLS --------------------------------------------------------------------------------------------------------------

WELL = TlsSession(
    "far.example", "sts", "mx.far.example", "198.51.100.1", "", "", ("version: STSv1",), ("mx.far.example",)
)
EXPIRED = TlsSession(
    "far.example", "sts", "mx.far.example", "198.51.100.1", "certificate-expired", "it has expired",
    ("version: STSv1",), ("mx.far.example",),
)  # fmt: skip


def test_sessions_of_a_day_are_reported_the_next(site):
    for session in (WELL, WELL, EXPIRED, TlsSession("near.example", "no-policy-found", "mx.near.example")):
        site.counts.tls(session)
    run(site.counts.flush())
    [(to, stored)] = site.look(MORNING)
    assert to == "tls@far.example"
    report = site.report()
    assert isinstance(report, TlsReport)
    [policy] = report.policies
    assert (policy.kind, policy.domain, policy.successes, policy.failures) == ("sts", "far.example", 2, 1)
    assert [(one.result, one.count, one.host, one.host_ip) for one in policy.details] == [
        ("certificate-expired", 1, "mx.far.example", "198.51.100.1")
    ]
    assert b"\r\nTLS-Required: No\r\n" in stored.content
    assert site.events[-1] == ReportsSent("tls", "2025-06-16", 1, 1, 0)


def test_a_web_address_gets_it_by_post_and_is_tried_again(site):
    site.zone["_smtp._tls.far.example"] = {"TXT": ["v=TLSRPTv1; rua=https://reports.far.example/v1"]}
    site.restarted()
    site.counts.tls(EXPIRED)
    run(site.counts.flush())
    site.post_trouble = "it answered 500"
    assert site.look(MORNING) == site.look(MORNING + 300) == []
    site.post_trouble = ""
    site.look(MORNING + 3000)
    assert site.posted == []  # an hour has not passed
    site.look(MORNING + 3700)
    [(url, packed)] = site.posted
    assert url == "https://reports.far.example/v1"
    [report] = read_reports(packed)
    assert report.policies[0].failures == 1
    assert site.events[-1] == ReportsSent("tls", "2025-06-16", 1, 0, 0)


def test_a_web_address_that_never_takes_it_is_given_up(site):
    site.zone["_smtp._tls.far.example"] = {"TXT": ["v=TLSRPTv1; rua=https://reports.far.example/v1"]}
    site.restarted()
    site.counts.tls(EXPIRED)
    run(site.counts.flush())
    site.post_trouble = "it answered 500"
    site.look(MORNING)
    site.look(MORNING + 3 * 86400.0)
    assert site.events[-1] == ReportsSent("tls", "2025-06-16", 0, 0, 1)
    site.look(MORNING + 4 * 86400.0)
    assert site.posted == []


def test_one_destination_that_takes_it_is_enough(site):
    both = "v=TLSRPTv1; rua=https://reports.far.example/v1,mailto:tls@far.example"
    site.zone["_smtp._tls.far.example"] = {"TXT": [both]}
    site.restarted()
    site.counts.tls(EXPIRED)
    run(site.counts.flush())
    site.post_trouble = "it answered 500"
    assert [to for to, _ in site.look(MORNING)] == ["tls@far.example"]
    assert len(site.look(MORNING + 7200)) == 1


# --- counting ---------------------------------------------------------------------------------------------------------


def test_counts_that_cannot_be_written_now_are_kept(site):
    site.blocking.full.add(Lane.GENERAL)
    site.receive()
    site.blocking.full.clear()
    run(site.counts.flush())
    assert len(site.look(MORNING)) == 1


def test_a_file_that_cannot_be_written_is_told_once(tmp_path):
    site = Site(tmp_path / "gone")
    site.receive()
    site.receive()
    assert [type(event) for event in site.events] == [Trouble]
    (tmp_path / "gone").mkdir()
    run(site.counts.flush())
    [(_, count)] = site.store.seen("dmarc", int(NOON // DAY_S), "outside.example")
    assert count == 2


def test_there_is_an_end_to_what_is_held_in_memory(site, monkeypatch):
    monkeypatch.setattr(counting, "MAX_IN_MEMORY", 5)
    for number in range(20):
        site.counts.dmarc(*message(client=f"192.0.2.{number}"))
    site.counts.dmarc(*message(client="192.0.2.1"))
    run(site.counts.flush())
    assert sorted(count for _, count in site.store.seen("dmarc", int(NOON // DAY_S), "outside.example")) == [
        1,
        1,
        1,
        1,
        2,
    ]
