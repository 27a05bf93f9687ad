"""`mailserver dmarc` and `mailserver tlsrpt`, with reports from files."""

import gzip
import json
import time

import pytest

from mailserver.policy.reports.dmarc_read import read_dmarc
from mailserver.store.reports import ReportStore
from mailserver.store.reports_format import reports_path
from tests.policy.reports.samples import BEGIN, END, GOOGLE, MICROSOFT, TLS_GOOGLE, mail, zipped

YESTERDAY = int(time.time()) - 86400


def recent(octets: bytes) -> bytes:
    """The sample as if it were of yesterday."""
    day = time.strftime("%Y-%m-%d", time.gmtime(YESTERDAY)).encode()
    octets = octets.replace(str(BEGIN).encode(), str(YESTERDAY).encode())
    octets = octets.replace(str(BEGIN + 86400).encode(), str(YESTERDAY + 86400).encode())
    return octets.replace(str(END).encode(), str(YESTERDAY + 86399).encode()).replace(b"2025-06-16", day)


@pytest.fixture
def files(command):
    command.config.write_text(
        command.config.read_text() + '[doctor]\naddresses = ["192.0.2.7"]\n[dns]\nservers = ["127.0.0.1:9"]\n'
    )

    def write(name, octets):
        (command.folder / name).write_bytes(octets)
        return str(command.folder / name)

    return write


def test_reports_are_imported_and_shown(command, files):
    names = [files("a.zip", zipped(recent(GOOGLE))), files("b.eml", mail(gzip.compress(recent(MICROSOFT))))]
    assert "google.com about example.org: 16 messages\n" in command.ok("dmarc", "import", *names)
    told = command.ok("dmarc")
    first, *rest = told.splitlines()
    assert first.startswith("example.org: 28 messages, policy p=reject, reports about 1 day")
    assert rest[0].startswith("192.0.2.7 (ours)\t14\t14\t14\t0\tnone\texample.org\texample.org\tgoogle.com")
    assert "203.0.113.9\t12\t0\t0\t12\treject 12\t\tspam.example\tEnterprise Outlook" in told
    assert "- all 14 messages from your own address 192.0.2.7 passed\n" in told
    assert "- 14 messages from 203.0.113.9, 2001:db8::19 failed both SPF and DKIM: somebody else" in told


def test_json_has_it_all(command, files):
    command.ok("dmarc", "import", files("a.xml", recent(GOOGLE)))
    [found] = json.loads(command.ok("dmarc", "--json"))
    assert (found["domain"], found["messages"], found["policy"]) == ("example.org", 16, "none")
    own = found["sources"][0]
    assert (own["address"], own["is_ours"], own["passed"], own["failed"]) == ("192.0.2.7", True, 14, 0)
    assert own["reporters"] == [{"name": "google.com", "is_proven": True}]
    assert found["findings"][0].startswith("all 14 messages")
    assert json.loads(command.ok("dmarc", "--json", "--domain", "example.net")) == []
    assert json.loads(command.ok("dmarc", "--json", "--domain", "EXAMPLE.org."))


def test_standard_input_is_a_file_too_and_the_same_report_counts_once(command, files):
    assert "16 messages\n" in command.ok("dmarc", "import", "-", input=gzip.compress(recent(GOOGLE)))
    assert "(was there before)" in command.ok("dmarc", "import", files("a.xml", recent(GOOGLE)))
    assert json.loads(command.ok("dmarc", "--json"))[0]["messages"] == 16


def test_since_when(command, files):
    command.ok("dmarc", "import", files("a.xml", GOOGLE))
    assert "there are no reports about example.org or example.net of the last 7d" in command.ok("dmarc")
    assert command("dmarc", "--since", "soon").exit_code == 2


def test_what_is_no_report_is_said(command, files):
    names = [files("letter", b"Subject: hello\n\nhello\n"), files("broken.gz", gzip.compress(GOOGLE)[:99])]
    result = command("dmarc", "import", *names, files("good.xml", recent(GOOGLE)))
    assert result.exit_code == 1
    assert "letter: there is no report in it" in result.stderr
    assert "broken.gz: what is packed in it is cut off" in result.stderr
    assert "16 messages" in result.stdout
    other = files("other", GOOGLE.replace(b"example.org", b"example.com"))
    assert "about example.com, which is none of our domains" in command.refused("dmarc", "import", other)
    assert "no such file" in command.refused("dmarc", "import", "/nonexistent")


def test_without_reports_it_says_where_they_come_in(command):
    told = command.ok("dmarc")
    assert "they are read when they come to postmaster@example.net, postmaster@example.org" in told
    command.config.write_text(command.config.read_text() + "[reports]\nread = false\n")
    assert "reports.read is false" in command.ok("dmarc")


def test_what_nobody_vouches_for_has_a_star(command, files):
    store = ReportStore(reports_path(command.folder / "state"))
    store.add(read_dmarc(recent(GOOGLE)), "example.org", "", time.time())
    assert "\tgoogle.com*\n" in command.ok("dmarc")


def test_tls(command, files):
    assert "there are no reports about TLS" in command.ok("tlsrpt")
    command.ok("dmarc", "import", files("t.gz", gzip.compress(recent(TLS_GOOGLE))))
    result = command("tlsrpt")
    assert result.exit_code == 1
    first, second = result.stdout.splitlines()
    assert first == "example.org: 3 of 23 sessions that were told of had trouble with TLS (told by Google Inc.)"
    assert second.startswith(
        "3\tcertificate-expired\tthe certificate had expired\tmail.example.org\tGoogle Inc.\trenew"
    )
    [found] = json.loads(command("tlsrpt", "--json").stdout)
    assert (found["successes"], found["failures"], found["policies"]) == (20, 3, ["sts"])
    assert found["troubles"][0]["sessions"] == 3


def test_a_damaged_file_is_named(command):
    reports_path(command.folder / "state").write_bytes(b"x" * 5000)
    assert "reports.sqlite3 cannot be read" in command.refused("dmarc")
