"""Ends of a connection over a real socket pair: nothing that was written is lost, and the short way is taken."""

import socket

import pytest
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from mailserver.net.server_transport import QuickServer


class Reactor(MemoryReactorClock):
    """Knows who waits to write."""

    def __init__(self):
        super().__init__()
        self.writing = set()

    def addWriter(self, writer):
        self.writing.add(writer)

    def removeWriter(self, writer):
        self.writing.discard(writer)


class Obedient(Protocol):
    """Does what the test says when octets come."""

    ended = None

    def dataReceived(self, data):
        self.received = data
        self.act(self.transport)

    def connectionLost(self, reason):
        self.ended = reason


class Pair:
    def __init__(self):
        ours, self.client = socket.socketpair()
        ours.setblocking(False)
        self.client.settimeout(5)
        self.reactor, self.protocol = Reactor(), Obedient()
        self.transport = QuickServer(ours, self.protocol, ("192.0.2.1", 4711), None, 1, self.reactor)
        self.protocol.makeConnection(self.transport)

    def read(self, act):
        """What the reactor does with octets that came, and with what the read answers."""
        self.protocol.act = act
        self.client.sendall(b"QUIT\r\n")
        why = self.transport.doRead()
        if why is not None:
            self.transport.connectionLost(why)
        return why

    def write_out(self):
        """Let the reactor write until nothing waits, while the client reads; all that came."""
        octets = b""
        while self.transport in self.reactor.writing:
            why = self.transport.doWrite()
            if why is not None:
                self.reactor.writing.discard(self.transport)
                self.transport.connectionLost(why)
                break
            octets += self.client.recv(1 << 20)
        while piece := self.client.recv(1 << 20):
            octets += piece
        return octets


@pytest.fixture
def pair(monkeypatch):
    pair = Pair()
    lost = QuickServer.connectionLost
    # As the reactor does with what `doRead` and `doWrite` answer.
    monkeypatch.setattr(QuickServer, "connectionLost", lambda self, why: lost(self, Failure(why)))
    yield pair
    pair.client.close()


def sent_at_once(octets):
    """What `net.sending` does: to the kernel, past the buffer."""

    def act(transport):
        assert transport.writeSomeData(octets) == len(octets)
        transport.loseConnection()

    return act


def test_it_closes_with_the_read_that_ended_it(pair):
    assert pair.read(sent_at_once(b"221 Bye\r\n")) is CONNECTION_LOST
    assert pair.client.recv(100) == b"221 Bye\r\n"
    assert pair.client.recv(100) == b""
    assert pair.protocol.ended is not None
    assert not pair.reactor.writing


def test_what_the_buffer_holds_goes_out_first(pair):
    many = b"x" * 5_000_000

    def act(transport):
        transport.write(many)
        transport.loseConnection()

    assert pair.read(act) is None
    assert pair.write_out() == many


def test_what_is_written_behind_the_end_goes_out_too(pair):
    def act(transport):
        transport.loseConnection()
        transport.write(b"one more\r\n")

    assert pair.read(act) is None
    assert pair.write_out() == b"one more\r\n"
    assert pair.protocol.ended is not None


def test_a_producer_ends_first(pair):
    class Producer:
        def resumeProducing(self):
            pair.transport.write(b"the rest")
            pair.transport.unregisterProducer()

        def stopProducing(self):
            raise AssertionError("it was not asked to stop")

    def act(transport):
        transport.registerProducer(Producer(), False)
        transport.loseConnection()

    assert pair.read(act) is None
    assert pair.write_out() == b"the rest"


def test_outside_a_read_it_is_twisteds_way(pair):
    pair.transport.loseConnection()
    assert pair.transport in pair.reactor.writing
    assert pair.write_out() == b""
    assert pair.protocol.ended is not None


def test_the_client_that_is_gone_ends_it_once(pair):
    pair.client.close()
    assert pair.transport.doRead() is not None
