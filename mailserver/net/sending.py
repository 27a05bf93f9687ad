"""Writing to a TCP transport without asking the poller first.

Twisted's own `write` keeps the octets, has the poller tell when the socket takes some, and sends then: three system
calls and a turn of the reactor more for every reply and command (docs/performance.md). An idle socket takes a few
thousand octets at once, always.
"""

from typing import Any

from twisted.internet.tcp import Client, Server

from mailserver.net.server_transport import QuickServer

_PLAIN = (Client, QuickServer, Server)


def send(transport: Any, octets: bytes) -> None:
    """Send at once what the kernel takes; only the rest goes the transport's way.

    Under TLS, while older octets wait, and on other transports, the transport does it alone.
    """
    if type(transport) in _PLAIN and not (transport.TLS or transport.dataBuffer or transport._tempDataBuffer):
        # The transport's `writeSomeData` does this, three calls deeper.
        try:
            sent = transport.socket.send(octets)
        except (OSError, AttributeError):
            # Full, or a connection that broke or is closed: the transport finds out for itself.
            sent = 0
        if sent == len(octets):
            return
        if sent:
            octets = octets[sent:]
    transport.write(octets)
