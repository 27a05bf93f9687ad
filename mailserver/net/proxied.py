"""Listeners behind a proxy: the PROXY header is read first, then the conversation begins with the client it names.

Twisted's own wrapper builds the conversation before it has read the header, so that a greeting, a limit or a log line
would be for the proxy; and it stays between the transport and STARTTLS. This one steps out of the way.
"""

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.mail.fault import SyntaxFault
from mailserver.wire.proxy_header import ProxyHeader, parse_proxy_header

# The header is the first thing a proxy sends; who does not is none.
HEADER_S = 10.0
# A port scanner must not fill the log.
_TOLD_EACH_S = 60.0

_log = Logger(namespace="mail")


@implementer(IStreamServerEndpoint)
class ProxiedEndpoint:
    """An endpoint whose connections begin with a PROXY header."""

    def __init__(self, reactor: Any, endpoint: IStreamServerEndpoint, text: str) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._text = text

    def listen(self, protocolFactory: IProtocolFactory) -> "Deferred[IListeningPort]":
        """As the endpoint does, with our protocol before the factory's."""
        return self._endpoint.listen(ProxiedFactory(self._reactor, protocolFactory, self._text))


class ProxiedFactory(Factory):
    """Builds the protocol that reads the header. `text` is the listener's, for the log."""

    noisy = False

    def __init__(self, reactor: Any, factory: IProtocolFactory, text: str) -> None:
        self._reactor = reactor
        self._factory = factory
        self._text = text
        self._told_at = float("-inf")

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """The reader; the factory behind us is asked when the client is known."""
        return _HeaderReader(self._reactor, self._factory, addr, self)

    def tell(self, proxy: IAddress | None, reason: str) -> None:
        """Somebody connected who is no proxy."""
        now = self._reactor.seconds()
        if now - self._told_at >= _TOLD_EACH_S:
            self._told_at = now
            _log.warn("[{proxy}] came to {text} and sent {reason}", proxy=_shown(proxy), text=self._text, reason=reason)


class _HeaderReader(Protocol):
    """Collects octets until the header is whole, then hands the transport over."""

    # Every transport here can abort and change its protocol, whatever the interface says.
    transport: Any

    def __init__(
        self, reactor: Any, factory: IProtocolFactory, proxy: IAddress | None, listener: ProxiedFactory
    ) -> None:
        self._reactor = reactor
        self._factory = factory
        self._proxy = proxy
        self._listener = listener
        self._octets = b""
        self._late: Any = None

    def connectionMade(self) -> None:
        """The header is due."""
        self._late = self._reactor.callLater(HEADER_S, self._refuse, "no PROXY header in time")

    def dataReceived(self, data: bytes) -> None:
        """A part of the header, and perhaps more."""
        self._octets += data
        header = parse_proxy_header(self._octets)
        if isinstance(header, SyntaxFault):
            self._refuse(header.reason)
        elif header is not None:
            self._hand_over(header)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008 - Twisted's signature
        """Gone before it said who it is."""
        del reason
        self._stop_waiting()

    def _hand_over(self, header: ProxyHeader) -> None:
        """As `startTLS` does: the transport gets another protocol, and never knows of this one again."""
        self._stop_waiting()
        # Twisted's own factories take None for an address too; only the interface does not say so.
        protocol = self._factory.buildProtocol(self._client(header))  # type: ignore[arg-type]
        if protocol is None:
            self.transport.abortConnection()
            return
        rest, self._octets = self._octets[header.length :], b""
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        if rest:
            protocol.dataReceived(rest)

    def _client(self, header: ProxyHeader) -> IAddress | None:
        """The proxy itself when it speaks for nobody: its health checks."""
        if header.source is None:
            return self._proxy
        address, port = header.source
        kind = IPv4Address if address.version == 4 else IPv6Address
        return kind("TCP", str(address), port)

    def _refuse(self, reason: str) -> None:
        self._stop_waiting()
        self._listener.tell(self._proxy, reason)
        self.transport.abortConnection()

    def _stop_waiting(self) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()
        self._late = None


def _shown(address: IAddress | None) -> str:
    return f"{address.host}:{address.port}" if isinstance(address, IPv4Address | IPv6Address) else "local"
