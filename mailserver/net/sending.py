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
        sent = transport.writeSomeData(octets)
        if sent == len(octets):
            return
        if isinstance(sent, int) and sent > 0:
            octets = octets[sent:]
        # Anything else is a connection that broke: the transport finds out for itself.
    transport.write(octets)
