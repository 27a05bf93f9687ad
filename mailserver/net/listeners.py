"""Listening: sockets bound before anything else is touched, and served later.

`bind_listeners` runs in `makeService`, so that a taken or forbidden port is one clear line per port and nothing stays
open. TCP sockets are bound there by us and adopted by the reactor when the service starts; Unix sockets are made only
then, when the process has become the user it runs as, and systemd's are open already.

Without `interface=` a TCP listener takes every address of both families: `::` with V6ONLY off, or `0.0.0.0` where the
kernel has no IPv6. When descriptors run out the accept loop pauses (`accepting`).
"""

import errno
import os
import resource
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.mail.fault import SyntaxFault
from mailserver.net.accepting import PatientPort, Shortage
from mailserver.net.listener_text import Kind, ListenerText, read_listener
from mailserver.net.proxied import ProxiedEndpoint

# The kernel cuts it to net.core.somaxconn. A burst of senders after an outage should wait, not be refused.
BACKLOG = 1024
# Programs that a fresh system is likely to have on port 25.
_LIKELY_ON_25 = "; on Debian often exim4 or postfix: systemctl disable --now exim4"


class ListenTrouble(Exception):
    """A listener that cannot be opened. The text names it and says what to do; one line."""


@dataclass(slots=True)
class BoundListener:
    """One listener whose place is taken: `endpoint.listen(factory)` begins to serve it."""

    service: str
    text: str
    endpoint: IStreamServerEndpoint
    _socket: socket.socket | None = None
    shortage: Shortage = field(default_factory=Shortage)

    @property
    def port(self) -> int:
        """The port that was bound; 0 for what is not TCP."""
        return self._socket.getsockname()[1] if self._socket is not None else 0

    def close(self) -> None:
        """Give the place back; for a start that goes no further."""
        if self._socket is not None:
            self._socket.close()


def bind_listeners(reactor: Any, wanted: Iterable[tuple[str, str]]) -> list[BoundListener]:
    """Bind every `(service, listener string)`. Raises `ListenTrouble` with a line for each that fails, none left open.

    `reactor` is only handed on to endpoints; nothing is accepted and nothing of it runs.
    """
    bound: list[BoundListener] = []
    troubles: list[str] = []
    for service, text in wanted:
        found = read_listener(text)
        if isinstance(found, SyntaxFault):
            troubles.append(f'listen.{service} "{text}" {found.reason}')
            continue
        try:
            bound.append(_bound(reactor, service, found))
        except ListenTrouble as trouble:
            troubles.append(f'cannot listen on "{text}" (listen.{service}): {trouble}')
    if troubles:
        for listener in bound:
            listener.close()
        raise ListenTrouble("\n".join(troubles))
    return bound


def _bound(reactor: Any, service: str, found: ListenerText) -> BoundListener:
    if found.proxied is not None:
        inner = _bound(reactor, service, found.proxied)
        endpoint = ProxiedEndpoint(reactor, inner.endpoint, found.text)
        return BoundListener(service, found.text, endpoint, inner._socket, inner.shortage)
    if found.kind is Kind.UNIX:
        return BoundListener(service, found.text, _unix_endpoint(reactor, found))
    if found.kind is Kind.SYSTEMD:
        return BoundListener(service, found.text, _systemd_endpoint(reactor, found))
    opened = _open_tcp(found)
    shortage = Shortage()
    return BoundListener(service, found.text, AdoptingEndpoint(reactor, opened, shortage), opened, shortage)


# --- TCP --------------------------------------------------------------------------------------------------------------


@implementer(IStreamServerEndpoint)
class AdoptingEndpoint:
    """Serves a socket that listens already."""

    def __init__(self, reactor: Any, opened: socket.socket, shortage: Shortage) -> None:
        self._reactor = reactor
        self._socket = opened
        self._shortage = shortage

    def listen(self, protocolFactory: IProtocolFactory) -> "Deferred[IListeningPort]":
        """Hand the socket to the reactor, which works on a duplicate; ours is closed."""
        port = PatientPort.adopt(self._reactor, self._socket, protocolFactory, self._shortage)
        self._socket.close()
        return succeed(port)


def _open_tcp(found: ListenerText) -> socket.socket:
    """A listening, non-blocking socket, or `ListenTrouble`."""
    address = found.address
    if address is None:
        family, host = (socket.AF_INET6, "::") if _has_ipv6() else (socket.AF_INET, "0.0.0.0")
    else:
        family, host = (socket.AF_INET6 if address.version == 6 else socket.AF_INET), str(address)
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Linux hands this on to every accepted connection, so it costs no system call there.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # A link-local address needs its zone, which only the resolver understands.
        opened.bind(socket.getaddrinfo(host, found.port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)[0][4])
        opened.listen(int(found.values.get("backlog") or BACKLOG))
        opened.setblocking(False)
    except OSError as trouble:
        opened.close()
        raise ListenTrouble(_why(trouble, host, found.port)) from trouble
    return opened


def _has_ipv6() -> bool:
    """Whether this kernel opens IPv6 sockets at all (`ipv6.disable=1` and some containers do not)."""
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _why(trouble: OSError, host: str, port: int) -> str:
    """What is wrong and what helps, in one line."""
    if trouble.errno == errno.EADDRINUSE:
        likely = _LIKELY_ON_25 if port == 25 else ""
        return f"port {port} is taken by another program; `ss -ltnp sport = :{port}` shows which{likely}"
    if trouble.errno in (errno.EACCES, errno.EPERM):
        return (
            f"user {os.geteuid()} may not listen on port {port}, ports below 1024 are for root. Use the systemd unit "
            "etc/mailserver.service (it grants CAP_NET_BIND_SERVICE), or start as root with `twistd --uid USER --gid "
            f"GROUP`, or allow this Python: setcap cap_net_bind_service=+ep {Path(sys.executable).resolve()}"
        )
    if trouble.errno == errno.EADDRNOTAVAIL:
        return f"this machine has no address {host}; `ip addr` shows those it has"
    return str(trouble.strerror or trouble)


# --- other kinds ------------------------------------------------------------------------------------------------------


def _unix_endpoint(reactor: Any, found: ListenerText) -> IStreamServerEndpoint:
    """A Unix socket, made when the service starts. A folder that is missing is told now."""
    from twisted.internet.endpoints import serverFromString

    folder = Path(found.values["address"]).parent
    if not folder.is_dir():
        raise ListenTrouble(f"there is no folder {folder}")
    endpoint: IStreamServerEndpoint = serverFromString(reactor, _inner_text(found))
    return endpoint


def _systemd_endpoint(reactor: Any, found: ListenerText) -> IStreamServerEndpoint:
    """A socket that systemd opened for this process. Twisted has taken note of those before we were asked."""
    from twisted.internet.endpoints import serverFromString

    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, _inner_text(found))
    except (KeyError, IndexError):
        which = f"number {found.values['index']}" if "index" in found.values else f"named {found.values['name']!r}"
        raise ListenTrouble(
            f'systemd gave this process no socket {which}: start the server by "systemctl start" of a .socket unit '
            "whose .service runs it (sockets count from 0; FileDescriptorName= names them), or use a tcp: listener"
        ) from None
    return endpoint


def _inner_text(found: ListenerText) -> str:
    """The string for Twisted; its own parser wants the keywords by name."""
    from twisted.internet.endpoints import quoteStringArgument

    return ":".join([found.kind.value, *(f"{key}={quoteStringArgument(value)}" for key, value in found.values.items())])


# --- serving ----------------------------------------------------------------------------------------------------------


class ListenerService(Service):
    """One listener of the running server: accepts from start to stop."""

    def __init__(self, bound: BoundListener, factory: IProtocolFactory) -> None:
        self.bound = bound
        self._factory = factory
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        """Begin to accept. Raises `ListenTrouble` when a socket that could not be made before cannot be made now."""
        results: list[Any] = []
        # Every kind we take answers at once: the sockets are there, or are made without waiting.
        maybeDeferred(self.bound.endpoint.listen, self._factory).addBoth(results.append)
        assert results, f"{self.bound.text} did not begin to listen at once"
        if isinstance(results[0], Failure):
            raise ListenTrouble(
                f'cannot listen on "{self.bound.text}" (listen.{self.bound.service}): {results[0].value}'
            )
        self._port = results[0]
        super().startService()  # type: ignore[no-untyped-call]

    def stopService(self) -> "Deferred[None]":
        """Accept nothing more; fires when the socket is closed. Connections that exist go on."""
        super().stopService()  # type: ignore[no-untyped-call]
        port, self._port = self._port, None
        stopped: Deferred[None] | None = port.stopListening() if port is not None else None
        return stopped if stopped is not None else succeed(None)

    @property
    def where(self) -> str:
        """`smtp 127.0.0.1:2525`, for the log."""
        host = self._port.getHost() if self._port is not None else None
        if not isinstance(host, IPv4Address | IPv6Address):
            return f"{self.bound.service} {self.bound.text}"
        shown = f"[{host.host}]" if isinstance(host, IPv6Address) else host.host
        return f"{self.bound.service} {shown}:{host.port}"


def raise_descriptor_limit(
    get: Callable[[int], tuple[int, int]] = resource.getrlimit,
    put: Callable[[int, tuple[int, int]], None] = resource.setrlimit,
) -> int:
    """Raise the soft limit of open files to the hard one, and return what is in force."""
    soft, hard = get(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        put(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        # Some systems name a hard limit that their own kernel refuses; the soft one works as before.
        return soft
    return hard
