"""Who gets a conversation and who is turned away, over transports in memory."""

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport

from mailserver.net.admission import GuestList
from mailserver.net.factory import ConversationFactory
from mailserver.policy.limits import Admission, ConnectionLimits
from tests.fakes.clock import FakeClock

WORDS = {Admission.TOO_MANY: b"421 too many\r\n", Admission.TOO_MANY_OF_CLIENT: b"421 too many of yours\r\n"}


class Talk(Protocol):
    def __init__(self, peer):
        self.peer = peer


class Transport(StringTransport):
    aborted = False

    def abortConnection(self):
        self.aborted = True


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def events():
    return []


def make(clock, events, *, limit=1, per_client=1, is_implicit_tls=False, is_proxied=False):
    guests = GuestList(ConnectionLimits(max_connections=limit, max_per_client=per_client), b"421 busy\r\n")
    return ConversationFactory(
        "smtp", Talk, guests, WORDS, clock, events.append, is_implicit_tls=is_implicit_tls, is_proxied=is_proxied
    )


def connect(factory, address):
    protocol, transport = factory.buildProtocol(address), Transport()
    protocol.makeConnection(transport)
    return protocol, transport


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (IPv4Address("TCP", "192.0.2.1", 4711), "192.0.2.1:4711"),
        (IPv6Address("TCP", "2001:db8::1", 4711), "[2001:db8::1]:4711"),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 4711), "192.0.2.1:4711"),
        (IPv6Address("TCP", "fe80::1%eth0", 4711), "[fe80::1]:4711"),
        (UNIXAddress(b"/run/x.sock"), "local"),
        (None, "local"),
    ],
)
def test_the_conversation_knows_its_peer(clock, events, address, shown):
    protocol, _ = connect(make(clock, events), address)
    assert str(protocol.peer) == shown


def test_behind_a_proxy_nobody_is_on_loopback(clock, events):
    protocol, _ = connect(make(clock, events, is_proxied=True), IPv4Address("TCP", "127.0.0.1", 1))
    assert not protocol.peer.is_loopback


@pytest.mark.parametrize(("other", "words"), [("192.0.2.1", "too many of yours"), ("192.0.2.2", "too many")])
def test_who_is_one_too_many_hears_why_and_is_gone(clock, events, other, words):
    factory = make(clock, events, per_client=1, limit=1)
    connect(factory, IPv4Address("TCP", "192.0.2.1", 1))
    _, transport = connect(factory, IPv4Address("TCP", other, 2))
    assert transport.value() == f"421 {words}\r\n".encode()
    assert transport.disconnecting
    assert events[0].line().startswith(f"disconnected [{other}:2] service=smtp reason=")


def test_with_implicit_tls_it_is_dropped_without_a_word(clock, events):
    factory = make(clock, events, is_implicit_tls=True)
    connect(factory, IPv4Address("TCP", "192.0.2.1", 1))
    _, transport = connect(factory, IPv4Address("TCP", "192.0.2.1", 2))
    assert transport.value() == b""
    assert transport.aborted


def test_a_flood_is_told_once_a_second(clock, events):
    factory = make(clock, events)
    connect(factory, IPv4Address("TCP", "192.0.2.1", 1))
    for port in range(100):
        connect(factory, IPv4Address("TCP", "192.0.2.1", port))
    assert len(events) == 1
    clock.advance(1)
    connect(factory, IPv4Address("TCP", "192.0.2.1", 2))
    assert len(events) == 2


def test_twisted_calls_the_listener_by_its_service(clock, events):
    assert make(clock, events).logPrefix() == "smtp"
