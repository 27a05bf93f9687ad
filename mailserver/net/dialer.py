"""Opens outgoing TCP connections, nothing more."""

import errno
import ipaddress
from typing import Any

from twisted.internet import error
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory

from mailserver.mail.dns import IpAddress
from mailserver.net.stream import TcpStream
from mailserver.net.tls_client import ClientTls
from mailserver.ports import ConnectionFailed, Stream


class TcpDialer:
    """`mailserver.ports.Dialer`. `source_address` and `source_address6` are where connections to addresses begin.

    A name is looked up by the system, and its addresses are tried side by side (RFC 8305); then no source address is
    set, because nobody knows which family it will be.
    """

    def __init__(
        self,
        reactor: Any,  # IReactorTCP, IReactorTime and IReactorPluggableNameResolver in one: no type says so
        *,
        source_address: IpAddress | None = None,
        source_address6: IpAddress | None = None,
    ) -> None:
        self._reactor = reactor
        self._tls = ClientTls()
        self._source = (str(source_address), 0) if source_address else None
        self._source6 = (str(source_address6), 0) if source_address6 else None

    async def dial(self, address: IpAddress | str, port: int, *, timeout_s: float) -> Stream:
        """An open stream, or `ConnectionFailed` with the reason in plain words within `timeout_s`."""
        literal = f"[{address}]" if isinstance(address, ipaddress.IPv6Address) else str(address)
        peer = f"{literal}:{port}"
        factory = Factory.forProtocol(lambda: TcpStream(self._reactor, self._tls, peer))
        factory.noisy = False
        try:
            stream = await self._endpoint(address, port, timeout_s).connect(factory)
        except error.DNSLookupError as failed:
            raise ConnectionFailed(f"the name {address} is not known") from failed
        except (error.ConnectError, error.ConnectingCancelledError, error.CannotListenError, OSError) as failed:
            raise ConnectionFailed(_plain(failed, timeout_s)) from failed
        assert isinstance(stream, TcpStream)
        return stream

    def _endpoint(self, address: IpAddress | str, port: int, timeout_s: float) -> IStreamClientEndpoint:
        if isinstance(address, str):
            return HostnameEndpoint(self._reactor, address, port, timeout=timeout_s)
        if address.version == 6:
            return TCP6ClientEndpoint(self._reactor, str(address), port, timeout_s, self._source6)
        return TCP4ClientEndpoint(self._reactor, str(address), port, timeout_s, self._source)


def _plain(failed: Exception, timeout_s: float) -> str:
    """What an operator understands."""
    match failed:
        case error.ConnectionRefusedError():
            return "the connection was refused"
        case error.TimeoutError() | error.TCPTimedOutError():
            return f"no connection within {timeout_s:g} s"
        case error.NoRouteError():
            return "there is no route to the host"
        case error.ConnectBindError(osError=errno.EMFILE | errno.ENFILE):
            # Twisted calls it so because the socket could not even be made.
            return "this server has too many files open"
        case error.ConnectBindError():
            return "the configured source address cannot be used"
        case _:
            return str(failed).partition("\n")[0].rstrip(".") or type(failed).__name__
