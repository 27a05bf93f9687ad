"""An open TCP connection as a `Stream`: reads and writes that are awaited, back-pressure both ways, TLS upgrade."""

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.net.sending import send
from mailserver.net.tls_client import ClientTls
from mailserver.ports import ConnectionFailed, TlsDetails, TlsFailed, TlsRequirement

# As much as may wait for `read` before the peer is made to wait.
MAX_UNREAD_OCTETS = 64 * 1024
# Commands and small messages are written without waiting: whoever writes them waits for a reply anyway.
SMALL_OCTETS = 16 * 1024
# A peer that never reads, or never answers a TLS goodbye, is dropped after this.
CLOSE_TIMEOUT_S = 30.0


@implementer(IHandshakeListener, IPushProducer)
class TcpStream(Protocol):
    """`mailserver.ports.Stream` on a Twisted transport. One reader and one writer at a time."""

    # ITCPTransport, ITransport with producers, and ITLSTransport in one: no type of Twisted's says so.
    transport: Any

    def __init__(self, reactor: IReactorTime, tls: ClientTls, peer: str) -> None:
        self.peer = peer
        self._reactor = reactor
        self._tls = tls
        self._unread: list[bytes] = []
        self._unread_octets = 0
        self._reader: Deferred[None] | None = None
        self._writer: Deferred[None] | None = None
        self._handshake: Deferred[None] | None = None
        self._is_full = False
        self._is_closing = False
        self._lost: Failure | None = None
        self._closer: IDelayedCall | None = None

    # --- the door -----------------------------------------------------------------------------------------------------

    async def read(self) -> bytes:
        """All octets that have come, at least one; `b""` at the end. What came before a break is given out first."""
        if not self._unread and self._lost is None:
            assert self._reader is None, "two readers"
            self._reader = Deferred()
            await self._reader
        if self._unread:
            octets = b"".join(self._unread)
            self._unread.clear()
            was_paused = self._unread_octets > MAX_UNREAD_OCTETS
            self._unread_octets = 0
            if was_paused and self._lost is None:
                self.transport.resumeProducing()
            return octets
        if self._lost is not None and self._lost.check(ConnectionDone) and not self._is_closing:
            return b""
        raise self._failed()

    async def write(self, octets: bytes) -> None:
        """Answers when less than 64 KiB waits in the transport. Raises `ConnectionFailed`."""
        if self._lost is not None or self._is_closing:
            raise self._failed()
        if len(octets) < SMALL_OCTETS:
            send(self.transport, octets)
            return
        # Registered for this write only: a transport with a producer would not close after a TLS error.
        self.transport.registerProducer(self, True)
        try:
            self.transport.write(octets)
            if self._is_full:
                assert self._writer is None, "two writers"
                self._writer = Deferred()
                await self._writer
        finally:
            self.transport.unregisterProducer()
        if self._lost is not None:
            raise self._failed()

    async def start_tls(self, requirement: TlsRequirement) -> TlsDetails:
        """Upgrade as the client. Raises `TlsFailed`, also for octets that came before the handshake."""
        if self._lost is not None or self._is_closing:
            raise self._failed()
        if self._unread:
            raise TlsFailed("octets came before the handshake")
        creator = self._tls.creator(requirement)
        self._handshake = Deferred()
        waiting = self._handshake
        self.transport.startTLS(creator)
        await waiting
        handle: SSL.Connection = self.transport.getHandle()
        trouble = self._tls.trouble(requirement, handle)
        if trouble and not requirement.is_trial:
            self.abort()
            raise TlsFailed(trouble)
        return TlsDetails(handle.get_protocol_version_name(), handle.get_cipher_name() or "", trouble)

    def close(self) -> None:
        """Close when everything written is out, at last after 30 s."""
        if self._lost is not None or self._is_closing:
            return
        self._is_closing = True
        self.transport.loseConnection()
        self._closer = self._reactor.callLater(CLOSE_TIMEOUT_S, self.transport.abortConnection)

    def abort(self) -> None:
        """Drop it now. What waits raises `ConnectionFailed` in the next turn of the reactor."""
        if self._lost is None:
            self._is_closing = True
            self.transport.abortConnection()

    # --- what the transport calls -------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """No Nagle: every write is a whole command or block, and waiting for acknowledgements halves the rate."""
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)

    def dataReceived(self, data: bytes) -> None:
        """Keep the octets for the reader, who gets them at once if they wait."""
        self._unread.append(data)
        self._unread_octets += len(data)
        if self._unread_octets > MAX_UNREAD_OCTETS:
            self.transport.pauseProducing()
        self._wake_reader()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - Twisted's signature
        """The end, clean or not."""
        self._lost = reason
        if self._closer is not None and self._closer.active():
            self._closer.cancel()
        if self._handshake is not None:
            handshake, self._handshake = self._handshake, None
            handshake.errback(TlsFailed(_handshake_text(reason)))
        self._is_full = False
        self._wake_reader()
        self._wake_writer()

    def handshakeCompleted(self) -> None:
        """TLS is agreed."""
        if self._handshake is not None:
            handshake, self._handshake = self._handshake, None
            handshake.callback(None)

    def pauseProducing(self) -> None:
        """The transport has enough: the next `write` waits."""
        self._is_full = True

    def resumeProducing(self) -> None:
        """There is room again."""
        self._is_full = False
        self._wake_writer()

    def stopProducing(self) -> None:
        """The transport is about to end; `connectionLost` follows."""

    def _wake_reader(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.callback(None)

    def _wake_writer(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.callback(None)

    def _failed(self) -> ConnectionFailed:
        if self._lost is None or self._is_closing:
            return ConnectionFailed("the connection was given up")
        if self._lost.check(ConnectionDone):
            return ConnectionFailed("the host closed the connection")
        return ConnectionFailed(f"the connection was lost ({_error_text(self._lost.value)})")


def _handshake_text(reason: Failure) -> str:
    """Plain words for why a handshake ended."""
    error = reason.value
    if isinstance(error, SSL.Error):
        return _error_text(error)
    if reason.check(ConnectionDone):
        return "the host closed the connection during the handshake"
    if "Verification" in type(error).__name__ or "Mismatch" in str(error):
        return "the certificate is not for this name"
    return _error_text(error)


def _error_text(error: object) -> str:
    """OpenSSL's reasons, or the error's own first line."""
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        reasons = ", ".join(str(entry[-1]) for entry in error.args[0] if entry)
        return reasons or "TLS error"
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
