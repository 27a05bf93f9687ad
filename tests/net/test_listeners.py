"""Binding, adopting and closing, with real sockets on loopback."""

import errno
import os
import resource
import socket

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from mailserver.net.listeners import (
    ListenerService,
    ListenTrouble,
    _why,
    bind_listeners,
    raise_descriptor_limit,
)


class Greetings(Factory):
    noisy = False

    def __init__(self):
        self.clients = []

    def buildProtocol(self, addr):
        self.clients.append(addr)
        return Greeter()


class Greeter(Protocol):
    def connectionMade(self):
        nodelay = self.transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) if self.is_tcp else 1
        self.transport.write(f"hello {nodelay}\r\n".encode())

    @property
    def is_tcp(self):
        return self.transport.socket.family in (socket.AF_INET, socket.AF_INET6)


@pytest.fixture
def factory():
    return Greetings()


def bind(*texts):
    return bind_listeners(reactor, [("smtp", text) for text in texts])


async def greeting(address, family=socket.AF_INET):
    """What a client hears, read without blocking the reactor it shares."""
    client = socket.socket(family, socket.SOCK_STREAM)
    client.settimeout(10)
    client.connect(address)
    client.setblocking(False)
    for _ in range(1000):
        try:
            return client.recv(100)
        except BlockingIOError:
            turn = Deferred()
            reactor.callLater(0.005, turn.callback, None)
            await turn
    raise AssertionError("nothing came")


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
    return True


@pytest_twisted.ensureDeferred
async def test_a_bound_listener_is_served_when_its_service_starts_and_closed_when_it_stops(factory):
    [bound] = bind("tcp:0:interface=127.0.0.1")
    service = ListenerService(bound, factory)
    port = bound.port
    service.startService()
    assert service.where == f"smtp 127.0.0.1:{port}"
    assert await greeting(("127.0.0.1", port)) == b"hello 1\r\n", "TCP_NODELAY is handed on"
    await service.stopService()
    assert is_free(port)
    await service.stopService()


@pytest_twisted.ensureDeferred
async def test_without_interface_both_families_are_served(factory):
    [bound] = bind("tcp:0")
    service = ListenerService(bound, factory)
    port = bound.port
    service.startService()
    assert await greeting(("127.0.0.1", port)) == b"hello 1\r\n"
    assert await greeting(("::1", port), socket.AF_INET6) == b"hello 1\r\n"
    await service.stopService()


def test_a_kernel_without_ipv6_gets_ipv4(monkeypatch):
    monkeypatch.setattr(socket, "has_ipv6", False)
    [bound] = bind("tcp:0")
    assert bound._socket.family == socket.AF_INET
    bound.close()


@pytest_twisted.ensureDeferred
async def test_clients_that_came_before_the_service_started_are_served_then(factory):
    """Recovery runs between the two; nobody is refused meanwhile."""
    [bound] = bind("tcp:0:interface=127.0.0.1")
    early = greeting(("127.0.0.1", bound.port))
    service = ListenerService(bound, factory)
    reactor.callLater(0.05, service.startService)
    assert await early == b"hello 1\r\n"
    await service.stopService()


def test_a_taken_port_is_told_and_everything_else_is_closed_again():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
        with pytest.raises(ListenTrouble) as trouble:
            bind(f"tcp:{free}:interface=127.0.0.1", f"tcp:{taken}:interface=127.0.0.1")
    assert str(trouble.value) == (
        f'cannot listen on "tcp:{taken}:interface=127.0.0.1" (listen.smtp): port {taken} is taken by another program; '
        f"`ss -ltnp sport = :{taken}` shows which"
    )
    assert is_free(free)


def test_all_that_fail_are_told_one_a_line():
    with pytest.raises(ListenTrouble) as trouble:
        bind("tcp:0:interface=203.0.113.1", "tcp:0:interface=203.0.113.2", "nonsense")
    lines = str(trouble.value).splitlines()
    assert len(lines) == 3
    assert "this machine has no address 203.0.113.1" in lines[0]
    assert lines[2].startswith('listen.smtp "nonsense" must be a listener')


@pytest.mark.parametrize(
    ("number", "port", "words"),
    [
        (errno.EACCES, 25, ["may not listen on port 25", "etc/mailserver.service", "twistd --uid", "setcap"]),
        (errno.EADDRINUSE, 25, ["port 25 is taken", "ss -ltnp sport = :25", "exim4 or postfix"]),
        (errno.EADDRNOTAVAIL, 25, ["no address 192.0.2.1"]),
        (errno.ENOBUFS, 25, [os.strerror(errno.ENOBUFS)]),
    ],
)
def test_each_reason_comes_with_what_helps(number, port, words):
    told = _why(OSError(number, os.strerror(number)), "192.0.2.1", port)
    assert all(word in told for word in words)
    assert "\n" not in told


def test_a_port_may_be_bound_again_at_once_after_its_connections():
    [bound] = bind("tcp:0:interface=127.0.0.1")
    port = bound.port
    client = socket.create_connection(("127.0.0.1", port))
    accepted, _ = _accept(bound)
    accepted.close()
    client.close()
    bound.close()
    [again] = bind(f"tcp:{port}:interface=127.0.0.1")
    again.close()


def _accept(bound):
    bound._socket.setblocking(True)
    bound._socket.settimeout(10)
    return bound._socket.accept()


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_is_made_when_its_service_starts(tmp_path, factory):
    path = tmp_path / "smtp.sock"
    [bound] = bind(f"unix:{path}:mode=660")
    assert not path.exists()
    assert bound.port == 0
    service = ListenerService(bound, factory)
    service.startService()
    assert await greeting(str(path), socket.AF_UNIX) == b"hello 1\r\n"
    assert path.stat().st_mode & 0o777 == 0o660
    assert service.where == f"smtp unix:{path}:mode=660"
    await service.stopService()


def test_a_unix_socket_in_a_folder_that_is_missing_is_told_at_once(tmp_path):
    with pytest.raises(ListenTrouble, match="there is no folder"):
        bind(f"unix:{tmp_path}/none/smtp.sock")


def test_a_unix_socket_that_cannot_be_made_is_told(tmp_path, factory):
    path = tmp_path / "smtp.sock"
    [bound] = bind(f"unix:{path}")
    path.mkdir()
    with pytest.raises(ListenTrouble, match="cannot listen on"):
        ListenerService(bound, factory).startService()


@pytest.mark.parametrize(
    ("text", "which"),
    [("systemd:domain=INET6:index=0", "number 0"), ("systemd:domain=INET6:name=smtp", "named 'smtp'")],
)
def test_systemd_sockets_outside_systemd_are_explained(text, which):
    with pytest.raises(ListenTrouble, match=f"systemd gave this process no socket {which}: start the server by"):
        bind(text)


@pytest_twisted.ensureDeferred
async def test_behind_a_proxy_the_peer_is_the_one_the_proxy_names(factory):
    [bound] = bind("haproxy:tcp:0:interface=127.0.0.1")
    service = ListenerService(bound, factory)
    port = bound.port
    service.startService()
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\r\n")
    client.setblocking(False)
    for _ in range(1000):
        if factory.clients:
            break
        turn = Deferred()
        reactor.callLater(0.005, turn.callback, None)
        await turn
    assert [(host.host, host.port) for host in factory.clients] == [("203.0.113.7", 4711)]
    client.close()
    await service.stopService()


@pytest.mark.parametrize(("limits", "raised"), [((256, 4096), 4096), ((4096, 4096), 4096)])
def test_the_descriptor_limit_is_raised_to_the_hard_one(limits, raised):
    put = []
    assert raise_descriptor_limit(lambda _: limits, lambda _, wanted: put.append(wanted)) == raised
    assert put in ([], [(raised, raised)])


def test_a_kernel_that_refuses_the_hard_limit_leaves_the_soft_one():
    def refuse(_, wanted):
        raise ValueError("not allowed to raise maximum limit")

    assert raise_descriptor_limit(lambda _: (256, resource.RLIM_INFINITY), refuse) == 256
