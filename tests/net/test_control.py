"""The control socket: a real one, on the real reactor."""

import itertools
import socket
import stat

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread

from mailserver.maillog import Ordered
from mailserver.net.control import ControlFactory, ControlServer, queue_commands
from mailserver.store.control_socket import (
    MAX_LINE_OCTETS,
    ControlFailed,
    ControlUnavailable,
    Request,
    Response,
    ask,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    socket_path,
)
from tests.fakes.clock import FakeClock
from tests.fakes.relay import DOWN, Office

TEXT = st.text(max_size=30)


@given(command=TEXT, ids=st.lists(TEXT, max_size=5).map(tuple), is_all=st.booleans(), domain=TEXT)
def test_requests_are_read_back(command, ids, is_all, domain):
    request = Request(command, ids, is_all, domain)
    line = encode_request(request)
    assert line.count(b"\n") == 1
    assert decode_request(line) == request


@given(error=TEXT, count=st.integers(), ids=st.lists(TEXT, max_size=3).map(tuple), about=st.dictionaries(TEXT, TEXT))
def test_responses_are_read_back(error, count, ids, about):
    assert decode_response(encode_response(Response(error, count, ids, about))) == Response(error, count, ids, about)


@given(line=st.binary(max_size=60))
def test_noise_is_refused(line):
    for decode in (decode_request, decode_response):
        try:
            decode(line)
        except ValueError:
            continue


def test_a_path_that_no_socket_can_have_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"Unix socket's path ends at 107: choose a shorter folder"):
        socket_path(tmp_path / ("x" * 120))


def connect(commands, clock=None):
    factory = ControlFactory((clock or FakeClock()).twisted, commands)
    protocol = factory.buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    return protocol, transport


async def echo(request):
    return Response(count=len(request.ids))


@given(cuts=st.lists(st.integers(0, 200), max_size=6))
def test_however_a_request_is_cut_the_answer_is_the_same(cuts):
    protocol, transport = connect({"echo": echo})
    octets = encode_request(Request("echo", ("a", "b"))) * 2
    places = [0, *sorted(min(cut, len(octets)) for cut in cuts), len(octets)]
    for start, end in itertools.pairwise(places):
        protocol.dataReceived(octets[start:end])
    assert transport.value() == encode_response(Response(count=2)) * 2


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        (b"hello\n", b"not one JSON object"),
        (b'{"command": "rm"}\n', b"does not know that command"),
        (b'{"command": "echo", "more": 1}\n', b"unknown parts"),
        (b'{"command": "echo", "ids": "all"}\n', b"list of at most"),
        (b'{"command": 5}\n', b"wrong kind"),
        (b"[" * 100_000 + b"\n", b"not one JSON object"),
    ],
)
def test_a_wrong_request_is_answered(octets, error):
    protocol, transport = connect({"echo": echo})
    protocol.dataReceived(octets + encode_request(Request("echo")))
    assert error in transport.value()
    assert transport.value().endswith(encode_response(Response()))


def test_a_request_without_end_is_bounded():
    protocol, transport = connect({"echo": echo})
    for _ in range(20):
        protocol.dataReceived(b"x" * (MAX_LINE_OCTETS // 10))
    assert transport.disconnecting
    assert b"has at most" in transport.value()


def test_pipelined_requests_wait_their_turn_and_are_bounded():
    done = Deferred()

    async def slow(request):
        await done
        return Response(count=1)

    protocol, transport = connect({"slow": slow, "echo": echo})
    protocol.dataReceived(encode_request(Request("slow")) + encode_request(Request("echo")))
    assert transport.value() == b""
    done.callback(None)
    assert transport.value() == encode_response(Response(count=1)) + encode_response(Response())


def test_a_connection_has_a_bounded_life_and_their_number_is_bounded():
    clock = FakeClock()
    factory = ControlFactory(clock.twisted, {})
    protocols = [factory.buildProtocol(None) for _ in range(40)]
    assert len([one for one in protocols if one is not None]) == 16
    transport = StringTransport()
    protocols[0].makeConnection(transport)
    clock.advance(601)
    assert transport.disconnecting


def test_what_a_command_raises_is_told_as_unexpected():
    async def broken(request):
        raise RuntimeError("secret path /etc")

    protocol, transport = connect({"broken": broken})
    protocol.dataReceived(encode_request(Request("broken")))
    assert b"unexpected trouble" in transport.value()
    assert b"secret" not in transport.value()


@pytest_twisted.ensureDeferred
async def test_a_real_socket_is_private_replaces_a_stale_one_and_goes(tmp_path):
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "control.sock"))
    stale.close()
    with pytest.raises(ControlUnavailable):
        ask(tmp_path, Request("echo"))
    server = ControlServer(reactor, tmp_path, {"echo": echo})
    server.start()
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o600
    response = await deferToThread(ask, tmp_path, Request("echo", ("a",)))
    assert response == Response(count=1)
    with pytest.raises(ControlFailed, match="does not know"):
        await deferToThread(ask, tmp_path, Request("nothing"))
    await server.stop()
    assert not (tmp_path / "control.sock").exists()
    with pytest.raises(ControlUnavailable):
        ask(tmp_path, Request("echo"))


def test_queue_commands_reach_the_runner(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: DOWN)
    first = office.put("bob@example.net")
    second = office.put("bob@example.com")
    office.settle()
    log = []
    protocol, transport = connect(queue_commands(office.runner, log.append), office.clock)

    def told(request):
        transport.clear()
        protocol.dataReceived(encode_request(request))
        office.settle()
        return decode_response(transport.value())

    assert told(Request("queue-retry", (first,), by="eva")).count == 1
    assert log == [Ordered(first, "retry", "eva")]
    assert len(office.transmitter.sent) == 3
    assert told(Request("queue-retry", all=True)).count == 2
    assert told(Request("queue-retry", (first, second), domain="example.com")).count == 1
    assert told(Request("queue-running")).ids == ()
    assert told(Request("queue-remove", (first, "0000000000000"))).count == 1
    assert office.on_disk() == [second]
