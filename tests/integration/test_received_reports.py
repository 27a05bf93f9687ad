"""Reports in the real process: one that comes in is shown by the command; what DMARC finds is counted for our own."""

import gzip
import json
import smtplib
import sqlite3
import time

import pytest

from tests.integration.names import name_server
from tests.integration.server import ALICE, HOST, LIMIT_S, Server
from tests.policy.reports.samples import BEGIN, END, GOOGLE, mail

ZONE = {
    "google.com": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"]},
    "_dmarc.google.com": {"TXT": ["v=DMARC1; p=reject; rua=mailto:rua@google.com"]},
}


@pytest.fixture
def names(tmp_path):
    with name_server(tmp_path, ZONE) as port:
        yield port


def test_a_report_comes_in_and_our_own_are_counted(tmp_path, names):
    now = int(time.time())
    told = GOOGLE.replace(b"example.org", b"example.test").replace(str(BEGIN).encode(), str(now - 86400).encode())
    report = mail(gzip.compress(told.replace(str(END).encode(), str(now).encode())))
    report = report[report.index(b"From: ") :].replace(b"\n", b"\r\n")
    settings = {
        "dns": {"servers": [f"{HOST}:{names}"]},
        "authentication": {"check_loopback": True},
        "reports": {"send_dmarc": True},
    }
    with Server(tmp_path, settings) as server:
        with smtplib.SMTP(HOST, server.ports["smtp"], "client.example", timeout=LIMIT_S) as client:
            client.sendmail("bounce@google.com", ["postmaster@example.test"], report)
            client.sendmail("bounce@google.com", [ALICE], b"From: x@google.com\r\nSubject: hello\r\n\r\nhello\r\n")
        server.wait_for_log("report-read kind=dmarc domain=example.test reporter=google.com count=16 proven=google.com")
        shown = server.cli("dmarc")
        assert shown.splitlines()[0].startswith("example.test: 16 messages, policy p=none, reports about 1 day")
        assert "192.0.2.7\t14\t14\t14\t0\tnone\t" in shown
        assert len(server.messages(ALICE)) == 2
        server.stop()
        assert "Traceback" not in server.log
    with sqlite3.connect(server.state / "reports.sqlite3") as file:
        # The letter, and not the report: nobody reports about reports.
        [(kind, domain, what, count)] = file.execute("SELECT kind, domain, what, count FROM seen").fetchall()
    assert (kind, domain, count) == ("dmarc", "google.com", 1)
    assert json.loads(what)[0] == ["127.0.0.1", "none", False, True, "google.com", "google.com"]
