"""A UDP port that Twisted's log says nothing of: one is opened for every DNS question, and people look for mail."""

from typing import Any

from twisted.internet import udp
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.python import context
from twisted.python.log import ILogContext

# An event without text is written by no observer.
_WITHOUT_TEXT = {ILogContext: {"log_format": ""}}


class _QuietPort(udp.Port):
    """Opens and closes without a line."""

    def startListening(self) -> None:
        """As `udp.Port` does."""
        context.call(_WITHOUT_TEXT, super().startListening)

    def connectionLost(self, reason: Any = None) -> None:
        """As `udp.Port` does."""
        context.call(_WITHOUT_TEXT, super().connectionLost, reason)


def listen_udp(reactor: Any, protocol: DatagramProtocol, interface: str, max_octets: int) -> IListeningPort:
    """As `reactor.listenUDP(0, ...)`: a port of the system's choice. Raises `CannotListenError`."""
    protocol.noisy = False
    port = _QuietPort(0, protocol, interface, max_octets, reactor)  # type: ignore[no-untyped-call]
    port.startListening()
    return port
