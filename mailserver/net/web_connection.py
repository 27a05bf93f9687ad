"""One HTTP connection: Twisted's channel with small fixed limits around it, and one request each.

Twisted parses; here is what a listener open to the world needs besides. A connection has one deadline for everything,
the TLS handshake included, which no drip of octets draws out; what a client may send has one bound; after the first
answer it is closed, so that there is no pipeline to flood; a body is bounded before the first octet of it is kept.

Importing this module imports `twisted.web`; only who has such a listener does.
"""

# Twisted's HTTP server is not typed: nearly every call of it would have a comment of its own.
# mypy: allow-untyped-calls

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request, datetimeToString

from mailserver.mail.peer import Peer
from mailserver.maillog import Disconnected, Sink
from mailserver.net.admission import GuestList
from mailserver.net.factory import TurnedAway, peer_of
from mailserver.policy.limits import Admission
from mailserver.ports import Cancellable, Clock
from mailserver.web.request import BROKEN, WebAnswer, WebRequest, host_of

# Handshake, request and answer together. A slow mobile network needs a few seconds.
LIFETIME_S = 20.0
MAX_HEADER_OCTETS = 8 << 10
MAX_HEADERS = 64
# Outlook's request has a few hundred octets.
MAX_BODY_OCTETS = 16 << 10
_MAX_OCTETS = MAX_HEADER_OCTETS + MAX_BODY_OCTETS + (4 << 10)
TOO_SLOW = "the request was not done in time"
TOO_MUCH = "the request is too long"
_REFUSED = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n"

Answering = Callable[[WebRequest], WebAnswer]

_log = Logger(namespace="mail")


class _PageRequest(Request):
    """A request that is whole."""

    # A form is nothing that any of our pages takes, and Twisted would parse it.
    _parsePOSTFormSubmission = False
    # Twisted's Request says less than the channel that made us can.
    channel: Any

    def process(self) -> None:
        """Answer at once."""
        answer = self.channel.answer_to(self._asked())
        self.setResponseCode(answer.code)
        for name, value in answer.headers:
            self.setHeader(name, value)
        self.setHeader("Date", datetimeToString())
        self.setHeader("Content-Type", answer.kind)
        self.setHeader("Content-Length", str(len(answer.body)))
        self.setHeader("X-Content-Type-Options", "nosniff")
        self.setHeader("Connection", "close")
        self.write(answer.body)
        self.finish()

    def _asked(self) -> WebRequest:
        target = self.uri.decode("latin-1")
        # By octets: asked for as a text, Twisted decodes it as UTF-8, and what is none ends in a traceback.
        hosts = self.requestHeaders.getRawHeaders(b"host") or []
        # Two of them (RFC 9112 3.2) are for a proxy that believes the other one.
        host = hosts[0].decode("utf-8", "replace") if len(hosts) == 1 else ""
        path = self.path.decode("latin-1")
        if not target.startswith("/"):
            host, path = _absolute(target)
        address = (self.args or {}).get(b"emailaddress", [b""])[0].decode("utf-8", "replace")
        return WebRequest(
            method=self.method.decode("latin-1"),
            host=host_of(host),
            path=path,
            peer=self.channel.peer,
            is_tls=self.channel.is_tls,
            address=address,
            body=self.content.read(MAX_BODY_OCTETS) if self.content is not None else b"",
        )


def _absolute(target: str) -> tuple[str, str]:
    """Host and path of `http://host/path`, which a server has to take too (RFC 9112 3.2.2); empty for all else."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "", ""
    return (parts.netloc, parts.path) if parts.scheme in ("http", "https") else ("", "")


class WebConnection(HTTPChannel):
    """A `Guest`: it is admitted, timed and sent away like a conversation of the mail listeners."""

    totalHeadersSize = MAX_HEADER_OCTETS
    MAX_LENGTH = MAX_HEADER_OCTETS
    maxHeaders = MAX_HEADERS
    # Our own deadline stands instead.
    timeOut = None
    requestFactory = _PageRequest
    # Every transport here can abort, whatever the interface says.
    transport: Any

    def __init__(
        self,
        service: str,
        peer: Peer,
        answer: Answering,
        guests: GuestList,
        clock: Clock,
        log: Sink,
        *,
        is_tls: bool,
    ) -> None:
        super().__init__()
        self.peer = peer
        self.is_tls = is_tls
        self._service = service
        self._answer = answer
        self._guests = guests
        self._clock = clock
        self._sink = log
        self._octets = 0
        self._reason = ""
        self._is_over = False
        self._heard_at = clock.monotonic()
        self._timer: Cancellable | None = None

    # --- Twisted's side -----------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The time runs from here on, TLS or not."""
        self._guests.entered(self)
        self._timer = self._clock.call_later(LIFETIME_S, self._too_slow)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """More of the request; what comes after its end is read and thrown away."""
        self._heard_at = self._clock.monotonic()
        self._octets += len(data)
        if self._octets > _MAX_OCTETS:
            self._end(TOO_MUCH)
        elif not self._is_over:
            super().dataReceived(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A header without end."""
        del line
        self._refuse(b"431 Request Header Fields Too Large")

    def headerReceived(self, line: bytes) -> bool:
        """One field. A length of thousands of digits is more than Python makes a number of; nobody else raises here."""
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            self._refuse(b"400 Bad Request")
            return False

    def allHeadersReceived(self) -> None:
        """The header is whole; a body without a known and small length is not waited for."""
        if self.length is None:
            self._refuse(b"411 Length Required")
        elif self.length > MAX_BODY_OCTETS:
            self._refuse(b"413 Content Too Large")
        else:
            super().allHeadersReceived()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """One request each: nothing that we show is worth a second, and a pipeline is only good for floods."""
        del request, version
        return False

    def requestDone(self, request: Request) -> None:
        """The answer is written."""
        self._is_over = True
        super().requestDone(request)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 - Twisted's signature
        """Gone, whoever ended it."""
        if self._timer is not None:
            self._timer.cancel()
        self._guests.left(self)
        if self._reason:
            self._sink(Disconnected(str(self.peer), self._service, self._reason))
        super().connectionLost(reason)

    def answer_to(self, request: WebRequest) -> WebAnswer:
        """The page; a fault of ours is a page too, and in the log."""
        try:
            return self._answer(request)
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the operator the traceback
            _log.failure("a web page broke")
            return BROKEN

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Twisted's own says neither that the connection ends nor how long the answer is.
        too_long = self._receivedHeaderSize > MAX_HEADER_OCTETS or self._receivedHeaderCount > MAX_HEADERS
        self._refuse(b"431 Request Header Fields Too Large" if too_long else b"400 Bad Request")

    def _refuse(self, status: bytes) -> None:
        if not self._is_over:
            self._is_over = True
            self.transport.write(_REFUSED % status)
            self.loseConnection()

    def _too_slow(self) -> None:
        self._timer = None
        self._end(TOO_SLOW if not self._is_over else "")

    def _end(self, reason: str) -> None:
        self._is_over = True
        self._reason = self._reason or reason
        self.transport.abortConnection()

    # --- a guest ------------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Answers are given at once, so there is nothing of value under way."""
        return not self._is_over

    @property
    def is_stranger(self) -> bool:
        """Nobody logs in here."""
        return True

    @property
    def is_answering(self) -> bool:
        """Never while anybody could ask."""
        return False

    @property
    def last_heard_at(self) -> float:
        """When the last octets came, in monotonic seconds."""
        return self._heard_at

    def evict(self, words: bytes, why: str) -> None:
        """Drop it; there are no words for who has not asked yet."""
        del words
        self._end(why)

    def shut_down(self) -> None:
        """The server stops: an answer on its way goes out, everybody else is dropped."""
        if not self._is_over:
            self._end("")

    def abort(self) -> None:
        """Drop it now."""
        self._end("")


class WebFactory(Factory):
    """The factory of one listener, `http` or `https`."""

    # The mail log tells what listens; Twisted's own lines would say it again.
    noisy = False

    def __init__(
        self,
        service: str,
        answer: Answering,
        guests: GuestList,
        clock: Clock,
        log: Sink,
        *,
        is_tls: bool,
        is_proxied: bool,
    ) -> None:
        self._service = service
        self._answer = answer
        self._guests = guests
        self._clock = clock
        self._log = log
        self._is_tls = is_tls
        self._is_proxied = is_proxied

    def logPrefix(self) -> str:
        """What Twisted calls this listener in its own lines."""
        return self._service

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """A connection, or one that is closed without a word."""
        peer = peer_of(addr, self._is_proxied)
        if self._guests.admit(peer) is not Admission.ADMITTED:
            return TurnedAway(b"")
        return WebConnection(
            self._service, peer, self._answer, self._guests, self._clock, self._log, is_tls=self._is_tls
        )
