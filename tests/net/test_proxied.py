"""Conversations behind a proxy: the client is known before the first word."""

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, globalLogPublisher

from mailserver.net.proxied import HEADER_S, ProxiedFactory

PROXY = IPv4Address("TCP", "127.0.0.1", 9999)
HEADER = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\r\n"


class Transport(StringTransport):
    aborted = False

    def abortConnection(self):
        self.aborted = True


class Talk(Protocol):
    def __init__(self, client):
        self.client = client
        self.heard = b""

    def connectionMade(self):
        self.transport.write(b"220 hello\r\n")

    def dataReceived(self, data):
        self.heard += data


class Talks(Factory):
    def __init__(self):
        self.talks = []

    def buildProtocol(self, addr):
        self.talks.append(Talk(addr))
        return self.talks[-1]


@pytest.fixture
def reactor():
    return MemoryReactorClock()


@pytest.fixture
def factory():
    return Talks()


def connect(reactor, factory):
    reader = ProxiedFactory(reactor, factory, "haproxy:tcp:25").buildProtocol(PROXY)
    transport = Transport()
    transport.protocol = reader
    reader.makeConnection(transport)
    return transport


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_client_is_known_before_the_greeting_and_keeps_all_its_octets(reactor, factory, size):
    transport = connect(reactor, factory)
    octets = HEADER + b"EHLO client.example\r\n"
    for start in range(0, len(octets), size):
        transport.protocol.dataReceived(octets[start : start + size])
    [talk] = factory.talks
    assert talk.client == IPv4Address("TCP", "203.0.113.7", 4711)
    assert transport.protocol is talk
    assert talk.heard == b"EHLO client.example\r\n"
    assert transport.value() == b"220 hello\r\n"
    assert reactor.getDelayedCalls() == []


def test_nothing_is_said_before_the_header(reactor, factory):
    transport = connect(reactor, factory)
    transport.protocol.dataReceived(HEADER[:10])
    assert transport.value() == b""
    assert factory.talks == []


def test_a_health_check_of_the_proxy_is_served_as_the_proxy(reactor, factory):
    transport = connect(reactor, factory)
    transport.protocol.dataReceived(b"PROXY UNKNOWN\r\n")
    assert factory.talks[0].client == PROXY


def test_who_sends_no_header_is_dropped_and_told_once(reactor, factory):
    seen = []
    globalLogPublisher.addObserver(seen.append)
    try:
        listener = ProxiedFactory(reactor, factory, "haproxy:tcp:25")
        for _ in range(3):
            reader, transport = listener.buildProtocol(PROXY), Transport()
            reader.makeConnection(transport)
            reader.dataReceived(b"EHLO scanner\r\n")
            assert transport.aborted
    finally:
        globalLogPublisher.removeObserver(seen.append)
    assert [event["log_level"] for event in seen if event.get("text")] == [LogLevel.warn]
    assert factory.talks == []
    assert reactor.getDelayedCalls() == []


def test_a_header_that_does_not_come_in_time(reactor, factory):
    transport = connect(reactor, factory)
    reactor.advance(HEADER_S)
    assert transport.aborted


def test_a_connection_that_ends_before_its_header_leaves_no_timer(reactor, factory):
    transport = connect(reactor, factory)
    transport.protocol.connectionLost()
    assert reactor.getDelayedCalls() == []
