"""What of reports takes part in a server, by its configuration."""

import time

import pytest

from mailserver.config import load_config
from mailserver.mail.address import Mailbox
from mailserver.maillog import ReportsSent
from mailserver.relay.bounce import Reporter
from mailserver.relay.tls_results import TlsSession
from mailserver.reporting.plug import LOOK_S, Reports
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import Counter, FakeClock
from tests.fakes.committer import MemoryCommitter
from tests.fakes.directory import MemoryDirectory
from tests.fakes.zone import ZoneResolver

CONFIG = """\
hostname = "mail.example.org"
domains = ["example.org"]
postmaster = "alice@example.org"
[storage]
state = "state"
[reports]
"""


@pytest.fixture
def reports(tmp_path):
    def make(text):
        (tmp_path / "state").mkdir(exist_ok=True)
        (tmp_path / "mailserver.toml").write_text(CONFIG + text)
        config = load_config(tmp_path / "mailserver.toml", None)
        events, clock = [], FakeClock(1_750_075_200.0)
        return Reports(config, None, blocking=DirectBlocking(), clock=clock, log=events.append), events, clock

    return make


def services(found, committer=None, zone=None):
    reporter = Reporter("mail.example.org", Mailbox("postmaster", "example.org"))
    return found.services(ZoneResolver(zone or {}), committer or MemoryCommitter(), reporter, Counter())


def test_what_is_off_is_not_there(reports):
    found, events, _ = reports("read = false")
    assert services(found) == []
    assert (found.count_dmarc, found.tell_tls) == (None, None)
    sink = found.noticing(MemoryDirectory(), lambda mailbox, name: "")
    sink("x")
    assert events == ["x"]


@pytest.mark.parametrize(
    ("text", "counts", "names"),
    [
        ("", (False, False), ["reports"]),
        ("send_dmarc = true", (True, False), ["counts for reports", "counts for reports, written", "reports"]),
        ("send_tlsrpt = true", (False, True), ["counts for reports", "counts for reports, written", "reports"]),
        ("read = false\nsend_dmarc = true\nsend_tlsrpt = true", (True, True), None),
    ],
)
def test_what_is_on_takes_part(reports, text, counts, names):
    found, _, _ = reports(text)
    assert (found.count_dmarc is not None, found.tell_tls is not None) == counts
    if names is not None:
        assert [service.name for service in services(found)] == names


def test_a_session_of_today_is_in_the_mail_of_tomorrow(reports):
    found, events, clock = reports("send_tlsrpt = true")
    committer = MemoryCommitter()
    zone = {"_smtp._tls.far.example": {"TXT": ["v=TLSRPTv1; rua=mailto:tls@far.example"]}}
    running = services(found, committer, zone)
    for service in running:
        service.startService()
    found.tell_tls(TlsSession("far.example", "no-policy-found", "mx.far.example"))
    begun = time.process_time()
    while not committer.stored and clock.monotonic() < 2 * 86400:
        clock.advance(LOOK_S)
    assert 12 * 3600 < clock.monotonic() < 17 * 3600
    assert time.process_time() - begun < 20
    for service in running:
        service.stopService()
    assert committer.stored[0].acceptance.remote[0].mailbox == Mailbox("tls", "far.example")
    assert events[-1] == ReportsSent("tls", "2025-06-16", 1, 0, 0)


def test_addresses_for_reports(reports):
    from mailserver.config.reports import Reports as Table

    domains = ("example.org", "example.net")
    both = {"postmaster@example.org", "postmaster@example.net"}
    assert Table().addresses(domains) == both
    dmarc, tls = Mailbox("dmarc", "example.org"), Mailbox("TLS", "example.net")
    assert Table(dmarc_address=dmarc).addresses(domains) == both | {"dmarc@example.org"}
    assert Table(dmarc_address=dmarc, tlsrpt_address=tls).addresses(domains) == {"dmarc@example.org", "tls@example.net"}
