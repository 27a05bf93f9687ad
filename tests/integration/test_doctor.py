"""`mailserver doctor` against a real server: in practice, and in a small made-up internet on loopback."""

import json
import subprocess

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from mailserver.doctor.examine import EXAMINATIONS
from tests.fakes.dns_server import DnsServer
from tests.fakes.zone import zone_value
from tests.integration.server import ALICE, HOST, MAILSERVER, Server

DOMAIN, NAME = "example.test", "mail.example.test"
POINTER = "1.0.0.127.in-addr.arpa"
# Whether a time service keeps this machine's clock is no matter of ours.
OTHERS = tuple(one.name for one in EXAMINATIONS if one.name != "clock")


def looked(server, *words):
    """Exit status, findings by key, and the text on standard error."""
    command = [str(MAILSERVER), "--config", str(server.config_path), "doctor", "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, by_key(done.stdout), done.stderr


def by_key(out):
    return {f"{one['name']} {one['about']}".strip(): one for one in json.loads(out)}


def test_a_practice_server_is_well_and_says_what_makes_no_sense(tmp_path):
    server = Server(tmp_path, accounts=[ALICE])
    with server:
        status, found, told = looked(server)
        assert (status, told) == (0, "")
        for key, one in found.items():
            assert one["verdict"] in ("pass", "skip") or one["name"] == "clock", (key, one)
        assert f"it runs as process {server.pid} (server)" in found["server"]["finding"]
        listening = [one for one in found.values() if one["name"] == "listeners" and one["verdict"] == "pass"]
        assert len(listening) == 5
        assert found["names"]["finding"] == "this is a practice set-up, which no other server reaches"
        assert "may open" in found["open-files"]["finding"]
        table = subprocess.run(
            [str(MAILSERVER), "--config", str(server.config_path), "doctor", "--only", "disk"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert table.stdout.splitlines()[0].startswith("pass\tdisk\t")
        assert table.stdout.splitlines()[-1] == "1 pass"
    status, found, _ = looked(server, "--only", "server", "--only", "listeners", "--only", "open-files")
    assert status == 1
    assert [one["verdict"] for one in found.values()] == ["fail", "unknown", "unknown"]


@pytest.fixture
def internet(tmp_path):
    """A server that takes 127.0.0.1 for its public address, and the name server of its world."""
    names = DnsServer({}).start(reactor)
    server = Server(tmp_path, accounts=[ALICE])
    server.configure(
        {
            "practice": {"accounts": [ALICE]},
            "dns": {"servers": [f"{HOST}:{names.port}"]},
            "relay": {"port": server.ports["smtp"], "allow_private": True},
            "doctor": {
                "addresses": [HOST],
                "lists": ["bl.test"],
                "port25_domains": [DOMAIN],
                "signed_name": "signed.test",
            },
        }
    )
    with server:
        yield server, names
    pytest_twisted.blockon(names.stop())


async def run(server, *words):
    out, err, status = await getProcessOutputAndValue(
        str(MAILSERVER), ["--config", str(server.config_path), *words], env=None
    )
    return status, out.decode(), err.decode()


async def doctor(server, *only):
    status, out, err = await run(server, "doctor", "--json", *(word for one in only for word in ("--only", one)))
    assert err == ""
    return status, by_key(out)


@pytest_twisted.ensureDeferred
async def test_a_server_whose_records_are_published_is_well_and_each_break_is_named(internet):
    server, names = internet
    assert (await run(server, "dkim", "create", DOMAIN, "--unchecked"))[0] == 0
    zone = {"signed.test": {"signed": True, "SOA": ["ns.test. host.test. 1 2 3 4 5"]}}
    names.zone = zone
    for one in json.loads((await run(server, "dns", "--json"))[1])["records"]:
        entry = zone.setdefault(one["name"], {"signed": True})
        entry.setdefault(one["type"], []).append(zone_value(one["type"], one["value"]))
    status, found = await doctor(server, *OTHERS)
    assert {key: one for key, one in found.items() if one["verdict"] not in ("pass", "skip")} == {}
    assert status == 0
    assert found["port25"]["finding"].startswith("port 25 is open to the outside: mail.example.test[127.0.0.1]: 220")

    key = next(name for name in zone if name.startswith("r") and "_domainkey" in name)
    del zone[key], zone[POINTER]
    zone[f"{POINTER.removesuffix('.in-addr.arpa')}.bl.test"] = {"A": ["127.0.0.2"]}
    zone[DOMAIN] = {"MX": [[10, "other.test"]], "TXT": zone[DOMAIN]["TXT"]}
    zone[f"_25._tcp.{NAME}"] = {"signed": True, "TLSA": ["3 1 1 " + "00" * 32]}
    zone[f"_mta-sts.{DOMAIN}"] = {"TXT": ["v=STSv1; id=1"]}
    status, found = await doctor(server, *OTHERS)
    assert status == 1
    broken = {key: one for key, one in found.items() if one["verdict"] == "fail"}
    assert set(broken) == {
        f"names {HOST}",
        f"lists {HOST} bl.test",
        f"dkim {key}",
        f"dns MX {DOMAIN}",
        "tlsa",
        f"mta-sts {DOMAIN}",
    } | ({"port25"} & set(broken))
    assert broken[f"dns MX {DOMAIN}"]["remedy"] == f"publish {DOMAIN}. 3600 IN MX 10 {NAME}."
    assert all(one["remedy"] for one in broken.values())


@pytest_twisted.ensureDeferred
async def test_without_name_servers_nothing_is_called_wrong(internet):
    server, names = internet
    names.zone = {"*": {"rcode": "SERVFAIL"}}
    status, found = await doctor(server, "hostname", "names", "dns", "lists", "mta-sts")
    assert status == 0
    assert {one["verdict"] for one in found.values()} == {"unknown"}
