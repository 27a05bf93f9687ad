"""The `Scanner` door: asks rspamd over HTTP (`POST /checkv2`), each time on a new connection.

rspamd's workers close after each answer (seen with 3.4), so there are no connections to keep.

Bounded in time and size whatever it answers. When it does not work, the next messages do not wait for it: for a while
nobody asks, then one message tries. Twisted's HTTP client is imported with this module, which is imported only where
rspamd is configured.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, RequestGenerationFailed, RequestTransmissionFailed, ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from mailserver.mail.reply import printable
from mailserver.maillog import NeighborBack, NeighborDown, Sink
from mailserver.net.bounded_answer import connect_bounded
from mailserver.policy.rspamd import MAX_ANSWER_OCTETS, NoAnswer, read_answer
from mailserver.ports import Blocking, Clock, Lane, Overloaded, StoredContent
from mailserver.ports.scanning import NotScanned, Scanned, ScanRequest

_PIECE_OCTETS = 64 << 10
# Connections at once; more than its workers can use, and few beside the descriptors that clients need.
MAX_AT_ONCE = 50
# How long nobody asks after the first failure; twice as long after each further one, up to the last.
_REST_S = 1.0
_LONGEST_REST_S = 30.0
_MAX_VALUE_OCTETS = 1000
_MAX_PASSWORD_OCTETS = 1024
# All that a message to many needs to be judged by.
_MAX_RECIPIENTS = 50

_log = Logger()


@dataclass(frozen=True, slots=True)
class RspamdSettings:
    """`socket` is the path of a Unix socket; empty for `host` and `port`. `when_down`: the effect, for the log."""

    host: str = "127.0.0.1"
    port: int = 11333
    socket: str = ""
    password_file: Path | None = None
    timeout_s: float = 10.0
    max_octets: int = 2_000_000
    when_down: str = "mail is taken unchecked"


class Rspamd:
    """See `ports.Scanner`."""

    def __init__(self, settings: RspamdSettings, reactor: Any, blocking: Blocking, clock: Clock, log: Sink) -> None:
        self._settings = settings
        self._reactor = reactor
        self._blocking = blocking
        self._clock = clock
        self._log = log
        self._agent = Agent.usingEndpointFactory(reactor, _Place(settings, reactor))
        self._places = DeferredSemaphore(MAX_AT_ONCE)
        self._rest_s = 0.0
        self._rests_until = 0.0
        self._is_probing = False
        self._down_since: float | None = None

    async def scan(self, request: ScanRequest, content: bytes | StoredContent) -> Scanned | NotScanned:
        """See `ports.Scanner`."""
        octets = len(content) if isinstance(content, bytes) else content.length
        if octets > self._settings.max_octets:
            return NotScanned("the message is too large")
        if self._down_since is not None and (self._is_probing or self._clock.monotonic() < self._rests_until):
            return NotScanned("rspamd does not work", is_down=True)
        is_probe = self._is_probing = self._down_since is not None
        try:
            answer = await self._within_time(request, content)
        except _Trouble as trouble:
            # Those that were asked when it was still up are one failure together, however many they are.
            if not trouble.is_ours and (is_probe or self._down_since is None):
                self._failed(str(trouble))
            return NotScanned(str(trouble), is_down=True)
        finally:
            if is_probe:
                self._is_probing = False
        self._worked()
        return answer

    # --- how it is doing ----------------------------------------------------------------------------------------------

    def _worked(self) -> None:
        self._rest_s = 0.0
        if self._down_since is not None:
            down_s, self._down_since = self._clock.monotonic() - self._down_since, None
            self._log(NeighborBack("rspamd", down_s))

    def _failed(self, reason: str) -> None:
        now = self._clock.monotonic()
        self._rest_s = min(max(_REST_S, 2 * self._rest_s), _LONGEST_REST_S)
        self._rests_until = now + self._rest_s
        if self._down_since is None:
            self._down_since = now
            self._log(NeighborDown("rspamd", reason, self._settings.when_down))

    # --- one question -------------------------------------------------------------------------------------------------

    async def _within_time(self, request: ScanRequest, content: bytes | StoredContent) -> Scanned:
        asking = Deferred.fromCoroutine(self._in_turn(request, content))
        is_late = False

        def end() -> None:
            nonlocal is_late
            is_late = True
            asking.cancel()

        timer = self._clock.call_later(self._settings.timeout_s, end)
        try:
            return await asking
        except (_Trouble, CancelledError, ConnectingCancelledError) as trouble:
            # Twisted's client gives a cancelled request other names.
            if is_late:
                raise _Trouble(f"no answer within {self._settings.timeout_s:g} s") from None
            if isinstance(trouble, _Trouble):
                raise
            raise _Trouble("the question was cancelled") from None
        except Exception as error:  # noqa: BLE001 - whatever is wrong with asking, mail goes on as configured
            _log.failure("asking rspamd broke")
            raise _Trouble(f"asking it broke: {type(error).__name__}") from None
        finally:
            timer.cancel()

    async def _in_turn(self, request: ScanRequest, content: bytes | StoredContent) -> Scanned:
        await self._places.acquire()
        try:
            return await self._ask(request, content)
        finally:
            self._places.release()

    async def _ask(self, request: ScanRequest, content: bytes | StoredContent) -> Scanned:
        headers = _headers(request, await self._password())
        body = _InMemory(content) if isinstance(content, bytes) else _InFile(content, self._blocking)
        try:
            response: Any = await self._agent.request(b"POST", b"http://rspamd/checkv2", headers, body)
            if response.code != 200:
                response.deliverBody(_Body(0))
                raise _Trouble(f"it answered {response.code}")
            answer = _Body(MAX_ANSWER_OCTETS)
            response.deliverBody(answer)
            return read_answer(await answer.done)
        except NoAnswer as fault:
            raise _Trouble(str(fault)) from None
        except RequestGenerationFailed as failed:
            raise _Trouble(f"the content cannot be read: {_words(failed.reasons[0].value)}", is_ours=True) from None
        except (ResponseFailed, RequestTransmissionFailed) as failed:
            raise _Trouble(_words(failed.reasons[0].value)) from failed
        except (ConnectError, ConnectionClosed, OSError, ValueError) as failed:
            raise _Trouble(_words(failed)) from failed

    async def _password(self) -> str:
        path = self._settings.password_file
        if path is None:
            return ""
        try:
            octets = await self._blocking.run(Lane.GENERAL, _first_line, path)
            return octets.decode("utf-8")
        except (OSError, UnicodeDecodeError, Overloaded) as trouble:
            raise _Trouble(f"its password cannot be read: {trouble}") from None


class _Trouble(Exception):
    """It did not answer as it should, or we could not ask (`is_ours`); the text is for the log."""

    def __init__(self, reason: str, *, is_ours: bool = False) -> None:
        super().__init__(reason)
        self.is_ours = is_ours


def _headers(request: ScanRequest, password: str) -> Headers:
    """What rspamd knows of an SMTP session (its "HTTP headers" of a task). Values cannot end a field."""
    pairs = [
        ("IP", "" if request.client is None else str(request.client)),
        ("Helo", request.hello),
        ("Hostname", request.host_name),
        ("From", request.reverse_path),
        *(("Rcpt", recipient) for recipient in request.recipients[:_MAX_RECIPIENTS]),
        ("User", request.login),
        ("Queue-Id", request.queue_id),
        ("Password", password),
    ]
    headers = Headers({"User-Agent": ["mailserver"], "Content-Type": ["message/rfc822"]})
    for name, value in pairs:
        if value:
            headers.addRawHeader(name, printable(value).encode("utf-8", "replace")[:_MAX_VALUE_OCTETS])
    return headers


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(_MAX_PASSWORD_OCTETS).rstrip(b"\r\n")


class _Place:
    """Twisted's `IAgentEndpointFactory`, and the endpoint it gives: whatever is asked for, where rspamd listens."""

    def __init__(self, settings: RspamdSettings, reactor: Any) -> None:
        if settings.socket:
            self._endpoint: Any = UNIXClientEndpoint(reactor, settings.socket, timeout=settings.timeout_s)
        else:
            self._endpoint = HostnameEndpoint(reactor, settings.host, settings.port, settings.timeout_s)

    def endpointForURI(self, uri: object) -> Any:
        """The one."""
        del uri
        return self

    def connect(self, factory: Any) -> Any:
        """As an endpoint; without two lines in the log for each message."""
        factory.noisy = False
        return connect_bounded(self._endpoint, factory, MAX_ANSWER_OCTETS)


@implementer(IBodyProducer)
class _InMemory:
    """A content in memory, given out in pieces as fast as they are taken: never a second copy of all of it."""

    def __init__(self, content: bytes) -> None:
        self.length = len(content)
        self._content = content
        self._position = 0
        self._is_paused = False
        self._is_stopped = False
        self._done: Deferred[None] = Deferred(lambda _: self.stopProducing())
        self._consumer: Any = None

    def startProducing(self, consumer: Any) -> "Deferred[None]":
        """Begin; fires when all is handed over."""
        self._consumer = consumer
        self._go_on()
        return self._done

    def _go_on(self) -> None:
        while not (self._is_paused or self._is_stopped) and self._position < self.length:
            piece = self._content[self._position : self._position + _PIECE_OCTETS]
            self._position += len(piece)
            self._consumer.write(piece)
        if self._position >= self.length and not self._is_stopped and not self._done.called:
            self._done.callback(None)

    def pauseProducing(self) -> None:
        """Enough for now."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._go_on()

    def stopProducing(self) -> None:
        """It is not wanted any more."""
        self._is_stopped = True


@implementer(IBodyProducer)
class _InFile:
    """A content in a file, read piece by piece away from the reactor."""

    def __init__(self, content: StoredContent, blocking: Blocking) -> None:
        self.length = content.length
        self._content = content
        self._blocking = blocking
        self._is_stopped = False
        self._resumed: Deferred[None] | None = None

    def startProducing(self, consumer: Any) -> "Deferred[None]":
        """Begin; fires when all is handed over, fails when it cannot be read."""
        return Deferred.fromCoroutine(self._run(consumer))

    async def _run(self, consumer: Any) -> None:
        position, end = self._content.offset, self._content.offset + self.length
        while position < end and not self._is_stopped:
            size = min(_PIECE_OCTETS, end - position)
            piece = await self._blocking.run(Lane.CONTENT, _read, self._content.path, position, size)
            if not piece:
                raise OSError("the content on disk is shorter than it should be")
            if self._resumed is not None:
                await self._resumed
            if self._is_stopped:
                return
            consumer.write(piece)
            position += len(piece)

    def pauseProducing(self) -> None:
        """Enough for now."""
        if self._resumed is None:
            self._resumed = Deferred()

    def resumeProducing(self) -> None:
        """Go on."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def stopProducing(self) -> None:
        """It is not wanted any more."""
        self._is_stopped = True
        self.resumeProducing()


def _read(path: Path, position: int, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return os.pread(descriptor, size, position)
    finally:
        os.close(descriptor)


class _Body(Protocol):
    """Collects at most `limit` octets; `done` has them, or `NoAnswer`. A limit of 0: nobody wants them.

    The connection is closed as soon as nobody waits for more.
    """

    transport: Any

    def __init__(self, limit: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self.transport.loseConnection())
        self._limit = limit
        self._pieces: list[bytes] = []
        self._octets = 0

    def connectionMade(self) -> None:
        """The body begins."""
        if not self._limit:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """More of it."""
        self._octets += len(data)
        if self._octets > self._limit:
            self._pieces.clear()
            self._finish(Failure(NoAnswer("its answer is too long")))
            self.transport.loseConnection()
        else:
            self._pieces.append(data)

    def connectionLost(self, reason: Failure = Failure(ConnectionClosed())) -> None:  # noqa: B008 - Twisted's signature
        """The end. What was cut off is no answer."""
        is_whole = reason.check(ResponseDone)
        self._finish(b"".join(self._pieces) if is_whole else Failure(NoAnswer("its answer broke off")))

    def _finish(self, result: "bytes | Failure") -> None:
        if not self._limit or self.done.called:
            return
        if isinstance(result, Failure):
            self.done.errback(result)
        else:
            self.done.callback(result)


def _words(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
