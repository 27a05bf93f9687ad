"""One HTTP connection against slow, greedy and broken clients; in memory, with a clock that is moved."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mailserver.maillog import Disconnected
from mailserver.net.admission import EVICTED, GuestList
from mailserver.net.web_connection import LIFETIME_S, MAX_BODY_OCTETS, TOO_MUCH, TOO_SLOW, WebConnection, WebFactory
from mailserver.policy.limits import ConnectionLimits
from mailserver.web.request import TEXT, WebAnswer
from tests.fakes.clock import FakeClock

GET = b"GET /page?emailaddress=a%40example.org&x=1 HTTP/1.1\r\nHost: Mail.example.org:8080\r\n\r\n"


class Transport(StringTransport):
    aborting = False

    def abortConnection(self):
        super().abortConnection()
        self.aborting = True
        self.protocol.connectionLost(Failure(ConnectionDone()))


class House:
    """A factory with a page that says what it was asked."""

    def __init__(self, *, answer=None, most=10, each=5, is_tls=False, is_proxied=False):
        self.clock, self.log, self.asked = FakeClock(), [], []
        self.guests = GuestList(ConnectionLimits(max_connections=most, max_per_client=each), b"")
        self.factory = WebFactory(
            "http", answer or self.page, self.guests, self.clock, self.log.append, is_tls=is_tls, is_proxied=is_proxied
        )
        self._ports = itertools.count(1000)

    def page(self, request):
        self.asked.append(request)
        return WebAnswer(200, TEXT, b"hello\n", (("X-Test", "yes"),))

    def connect(self, host="192.0.2.7"):
        protocol = self.factory.buildProtocol(IPv4Address("TCP", host, next(self._ports)))
        transport = Transport()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return protocol, transport

    def answers(self, octets):
        protocol, transport = self.connect()
        protocol.dataReceived(octets)
        return transport.value(), transport


def status(answer):
    return int(answer.split(b" ", 2)[1])


def test_a_page_and_then_the_end():
    house = House()
    answer, transport = house.answers(GET)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    lines = head.split(b"\r\n")
    for line in (b"X-Test: yes", b"Content-Length: 6", b"Connection: close", b"X-Content-Type-Options: nosniff"):
        assert line in lines
    assert not any(line.lower().startswith(b"server:") for line in lines)
    assert body == b"hello\n"
    assert transport.disconnecting
    [asked] = house.asked
    assert (asked.method, asked.host, asked.path) == ("GET", "mail.example.org", "/page")
    assert asked.address == "a@example.org"
    assert str(asked.peer) == "192.0.2.7:1000"


def test_head_has_no_body():
    answer, _ = House().answers(GET.replace(b"GET", b"HEAD"))
    assert answer.endswith(b"\r\n\r\n")
    assert b"Content-Length: 6" in answer


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://Other.example/x", "other.example", "/x"),
        (b"https://other.example:8443/x?y", "other.example", "/x"),
        (b"ftp://other.example/x", "", ""),
        (b"http://[/x", "", ""),
        (b"*", "", ""),
        (b"other.example:443", "", ""),
    ],
)
def test_an_absolute_target_names_the_host(target, host, path):
    house = House()
    house.answers(b"GET %s HTTP/1.1\r\nHost: ignored.example\r\n\r\n" % target)
    assert [(asked.host, asked.path) for asked in house.asked] == [(host, path)]


def test_two_hosts_are_none():
    house = House()
    house.answers(b"GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n")
    assert house.asked[0].host == ""


def test_a_host_in_no_encoding_is_none_and_no_traceback():
    house = House()
    answer, _ = house.answers(b"GET / HTTP/1.1\r\nHost: ex\xe4mple.org\r\n\r\n")
    assert status(answer) == 200
    assert house.asked[0].host == ""


def test_a_small_body_reaches_the_page():
    house = House()
    answer, _ = house.answers(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello")
    assert status(answer) == 200
    assert house.asked[0].body == b"hello"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, len(GET) - 1), max_size=6))
def test_a_request_may_come_in_any_pieces(cuts):
    house = House()
    protocol, transport = house.connect()
    edges = [0, *sorted(set(cuts)), len(GET)]
    for start, end in itertools.pairwise(edges):
        protocol.dataReceived(GET[start:end])
    assert status(transport.value()) == 200
    assert len(house.asked) == 1


# --- too much ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /" + b"x" * 9000, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 1000 + b"\r\n" + (b"X: " + b"y" * 1000 + b"\r\n") * 9, 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nx" % (MAX_BODY_OCTETS + 1), 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
        (b"EHLO client.example\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
    ],
)
def test_what_is_too_much_or_no_request_is_refused_and_closed(request_, code):
    house = House()
    answer, transport = house.answers(request_)
    assert status(answer) == code
    assert answer.count(b"HTTP/1.1") == 1
    assert transport.disconnecting
    assert not house.asked


def test_a_client_that_goes_on_after_its_refusal_is_dropped():
    house = House()
    protocol, transport = house.connect()
    for _ in range(100):
        if transport.aborting:
            break
        protocol.dataReceived(b"x" * 4096)
    assert transport.aborting
    assert [event.reason for event in house.log] == [TOO_MUCH]


def test_a_pipeline_gets_one_answer():
    house = House()
    answer, _ = house.answers(GET * 50)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert len(house.asked) == 1


# --- too slow ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 500\r\n\r\n"])
def test_a_drip_of_octets_does_not_draw_the_deadline_out(first):
    house = House()
    protocol, transport = house.connect()
    if first:
        protocol.dataReceived(first)
    for _ in range(int(LIFETIME_S) - 1):
        house.clock.advance(1)
        protocol.dataReceived(b"x")
    assert not transport.aborting
    house.clock.advance(1)
    assert transport.aborting
    assert [event.reason for event in house.log] == [TOO_SLOW]
    assert len(house.guests) == 0


def test_a_client_that_does_not_take_its_answer_is_dropped_without_a_word():
    house = House()
    _, transport = house.answers(GET)
    house.clock.advance(LIFETIME_S)
    assert transport.aborting
    assert not house.log


def test_a_client_that_is_gone_leaves_no_timer():
    house = House()
    protocol, _ = house.connect()
    protocol.connectionLost(Failure(ConnectionDone()))
    assert not house.clock.twisted.getDelayedCalls()
    assert not house.log


# --- too many ---------------------------------------------------------------------------------------------------------


def test_one_client_has_so_many_connections_and_no_more():
    house = House(each=3)
    connections = [house.connect() for _ in range(3)]
    _, transport = house.connect()
    assert transport.disconnected or transport.aborting
    assert house.connect("192.0.2.8")[1].aborting is False
    connections[0][0].connectionLost(Failure(ConnectionDone()))
    assert isinstance(house.connect()[0], WebConnection)


def test_a_newcomer_takes_the_place_of_the_most_silent():
    house = House(most=10, each=1)
    first = house.connect("192.0.2.100")[1]
    for number in range(20):
        house.clock.advance(0.1)
        _, transport = house.connect(f"192.0.2.{number}")
        assert not transport.aborting
    assert first.aborting
    assert len(house.guests) <= 10
    assert house.log[0] == Disconnected("192.0.2.100:1000", "http", EVICTED)


def test_the_stop_drops_who_has_not_asked_and_nobody_else():
    house = House()
    idle, asked = house.connect()[1], house.answers(GET)[1]
    for guest in house.guests:
        guest.shut_down()
    assert idle.aborting
    assert not asked.aborting
    for guest in house.guests:
        guest.abort()
    assert asked.aborting


def test_a_fault_of_ours_is_a_page_and_a_traceback(caught_failures):
    def broken(request):
        raise ValueError("secret")

    answer, _ = House(answer=broken).answers(GET)
    assert status(answer) == 500
    assert b"secret" not in answer
    assert len(caught_failures) == 1


@pytest.fixture
def caught_failures():
    from twisted.logger import globalLogPublisher

    events = []

    def observe(event):
        if "log_failure" in event:
            events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)
