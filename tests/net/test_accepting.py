"""Taking connections while descriptors run out, over a socket that says what the test wants."""

import errno
import socket

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock

from mailserver.frontdesk import KEPT_FREE, places
from mailserver.net.accepting import ACCEPTS_EACH_ROUND, PAUSE_S, PatientPort, Shortage


class Reactor(MemoryReactorClock):
    """Counts who is read."""

    def __init__(self):
        super().__init__()
        self.reading = set()

    def addReader(self, reader):
        self.reading.add(reader)

    def removeReader(self, reader):
        self.reading.discard(reader)


class Scarce:
    """A listening socket whose `accept` raises, gives connections, or says that nobody waits."""

    def __init__(self):
        self.results = []
        self.ends = []

    def accept(self):
        if not self.results:
            raise BlockingIOError
        result = self.results.pop(0)
        if isinstance(result, OSError):
            raise result
        ours, theirs = socket.socketpair()
        self.ends += [ours, theirs]
        return ours, ("192.0.2.1", 4711)


class Taken(Protocol):
    def connectionMade(self):
        self.factory.taken.append(self)


@pytest.fixture
def port():
    reactor, told = Reactor(), []
    factory = Factory.forProtocol(Taken)
    factory.taken = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = PatientPort.adopt(reactor, listening, factory, Shortage(told.append))
        real, port.socket = port.socket, Scarce()
        port.told, port.clock = told, reactor
        yield port
        real.close()
        for end in port.socket.ends:
            end.close()


def test_all_who_wait_are_taken_up_to_a_round(port):
    port.socket.results = [None] * (ACCEPTS_EACH_ROUND + 5)
    port.doRead()
    assert len(port.factory.taken) == ACCEPTS_EACH_ROUND
    port.doRead()
    assert len(port.factory.taken) == ACCEPTS_EACH_ROUND + 5


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_descriptors_it_pauses_tells_and_looks_again(port, number):
    port.socket.results = [None, OSError(number, "x"), None]
    port.doRead()
    assert len(port.factory.taken) == 1 and len(port.told) == 1
    assert port not in port.clock.reading, "a socket that stays readable would spin"
    port.clock.advance(PAUSE_S)
    assert port in port.clock.reading
    port.doRead()
    assert len(port.factory.taken) == 2


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPERM, errno.EPROTO])
def test_what_is_wrong_with_one_client_holds_up_nobody(port, number):
    port.socket.results = [OSError(number, "x"), None]
    port.doRead()
    assert len(port.factory.taken) == 1 and not port.told


def test_a_mistake_of_ours_ends_that_connection_alone(port):
    port.factory.buildProtocol = lambda address: 1 / 0
    port.socket.results = [None]
    port.doRead()
    del port.factory.buildProtocol
    port.socket.results = [None]
    port.doRead()
    assert len(port.factory.taken) == 1


def test_a_port_that_was_closed_in_a_pause_stays_closed(port):
    port.socket.results = [OSError(errno.EMFILE, "x")]
    port.doRead()
    port.connected = False
    port.clock.advance(PAUSE_S)
    assert port not in port.clock.reading


def test_places_are_as_wished_where_descriptors_suffice_and_in_proportion_where_not():
    assert places(2000, 500, 20_000) == (2000, 500)
    assert places(2000, 500, 2500 + KEPT_FREE) == (2000, 500)
    assert places(2000, 500, 1024) == (614, 153)
    assert places(2000, 500, 100) == (40, 10)
    assert places(2000, 1, 20) == (9, 1)


def test_small_replies_never_wait_for_an_acknowledgment(port):
    """Of the client's, 40 ms at a time: connections have that from the socket that listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        PatientPort.adopt(port.clock, listening, port.factory, Shortage()).stopListening()
        with socket.create_connection(listening.getsockname()):
            connection, _ = listening.accept()
            with connection:
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
