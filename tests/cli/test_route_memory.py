"""`mailserver route` on mail that leaves: what is remembered of its hosts, and nothing where nothing is."""

import json
import time

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from mailserver.cli.queue_text import moment
from mailserver.mail.mta_sts import StsMode, StsPolicy
from mailserver.mail.route import MxRoute
from mailserver.maillog import LookedUp
from mailserver.net.control import ControlServer, relay_commands
from mailserver.policy.transport import Known, Protection, Requirement, requirement_for
from mailserver.ports import PeerTls, TlsRequirement, TlsUse
from mailserver.store.files import Files
from mailserver.store.journal import Journal
from mailserver.store.journal_facts import Facts
from mailserver.store.journal_format import journal_path
from mailserver.store.state_lock import StateLock
from mailserver.store.sts_policies import FetchedPolicy, StsPolicyFile
from mailserver.store.tls_history import TlsHistoryFile

T = 1_750_000_000.0
POLICY = StsPolicy(StsMode.ENFORCE, ("mx1.far.example",), 86400)
FIRST = "the mail servers that DNS names for far.example (MX)"


class Ways:
    """A transmitter that remembers this."""

    def __init__(self, first):
        self.first = first

    def ipv4_first(self):
        return self.first

    async def requirements(self, domain):
        usual = Requirement(Protection.OPPORTUNISTIC, TlsUse.OPPORTUNISTIC, TlsRequirement("mx2"), ("DANE: off",))
        return (
            ("mx1.far.example", requirement_for(MxRoute(domain), "mx1.far.example", Known(sts=POLICY))),
            ("mx2.far.example", usual),
        )


@pytest.fixture
def state(command):
    """What a server wrote down: two hosts of far.example, two of three known with their TLS."""
    state = command.folder / "state"
    journal = Journal(journal_path(state))
    facts = Facts()
    old = LookedUp("0000000000001", "far.example", ("old.far.example[192.0.2.1]",))
    hosts = ("mx1.far.example[192.0.2.1]", "mx2.far.example", "mx1.far.example[::1]")
    new = LookedUp("0000000000002", "far.example", hosts)
    journal.write([facts.of(T, old), facts.of(T + 1, new)])
    journal.close()
    hosts = {
        "mx1.far.example": PeerTls("TLSv1.3", T),
        "mx2.far.example": PeerTls("TLSv1.2", T, clear_since=T + 5),
        "192.0.2.7": PeerTls("", T),
    }
    TlsHistoryFile(state, Files()).write(hosts)
    return state


def test_the_hosts_that_were_last_tried_are_shown_with_their_tls(command, state):
    lines = command.ok("route", "x@far.example").splitlines()
    assert lines[-2:] == [
        f"mx1.far.example: did TLSv1.3 when that was last noted, at {moment(T)}",
        f"mx2.far.example: without TLS since {moment(T + 5)}, it did TLSv1.2 before",
    ]
    assert command.ok("route", "x@routed.example").splitlines()[-1] == (
        f"192.0.2.7: has not done TLS so far, last noted at {moment(T)}"
    )
    (outside,) = json.loads(command.ok("route", "--json", "x@far.example"))["outside"]
    assert outside["ipv4_first"] is None
    assert outside["hosts"][1] == {
        "host": "mx2.far.example", "tls": "TLSv1.2", "seen_at": T, "without_tls_since": T + 5,
    }  # fmt: skip


def test_a_smarthosts_own_name_is_looked_for(command, state):
    smarthost = '[relay]\nsmarthost = "mx1.far.example:587"\n[relay.routes]'
    command.config.write_text(command.config.read_text().replace("[relay.routes]", smarthost))
    assert "mx1.far.example: did TLSv1.3" in command.ok("route", "x@elsewhere.example")


@pytest.mark.parametrize("octets", [b"\0", b'{"version": 9}'])
def test_what_cannot_be_read_is_left_out(command, state, octets):
    (state / "tls-history.json").write_bytes(octets)
    assert "TLS" not in command.ok("route", "x@far.example")
    journal_path(state).write_bytes(octets * 5000)
    assert FIRST in command.ok("route", "x@far.example")


@pytest_twisted.ensureDeferred
async def test_a_running_server_says_whether_ipv4_comes_first_and_why(command, state):
    ways = Ways(("mx.example says that our IPv6 address has no reverse name", 7200.0))
    server = ControlServer(reactor, state, relay_commands(ways))
    with StateLock(state, "server"):
        server.start()
        try:
            text = await deferToThread(command.ok, "route", "x@far.example")
            told = json.loads(await deferToThread(command.ok, "route", "--json", "x@far.example"))
            ways.first = None
            later = await deferToThread(command.ok, "route", "x@far.example")
        finally:
            await server.stop()
    why = "mx.example says that our IPv6 address has no reverse name"
    assert f"IPv4 addresses are tried first for another 2h, because {why}" in text.splitlines()
    assert told["outside"][0]["ipv4_first"] == {"reason": why, "for_s": 7200}
    assert "IPv4" not in later


@pytest_twisted.ensureDeferred
async def test_a_running_server_says_what_each_host_is_held_to_and_why(command, state):
    server = ControlServer(reactor, state, relay_commands(Ways(None)))
    with StateLock(state, "server"):
        server.start()
        try:
            text = await deferToThread(command.ok, "route", "x@far.example")
            told = json.loads(await deferToThread(command.ok, "route", "--json", "x@far.example"))
            fixed = json.loads(await deferToThread(command.ok, "route", "--json", "x@routed.example"))
        finally:
            await server.stop()
    assert text.splitlines()[-5:] == [
        "mx1.far.example: TLS is required, with a certificate for its name from an authority that is trusted",
        "  DANE: not looked for",
        '  MTA-STS: the policy says "enforce" for mx1.far.example',
        "mx2.far.example: TLS if it offers it, nothing is proven",
        "  DANE: off",
    ]
    first, second = told["outside"][0]["protection"]
    assert (first["protection"], second["protection"]) == ("pkix", "opportunistic") and second["reasons"] == [
        "DANE: off"
    ]
    assert fixed["outside"][0]["protection"] is None


def test_without_a_server_the_policy_that_was_last_fetched_is_shown(command, state):
    StsPolicyFile(state, Files()).write({"far.example": FetchedPolicy(POLICY, "1", time.time())})
    last = command.ok("route", "x@far.example").splitlines()[-1]
    assert last == 'MTA-STS: the policy that was last fetched says "enforce" for mx1.far.example'
    StsPolicyFile(state, Files()).write({"far.example": FetchedPolicy(POLICY, "1", time.time() - 90_000)})
    assert "MTA-STS" not in command.ok("route", "x@far.example")
