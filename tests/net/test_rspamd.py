"""rspamd over HTTP on loopback: what is asked, and everything that may come back; bounded in time and memory."""

import ipaddress
import json
import socket

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from mailserver.net.clock import ReactorClock
from mailserver.net.rspamd import MAX_AT_ONCE, Rspamd, RspamdSettings
from mailserver.ports import StoredContent
from mailserver.ports.scanning import NotScanned, ScanAction, Scanned, ScanRequest
from tests.fakes.blocking import DirectBlocking
from tests.integration.server import free_ports

CONTENT = b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 5
REQUEST = ScanRequest("25X8TJJVS6600", None, "", "", "", ())
SOON_S = 0.3
# No machine is so slow that this is too little; who keeps silent is given up after SOON_S.
LONG_S = 30.0
SILENCE = f"no answer within {SOON_S} s"
NO_ACTION = {"action": "no action", "score": 0.5, "required_score": 15}


def answered(told, *more):
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    return (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body, *more)


class FakeRspamd:
    """Takes whole requests and answers each with the next script: octets to send, then "close", "stay" or "drip"."""

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.requests = []
        self.connections = []
        self.many = None
        factory = Factory.forProtocol(lambda: _Connection(self))
        factory.noisy = False
        self.port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.number = self.port.getHost().port

    def stop(self):
        for connection in self.connections:
            connection.transport.abortConnection()
        return self.port.stopListening()


class _Connection(Protocol):
    def __init__(self, server):
        self.server = server
        self.octets = b""
        self.drips = None
        self.lost = Deferred()
        server.connections.append(self)
        if server.many is not None and len(server.connections) == MAX_AT_ONCE:
            # What else is under way has come by then.
            reactor.callLater(0.05, lambda: server.many.callback(len(server.connections)))

    def dataReceived(self, data):
        self.octets += data
        head, found, body = self.octets.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self.server.requests.append((head, body))
        script = self.server.scripts.pop(0) if len(self.server.scripts) > 1 else self.server.scripts[0]
        self.octets = b""
        self.play(*script)

    def play(self, octets, then="close"):
        if then == "drip":
            self.drip(octets)
            return
        self.transport.write(octets)
        if then == "close":
            self.transport.loseConnection()

    def drip(self, octets):
        if self.connected and octets:
            self.transport.write(octets[:1])
            self.drips = reactor.callLater(0.02, self.drip, octets[1:])

    def connectionLost(self, reason=None):
        if self.drips is not None and self.drips.active():
            self.drips.cancel()
        self.lost.callback(None)


@pytest.fixture
def world():
    made = World()
    yield made
    for server in made.servers:
        pytest_twisted.blockon(server.stop())


class World:
    def __init__(self):
        self.servers = []
        self.events = []

    def serve(self, *scripts):
        self.servers.append(FakeRspamd(*scripts))
        return self.servers[-1]

    def client(self, port, **settings):
        made = RspamdSettings(port=port, **{"timeout_s": LONG_S, **settings})
        return Rspamd(made, reactor, DirectBlocking(), ReactorClock(reactor), self.events.append)

    def asked(self, *scripts, **settings):
        server = self.serve(*scripts)
        return server, self.client(server.number, **settings)

    def lines(self):
        return [event.line() for event in self.events]


@pytest_twisted.ensureDeferred
async def test_what_is_asked(world, tmp_path):
    password = tmp_path / "password"
    password.write_text("open sesame\nmore\n")
    server, rspamd = world.asked(answered(NO_ACTION), password_file=password)
    request = ScanRequest(
        "25X8TJJVS6600",
        ipaddress.ip_address("2001:db8::7"),
        "mx.outside.example\r\nUser: root",
        "mx.outside.example",
        "t\u00f6ny@outside.example",
        ("alice@example.org", "bob@example.org"),
        "",
    )
    answer = await rspamd.scan(request, CONTENT)
    assert answer == Scanned(ScanAction.TAKE, "no action", 0.5, 15.0)
    ((head, body),) = server.requests
    assert body == CONTENT
    first, *lines = head.split(b"\r\n")
    assert first == b"POST /checkv2 HTTP/1.1"
    fields = [line.partition(b": ") for line in lines]
    told = {name.lower(): value for name, _, value in fields}
    assert told[b"ip"] == b"2001:db8::7" and told[b"helo"] == b"mx.outside.example??User: root"
    assert told[b"from"] == "t\u00f6ny@outside.example".encode() and told[b"hostname"] == b"mx.outside.example"
    assert [value for name, _, value in fields if name.lower() == b"rcpt"] == [b"alice@example.org", b"bob@example.org"]
    assert told[b"queue-id"] == b"25X8TJJVS6600" and told[b"password"] == b"open sesame"
    assert b"user" not in told and told[b"content-length"] == b"%d" % len(CONTENT)


@pytest_twisted.ensureDeferred
async def test_a_content_on_disk_is_streamed(world, tmp_path):
    path = tmp_path / "content"
    content = b"0123456789abcdef\n" * 50_000
    path.write_bytes(b"head" + content + b"tail")
    server, rspamd = world.asked(answered(NO_ACTION))
    answer = await rspamd.scan(REQUEST, StoredContent(path, 4, len(content)))
    assert isinstance(answer, Scanned) and server.requests[0][1] == content
    answer = await rspamd.scan(REQUEST, StoredContent(path, 4, len(content) + 100_000))
    assert isinstance(answer, NotScanned) and answer.is_down


@pytest_twisted.ensureDeferred
async def test_what_is_too_large_is_not_asked_about(world):
    server, rspamd = world.asked(answered(NO_ACTION), max_octets=len(CONTENT) - 1)
    assert await rspamd.scan(REQUEST, CONTENT) == NotScanned("the message is too large")
    assert server.connections == [] and world.events == []


UGLY = {
    "garbage": ((b"\x00\xff\x16\x03garbage\r\n\r\n",), ""),
    "nothing": ((b"",), ""),
    "half an answer": ((answered(NO_ACTION)[0][:-5],), ""),
    "silence": ((b"", "stay"), SILENCE),
    "a slow drip": ((answered(NO_ACTION)[0], "drip"), SILENCE),
    "a slow drip of head": ((b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000, "drip"), SILENCE),
    "an endless head": ((b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 400_000,), "its answer is too long"),
    "an endless line": ((b"HTTP/1.1 200 " + b"y" * 3_000_000,), ""),
    "endless fields of all kinds": (
        (b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % one for one in range(200_000)) + b"\r\n",),
        "its answer is too long",
    ),
    "10 MB": (answered(b" " * 10_000_000), "its answer is too long"),
    "no length, 10 MB": (
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b" " * 10_000_000,),
        "its answer is too long",
    ),
    "chunks": ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",), ""),
    "no JSON": (answered(b"<html>"), "its answer is not JSON"),
    "wrong types": (answered({"action": 5, "symbols": []}), "its answer names no known action"),
    "an error": ((b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",), "it answered 500"),
    "forbidden": ((b"HTTP/1.1 403 no\r\nContent-Length: 9999999\r\n\r\nx", "stay"), "it answered 403"),
    "a redirect": (
        (b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",),
        "it answered 302",
    ),
}


@pytest.mark.parametrize("name", list(UGLY))
@pytest_twisted.ensureDeferred
async def test_whatever_comes_back_it_is_down_and_not_waited_for_for_ever(world, name):
    script, reason = UGLY[name]
    server, rspamd = world.asked(script, timeout_s=SOON_S if reason == SILENCE else LONG_S)
    answer = await rspamd.scan(REQUEST, CONTENT)
    assert isinstance(answer, NotScanned) and answer.is_down and answer.reason
    assert not reason or answer.reason == reason
    for connection in server.connections:
        await connection.lost.addTimeout(LONG_S, reactor)
    (line,) = world.lines()
    assert line.startswith("neighbor-down what=rspamd reason=") and line.isprintable() and len(line) < 400


@pytest_twisted.ensureDeferred
async def test_a_wrong_password_file_is_told(world, tmp_path):
    _, rspamd = world.asked(answered(NO_ACTION), password_file=tmp_path / "nowhere")
    answer = await rspamd.scan(REQUEST, CONTENT)
    assert isinstance(answer, NotScanned) and "password cannot be read" in answer.reason


@pytest_twisted.ensureDeferred
async def test_a_dead_one_is_asked_seldom_and_used_again_when_it_is_back(world):
    (port,) = free_ports(1)
    clock = Moved()
    rspamd = Rspamd(RspamdSettings(port=port, timeout_s=LONG_S), reactor, DirectBlocking(), clock, world.events.append)
    first = await rspamd.scan(REQUEST, CONTENT)
    assert first.is_down and "refused" in first.reason.lower()
    for _ in range(5):
        assert (await rspamd.scan(REQUEST, CONTENT)).reason == "rspamd does not work"
    clock.moved_s += 1.1
    assert "refused" in (await rspamd.scan(REQUEST, CONTENT)).reason.lower()
    clock.moved_s += 1.1  # it rests twice as long now
    assert (await rspamd.scan(REQUEST, CONTENT)).reason == "rspamd does not work"
    assert len(world.lines()) == 1
    server = world.serve(answered(NO_ACTION))
    rspamd._agent = world.client(server.number)._agent
    clock.moved_s += 2.0
    assert isinstance(await rspamd.scan(REQUEST, CONTENT), Scanned)
    assert isinstance(await rspamd.scan(REQUEST, CONTENT), Scanned)
    assert [line.split()[0] for line in world.lines()] == ["neighbor-down", "neighbor-back"]


@pytest_twisted.ensureDeferred
async def test_many_that_fail_at_once_are_one_failure(world):
    """Or a busy server would leave rspamd alone for half a minute when that was only restarted."""
    (port,) = free_ports(1)
    clock = Moved()
    rspamd = Rspamd(RspamdSettings(port=port, timeout_s=LONG_S), reactor, DirectBlocking(), clock, world.events.append)
    for one in [Deferred.fromCoroutine(rspamd.scan(REQUEST, CONTENT)) for _ in range(8)]:
        assert (await one).is_down
    rspamd._agent = world.client(world.serve(answered(NO_ACTION)).number)._agent
    clock.moved_s += 1.1
    assert isinstance(await rspamd.scan(REQUEST, CONTENT), Scanned)


@pytest_twisted.ensureDeferred
async def test_while_one_tries_the_others_do_not_wait(world):
    server = world.serve((b"", "close"), (b"", "stay"), answered(NO_ACTION))
    clock = Moved()
    rspamd = Rspamd(
        RspamdSettings(port=server.number, timeout_s=SOON_S), reactor, DirectBlocking(), clock, world.events.append
    )
    assert (await rspamd.scan(REQUEST, CONTENT)).is_down
    clock.moved_s += 1.1
    trying = Deferred.fromCoroutine(rspamd.scan(REQUEST, CONTENT))
    assert (await rspamd.scan(REQUEST, CONTENT)).reason == "rspamd does not work"
    assert not trying.called
    assert (await trying).reason == SILENCE


@pytest_twisted.ensureDeferred
async def test_a_crowd_asks_in_turn_and_waits_no_longer_than_the_limit(world):
    server, rspamd = world.asked((b"", "stay"), timeout_s=1.0)
    server.many = Deferred()
    asked = [Deferred.fromCoroutine(rspamd.scan(REQUEST, CONTENT)) for _ in range(MAX_AT_ONCE + 10)]
    assert await server.many == MAX_AT_ONCE
    answers = [await one for one in asked]
    assert {answer.reason for answer in answers} == {"no answer within 1 s"}
    assert rspamd._places.tokens == MAX_AT_ONCE


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
@pytest_twisted.ensureDeferred
async def test_a_host_that_does_not_take_the_connection_in_time_or_is_not_there(world, host):
    """A socket whose backlog is full: the kernel lets further ones wait."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        answer = await world.client(port, host=host, timeout_s=SOON_S).scan(REQUEST, CONTENT)
        assert isinstance(answer, NotScanned) and answer.is_down and answer.reason
        for filler in fillers:
            filler.close()


@pytest_twisted.ensureDeferred
async def test_a_mistake_of_ours_is_told_and_holds_up_no_mail(world):
    class Broken:
        def request(self, *_):
            raise ZeroDivisionError

    _, rspamd = world.asked(answered(NO_ACTION))
    rspamd._agent = Broken()
    assert await rspamd.scan(REQUEST, CONTENT) == NotScanned("asking it broke: ZeroDivisionError", is_down=True)
    assert len(world.lines()) == 1


@pytest_twisted.ensureDeferred
async def test_a_unix_socket(world, tmp_path):
    factory = Factory.forProtocol(lambda: _Connection(server))
    server = world.serve(answered(NO_ACTION))
    path = str(tmp_path / "socket")
    port = reactor.listenUNIX(path, factory)
    rspamd = world.client(0, socket=path)
    assert isinstance(await rspamd.scan(REQUEST, CONTENT), Scanned)
    await port.stopListening()
    assert (await rspamd.scan(REQUEST, CONTENT)).is_down


class Moved(ReactorClock):
    """The reactor's clock, some seconds ahead."""

    def __init__(self):
        super().__init__(reactor)
        self.moved_s = 0.0

    def monotonic(self):
        return super().monotonic() + self.moved_s
