"""`mailserver route` on mail that leaves: what is remembered of its hosts, and nothing where nothing is."""

import json

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from mailserver.cli.queue_text import moment
from mailserver.maillog import LookedUp
from mailserver.net.control import ControlServer, relay_commands
from mailserver.ports import PeerTls
from mailserver.store.files import Files
from mailserver.store.journal import Journal
from mailserver.store.journal_facts import Facts
from mailserver.store.journal_format import journal_path
from mailserver.store.state_lock import StateLock
from mailserver.store.tls_history import TlsHistoryFile

T = 1_750_000_000.0
FIRST = "the mail servers that DNS names for far.example (MX)"


class Ways:
    """A transmitter that remembers this."""

    def __init__(self, first):
        self.first = first

    def ipv4_first(self):
        return self.first


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
