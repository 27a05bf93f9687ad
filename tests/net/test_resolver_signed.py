"""Which answers count as authentic, against a name server that sets the AD bit for some names."""

import pytest
import pytest_twisted
from twisted.internet import reactor

from mailserver.mail.dns import CannotTell, MxRecord, NoRecords, SignedMx, TlsaRecord
from mailserver.net import dns_client
from mailserver.net.clock import ReactorClock
from mailserver.net.resolver import CachingResolver
from tests.fakes.dns_server import DnsServer

DIGEST = "ab" * 32
ZONE = {
    "signed.example": {"signed": True, "MX": [[10, "mx.signed.example"]]},
    "mx.signed.example": {"signed": True, "A": ["192.0.2.1"]},
    "plain.example": {"MX": [[10, "mx.signed.example"]]},
    "mx.plain.example": {"A": ["192.0.2.2"]},
    "alias.signed.example": {"signed": True, "CNAME": ["mx.signed.example"]},
    "away.signed.example": {"signed": True, "CNAME": ["mx.plain.example"]},
    "alias.plain.example": {"CNAME": ["mx.signed.example"]},
    "far.signed.example": {"signed": True, "follow": False, "CNAME": ["mx.signed.example"]},
    "none.signed.example": {"signed": True, "TXT": ["here"]},
    "_25._tcp.mx.signed.example": {"signed": True, "TLSA": [f"3 1 1 {DIGEST}", "2 0 2 " + "cd" * 64]},
    "_25._tcp.mx.plain.example": {"TLSA": [f"3 1 1 {DIGEST}"]},
    "_25._tcp.broken.example": {"rcode": "SERVFAIL"},
    "_25._tcp.big.example": {"signed": True, "truncate": True, "TLSA": [f"3 1 1 {DIGEST}"]},
}


@pytest.fixture
def server():
    server = DnsServer(dict(ZONE)).start(reactor)
    yield server
    pytest_twisted.blockon(server.stop())


@pytest.fixture
def resolver(server):
    return CachingResolver(reactor, ReactorClock(reactor), [("127.0.0.1", server.port)])


@pytest_twisted.ensureDeferred
async def test_mx_records_are_authentic_when_a_resolver_on_this_machine_says_so(resolver):
    hosts = (MxRecord(10, "mx.signed.example"),)
    assert await resolver.signed_mx("signed.example") == SignedMx(hosts, is_authentic=True)
    assert await resolver.signed_mx("plain.example") == SignedMx(hosts, is_authentic=False)
    assert await resolver.signed_mx("none.signed.example") == SignedMx(NoRecords(), is_authentic=True)


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("mx.signed.example", ("mx.signed.example",)),
        ("mx.plain.example", ()),
        # RFC 7672 2.2.2: where the alias leads comes first, and the alias itself is second.
        ("alias.signed.example", ("mx.signed.example", "alias.signed.example")),
        ("far.signed.example", ("mx.signed.example", "far.signed.example")),
        # The alias is authentic and what it leads to is not: only the alias counts.
        ("away.signed.example", ("away.signed.example",)),
        ("alias.plain.example", ()),
        ("nowhere.example", ()),
    ],
)
@pytest_twisted.ensureDeferred
async def test_tlsa_records_are_looked_for_only_below_what_is_authentic(resolver, host, names):
    assert (await resolver.signed_addresses(host)).tlsa_names == names


@pytest_twisted.ensureDeferred
async def test_tlsa_records_are_read_and_count_only_when_authentic(resolver):
    found = await resolver.tlsa("_25._tcp.mx.signed.example")
    assert set(found) == {
        TlsaRecord(3, 1, 1, bytes.fromhex(DIGEST)),
        TlsaRecord(2, 0, 2, bytes.fromhex("cd" * 64)),
    }
    assert await resolver.tlsa("_25._tcp.mx.plain.example") == NoRecords()
    assert await resolver.tlsa("_25._tcp.broken.example") == CannotTell("SERVFAIL")
    assert await resolver.tlsa("_25._tcp.big.example") == (TlsaRecord(3, 1, 1, bytes.fromhex(DIGEST)),)


@pytest.mark.parametrize(
    ("address", "is_here"), [("127.0.0.1", True), ("127.0.0.53", True), ("::1", True), ("192.0.2.1", False)]
)
def test_the_bit_is_believed_from_loopback_only(address, is_here):
    assert dns_client.is_loopback((address, 53)) is is_here
