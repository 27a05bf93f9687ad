"""`mailserver dns` as somebody types it, against a name server that serves what it printed."""

import json
import sys

import dns.zone
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from tests.fakes.dns_server import DnsServer
from tests.fakes.published import changed
from tests.fakes.zone import zone_value

CONFIG = """\
hostname = "mail.example.org"
domains = ["example.org", "example.net"]
postmaster = "alice@example.org"
[storage]
maildirs = "../mail"
state = "../state"
[listen]
http = ["tcp:8080"]
https = ["tcp:8443"]
submission = ["tcp:2587:interface=127.0.0.1"]
pop3s = ["tcp:1995"]
[acme]
directory = "letsencrypt"
agree_terms = true
[mta_sts]
mode = "testing"
[dns]
servers = ["127.0.0.1:PORT"]
spf_include = ["news.example"]
[doctor]
addresses = ["192.0.2.7"]
"""


@pytest.fixture
def name_server():
    server = DnsServer({}).start(reactor)
    yield server
    pytest_twisted.blockon(server.stop())


@pytest.fixture
def typed(command, name_server):
    """Runs the command in a process of its own: its status, standard output, standard error."""
    command.config.write_text(CONFIG.replace("PORT", str(name_server.port)))
    for domain in ("example.org", "example.net"):
        command.ok("dkim", "create", domain)

    async def run(*words):
        arguments = ["-m", "mailserver", "--config", str(command.config), "dns", *words]
        out, err, status = await getProcessOutputAndValue(sys.executable, arguments, env=None)
        return status, out.decode(), err.decode()

    return run


def published(objects):
    """A zone of what `--json` printed."""
    zone = {"news.example": {"TXT": ["v=spf1 ip4:198.51.100.0/24 -all"]}}
    for one in objects:
        zone.setdefault(one["name"], {}).setdefault(one["type"], []).append(zone_value(one["type"], one["value"]))
    return zone


@pytest_twisted.ensureDeferred
async def test_what_is_printed_is_right_when_published_and_each_break_is_named(typed, name_server):
    name_server.zone = {"*": {"rcode": "NXDOMAIN"}}
    status, out, _ = await typed("--json")
    assert status == 0
    records = json.loads(out)["records"]
    assert {"name", "type", "value", "text", "topic", "need", "purpose", "zone_line"} == set(records[0])
    kinds = {one["topic"] for one in records}
    assert kinds >= {"mx", "address", "reverse", "spf", "dkim", "dmarc", "mta-sts", "tlsrpt", "service", "caa"}
    assert [one["value"] for one in records if one["name"] == "_pop3s._tcp.example.org"] == [
        "0 1 1995 mail.example.org."
    ]
    assert not [one for one in records if one["name"] == "_submission._tcp.example.org"]  # on loopback only

    name_server.zone = published(records)
    status, out, err = await typed("--check")
    assert (status, [line for line in out.splitlines() if line and not line.startswith("right\t")]) == (
        0,
        [f"{len(records)} right"],
    ), err

    name_server.zone = changed(name_server.zone, "example.net", MX=[[10, "old.example.net"]])
    status, out, _ = await typed("--check")
    assert status == 1
    assert "example.net MX: wrong, required: mail for example.net goes to old.example.net" in out
    assert "  there is: 10 old.example.net." in out
    assert "  publish: example.net. 3600 IN MX 10 mail.example.org." in out
    assert out.rstrip().endswith(f"{len(records) - 1} right, 1 wrong; mail suffers from 1")


@pytest_twisted.ensureDeferred
async def test_what_is_optional_does_not_change_the_status(typed, name_server):
    _, out, _ = await typed("--json")
    name_server.zone = published(json.loads(out)["records"])
    name_server.zone = changed(name_server.zone, "mail.example.org", CAA=None)
    status, out, _ = await typed("--check", "--json")
    about = json.loads(out)
    assert status == 0
    wrong = [one for one in about["records"] if one["verdict"] != "right"]
    assert [(one["type"], one["verdict"], one["is_failure"]) for one in wrong] == [("CAA", "missing", False)]
    assert wrong[0]["publish"] == wrong[0]["zone_line"]


@pytest_twisted.ensureDeferred
async def test_the_zone_file_can_be_read_and_a_name_server_can_be_named(typed, name_server):
    status, out, _ = await typed("--zone")
    assert status == 0
    zone = dns.zone.from_text(out, origin=".", relativize=False, check_origin=False)
    assert len(list(zone.iterate_rdatasets())) > 20
    status, out, _ = await typed("--zone", "example.net.")
    part = dns.zone.from_text(out, origin="example.net.", relativize=False, check_origin=False)
    assert 8 < len(list(part.iterate_rdatasets())) < len(list(zone.iterate_rdatasets()))
    other = DnsServer({"*": {"rcode": "REFUSED"}}).start(reactor)
    try:
        status, out, _ = await typed("--check", "--server", f"127.0.0.1:{other.port}")
    finally:
        await other.stop()
    assert status == 0  # nothing is known to be wrong
    assert {line.partition("\t")[0] for line in out.splitlines() if "\t" in line} == {"unknown"}
    assert ("mx", "MX") not in name_server.questions


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--zone", "--check"), "leave --check and --json out"),
        (("--zone", "--json"), "leave --check and --json out"),
        (("--server", "ns.example"), "--server: must be"),
        (("no domain",), "is not a domain"),
        (("[192.0.2.7]",), "is not a domain"),
    ],
)
def test_what_does_not_fit_together_is_refused(command, words, expected):
    result = command("dns", *words)
    assert result.exit_code == 2
    assert expected in result.stderr
