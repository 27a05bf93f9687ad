"""The server's end of `<state>/control.sock`: lines in, commands run one after the other, lines out.

Only the owner of the state folder gets in: the folder is 0700, the socket 0600. A request has a bounded size and a
connection a bounded time; more than a few connections at once are closed.
"""

import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailserver.mail.address import parse_mailbox
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.ids import QueueId
from mailserver.maillog import Ordered, Sink, nowhere
from mailserver.ports import Overloaded, StorageTrouble
from mailserver.relay.attempt import MxTransmitter
from mailserver.relay.orders import Done
from mailserver.relay.runner import RelayRunner
from mailserver.relay.suppression import Suppressor
from mailserver.store.control_socket import (
    MAX_LINE_OCTETS,
    Request,
    Response,
    decode_request,
    encode_response,
    socket_path,
)
from mailserver.store.queue_orders import Choice

Command = Callable[[Request], Awaitable[Response]]
Commands = Mapping[str, Command]

_MAX_CONNECTIONS = 16
_LIFETIME_S = 600.0
_log = Logger()


def queue_commands(runner: RelayRunner, log: Sink = nowhere) -> dict[str, Command]:
    """The commands that concern the queue. `log` is told what the operator ordered."""

    def tell(request: Request, what: str) -> None:
        for queue_id in request.ids:
            log(Ordered(queue_id, what, request.by))

    async def retry(request: Request) -> Response:
        tell(request, "retry")
        ids = None if request.all else [QueueId(one) for one in request.ids]
        return Response(count=await runner.retry_when_loaded(ids, request.domain))

    async def remove(request: Request) -> Response:
        tell(request, "remove")
        ids = [QueueId(one) for one in request.ids]
        running = len(set(ids).intersection(runner.running_ids()))
        return Response(count=await runner.remove(ids), about={"running": running})

    async def running(request: Request) -> Response:
        del request
        return Response(ids=tuple(runner.running_ids()), about={"is_loading": runner.is_loading})

    def answer(done: Done) -> Response:
        return Response(count=done.count, about={"running": done.running})

    def choice(request: Request) -> Choice:
        return Choice(request.domain, request.about.get("recipient", ""), request.about.get("state", ""))

    def ids_of(request: Request) -> list[QueueId]:
        return [QueueId(one) for one in request.ids]

    async def hold(request: Request) -> Response:
        reason = request.about.get("reason", "")
        return answer(await runner.hold(ids_of(request), choice(request), request.by, reason))

    async def release(request: Request) -> Response:
        return answer(await runner.release(ids_of(request), choice(request), request.by))

    async def bounce(request: Request) -> Response:
        reason = request.about.get("reason", "")
        return answer(await runner.bounce(ids_of(request), choice(request), request.by, reason))

    return {
        "queue-retry": retry,
        "queue-remove": remove,
        "queue-running": running,
        "queue-hold": hold,
        "queue-release": release,
        "queue-bounce": bounce,
    }


def suppression_commands(suppressor: Suppressor) -> dict[str, Command]:
    """The commands that concern the suppression list."""

    async def add(request: Request) -> Response:
        mailbox = parse_mailbox(request.about.get("address", ""))
        if isinstance(mailbox, SyntaxFault):
            return Response(error=mailbox.reason)
        try:
            until = float(request.about.get("until", "0"))
            await suppressor.add(mailbox, request.by, request.about.get("reason", ""), until)
        except (ValueError, StorageTrouble, Overloaded) as trouble:
            return Response(error=f"the suppression list could not be changed: {trouble}")
        return Response(count=1)

    async def remove(request: Request) -> Response:
        mailbox = parse_mailbox(request.about.get("address", ""))
        if isinstance(mailbox, SyntaxFault):
            return Response(error=mailbox.reason)
        try:
            return Response(count=int(await suppressor.remove(mailbox, request.by)))
        except (StorageTrouble, Overloaded) as trouble:
            return Response(error=f"the suppression list could not be changed: {trouble}")

    return {"suppression-add": add, "suppression-remove": remove}


def relay_commands(transmitter: MxTransmitter) -> dict[str, Command]:
    """What is remembered of the ways out."""

    async def families(request: Request) -> Response:
        del request
        first = transmitter.ipv4_first()
        return Response(about={} if first is None else {"reason": first[0], "ipv4_first_for_s": first[1]})

    async def protection(request: Request) -> Response:
        """JSON in a text, because answers are flat: host, protection, reasons, trouble of each host."""
        found = await transmitter.requirements(request.domain)
        hosts = [
            {"host": host, "protection": one.protection.value, "reasons": one.reasons, "trouble": one.trouble}
            for host, one in found
        ]
        return Response(about={"hosts": json.dumps(hosts)})

    return {"relay-families": families, "relay-protection": protection}


class ControlProtocol(Protocol):
    """One caller."""

    def __init__(self, reactor: Any, commands: Commands, left: "Callable[[ControlProtocol], None]") -> None:
        self._reactor = reactor
        self._timer: IDelayedCall | None = None
        self._commands = commands
        self._left = left
        self._buffer = b""
        self._is_busy = False

    def connectionMade(self) -> None:
        """See `Protocol`."""
        self._timer = self._reactor.callLater(_LIFETIME_S, self._close)

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self._buffer += data
        self._next()

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008 - Twisted's signature
        """See `Protocol`."""
        del reason
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._buffer = b""
        self._left(self)

    def _next(self) -> None:
        if self._is_busy:
            if len(self._buffer) > MAX_LINE_OCTETS:
                self._close()
            return
        line, newline, rest = self._buffer.partition(b"\n")
        if len(line) > MAX_LINE_OCTETS:
            self._say(Response(error=f"a request has at most {MAX_LINE_OCTETS} octets"))
            self._close()
            return
        if not newline:
            return
        self._buffer = rest
        self._is_busy = True
        done = Deferred.fromCoroutine(self._answer(line))
        done.addErrback(self._failed).addCallback(self._say).addCallback(self._ready)

    async def _answer(self, line: bytes) -> Response:
        try:
            request = decode_request(line)
        except ValueError as error:
            return Response(error=str(error))
        command = self._commands.get(request.command)
        if command is None:
            return Response(error="this server does not know that command")
        return await command(request)

    def _failed(self, failure: Failure) -> Response:
        _log.failure("a control command did not succeed", failure=failure)
        return Response(error="unexpected trouble in the server; its log has the details")

    def _say(self, response: Response) -> None:
        if self.transport is not None and self.connected:
            self.transport.write(encode_response(response))

    def _ready(self, _: object) -> None:
        self._is_busy = False
        if self.connected:
            self._next()

    def _close(self) -> None:
        self._buffer = b""
        if self.transport is not None:
            self.transport.loseConnection()


class ControlFactory(Factory):
    """Builds a protocol for each caller, up to a bound."""

    noisy = False

    def __init__(self, reactor: Any, commands: Commands) -> None:
        self._reactor = reactor
        self._commands = commands
        self._open: set[ControlProtocol] = set()

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol | None:
        """See `Factory`."""
        del addr
        if len(self._open) >= _MAX_CONNECTIONS:
            return None
        protocol = ControlProtocol(self._reactor, self._commands, self._open.discard)
        protocol.factory = self
        self._open.add(protocol)
        return protocol


class ControlServer:
    """Listens on the socket of one state folder, whose lock the caller holds."""

    def __init__(self, reactor: Any, state: Path, commands: Commands) -> None:
        # Any: IReactorUNIX and IReactorTime in one have no name.
        self._reactor = reactor
        self._state = state
        self._factory = ControlFactory(reactor, commands)
        self._port: IListeningPort | None = None

    def start(self) -> None:
        """Listen, in place of a socket that a killed server left.

        Raises `ValueError` for a path that no socket can have, `twisted.internet.error.CannotListenError`.
        """
        path = socket_path(self._state)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._port = self._reactor.listenUNIX(str(path), self._factory, mode=0o600)

    async def stop(self) -> None:
        """Stop listening; the socket file goes with it."""
        port, self._port = self._port, None
        if port is not None:
            stopped = port.stopListening()
            if stopped is not None:
                await stopped
