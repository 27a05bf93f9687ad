"""Asks name servers and reads what they answer (RFC 1035), with Twisted's message format and transports.

Ours is what `twisted.names.client` leaves out: a server that answers SERVFAIL or REFUSED is followed by the next one,
TCP goes to the server that truncated its answer, a failed TCP connection is an answer too, and *no such name*, *no such
record* and *cannot tell* stay apart: an answer that was cut on its way tells nothing. Each question uses a socket, and
so a port, of its own (RFC 5452).

Whether an answer was validated (the AD bit, RFC 6840 5.7) is asked of and believed from loopback only: on any other way
somebody could set it.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.protocol import Factory
from twisted.names import dns

from mailserver.mail.dns import CannotTell, NoRecords, NoSuchName
from mailserver.net.quiet_udp import listen_udp

MAX_CNAMES = 8
# For each round over all servers; so at most three times as long with three servers.
ROUNDS_S = (2.0, 4.0)
TCP_TIMEOUT_S = 5.0
MAX_SERVERS = 3
_RCODES = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED"}

NameServer = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Records:
    """What one question came to. `ttl_s` is how long it may be remembered (RFC 2308 for what is not there)."""

    found: tuple[Any, ...] | NoSuchName | NoRecords | CannotTell  # records are twisted.names.dns.Record_*
    ttl_s: float = 0.0
    is_authentic: bool = False  # validated by a resolver on this machine, with every CNAME on the way
    name: str = ""  # where the CNAMEs led


class _Answers:
    """How many records the last message said it holds, for Twisted drops those that are cut off without a word."""

    claimed: int | None = None

    def saw(self, octets: bytes) -> None:
        """One whole message, as it came (RFC 1035 4.1.1: ANCOUNT)."""
        self.claimed = int.from_bytes(octets[6:8], "big")

    def is_cut(self, message: dns.Message) -> bool:
        """Whether records of the answer are missing."""
        return self.claimed is not None and len(message.answers) != self.claimed


class _Udp(dns.DNSDatagramProtocol):
    def __init__(self, answers: _Answers, reactor: Any) -> None:
        super().__init__(_Controller(), reactor=reactor)  # type: ignore[no-untyped-call]
        self._answers = answers

    def writeMessage(self, message: dns.Message, address: tuple[str, int]) -> None:
        """As Twisted does."""
        message.authenticData = int(is_loopback(address))
        super().writeMessage(message, address)

    def datagramReceived(self, data: bytes, addr: tuple[str, int]) -> None:
        """As Twisted does."""
        self._answers.saw(data)
        super().datagramReceived(data, addr)


class _Tcp(dns.DNSProtocol):
    def __init__(self, answers: _Answers, reactor: Any, server: NameServer) -> None:
        super().__init__(_Controller(), reactor=reactor)  # type: ignore[no-untyped-call]
        self._answers = answers
        self._server = server

    def writeMessage(self, message: dns.Message) -> None:
        """As Twisted does."""
        message.authenticData = int(is_loopback(self._server))
        super().writeMessage(message)  # type: ignore[no-untyped-call]

    def stringReceived(self, data: bytes) -> None:
        """As Twisted does."""
        self._answers.saw(data)
        super().stringReceived(data)


class _Controller:
    """What Twisted's DNS protocols report to; only the end of a TCP connection matters."""

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self, protocol: object) -> None:
        """Nothing to do: the question is asked by whoever connected."""

    def connectionLost(self, protocol: dns.DNSProtocol) -> None:
        """Answers what still waits, so that nobody waits for the timer."""
        for waiting, timer in list(protocol.liveMessages.values()):
            timer.cancel()
            waiting.errback(ConnectError("the name server closed the connection"))
        protocol.liveMessages = {}

    def messageReceived(self, message: object, protocol: object, address: object = None) -> None:
        """An answer nobody asked for; ignored."""


class DnsClient:
    """Questions to some name servers. `servers` empty: those of `resolv_conf`, which is read again when it changed."""

    def __init__(self, reactor: Any, servers: Sequence[NameServer] = (), resolv_conf: Path = Path("/etc/resolv.conf")):
        self._reactor = reactor
        self._fixed = tuple(servers)
        self._resolv_conf = resolv_conf
        self._stamp: tuple[int, int] | None = None
        self._found: tuple[NameServer, ...] = ()

    @property
    def servers(self) -> tuple[NameServer, ...]:
        """Whom to ask, in order."""
        if self._fixed:
            return self._fixed
        try:
            status = self._resolv_conf.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                self._found = read_resolv_conf(self._resolv_conf.read_text("utf-8", "replace"))
                self._stamp = stamp
        except OSError:
            self._found, self._stamp = (), None
        return self._found or (("127.0.0.1", dns.PORT),)

    async def ask(self, name: str, kind: int) -> Records:
        """The records of one type for one name, CNAMEs followed. Never raises for what a network does."""
        ttl_s = float("inf")
        is_authentic = True
        for _ in range(MAX_CNAMES + 1):
            message = await self._message(name, kind)
            if isinstance(message, CannotTell):
                return Records(message)
            is_authentic = is_authentic and bool(message.authenticData)
            found, name, ttl_s = _follow(message, name, kind, ttl_s)
            if found:
                return Records(tuple(found), ttl_s, is_authentic, name)
            if message.rCode == dns.ENAME:
                return Records(NoSuchName(), min(ttl_s, _negative_ttl(message)), is_authentic, name)
            if not _is_open_end(message, name):
                return replace(_nothing(message, ttl_s), is_authentic=is_authentic, name=name)
        return Records(CannotTell("a chain of CNAMEs without end"))

    async def _message(self, name: str, kind: int) -> dns.Message | CannotTell:
        """The first sensible answer of any server; the trouble of the last one otherwise."""
        trouble = CannotTell("no answer")
        for timeout_s in ROUNDS_S:
            for server in self.servers[:MAX_SERVERS]:
                answer = await self._ask_one(server, name, kind, timeout_s)
                if not isinstance(answer, CannotTell):
                    return answer
                trouble = answer
        return trouble

    async def _ask_one(self, server: NameServer, name: str, kind: int, timeout_s: float) -> dns.Message | CannotTell:
        try:
            query = dns.Query(_octets_of(name), kind)
            answers = _Answers()
            message = await self._by_udp(server, query, timeout_s, answers)
            if message.trunc or answers.is_cut(message):
                message = await self._by_tcp(server, query, answers)
        except dns.DNSQueryTimeoutError:
            return CannotTell("no answer")
        except (ConnectError, CannotListenError, OSError) as failed:
            return CannotTell(f"the name server cannot be asked: {str(failed).partition(chr(10))[0]}")
        except ValueError:
            return CannotTell("not a name that DNS can hold")
        if message.rCode not in (dns.OK, dns.ENAME):
            return CannotTell(_RCODES.get(message.rCode, f"error {message.rCode}"))
        if not message.answer or [asked.name for asked in message.queries] != [query.name]:
            return CannotTell("an answer to another question")
        if answers.is_cut(message):
            return CannotTell("an answer that was cut on its way")
        message.authenticData = int(bool(message.authenticData) and is_loopback(server))
        return message

    async def _by_udp(self, server: NameServer, query: dns.Query, timeout_s: float, answers: _Answers) -> dns.Message:
        protocol = _Udp(answers, self._reactor)
        port = listen_udp(self._reactor, protocol, "::" if ":" in server[0] else "", 8192)
        try:
            return await protocol.query(server, [query], timeout_s)
        finally:
            port.stopListening()

    async def _by_tcp(self, server: NameServer, query: dns.Query, answers: _Answers) -> dns.Message:
        make = TCP6ClientEndpoint if ":" in server[0] else TCP4ClientEndpoint
        factory = Factory.forProtocol(lambda: _Tcp(answers, self._reactor, server))
        factory.noisy = False
        protocol: Any = await make(self._reactor, server[0], server[1], TCP_TIMEOUT_S).connect(factory)
        try:
            message: dns.Message = await protocol.query([query], TCP_TIMEOUT_S)
            return message
        finally:
            protocol.transport.abortConnection()


def is_loopback(server: NameServer) -> bool:
    """Whether nobody can stand between us and this name server."""
    try:
        return ipaddress.ip_address(server[0]).is_loopback
    except ValueError:
        return False


def read_resolv_conf(text: str) -> tuple[NameServer, ...]:
    """The name servers of a resolv.conf(5); zones of link-local addresses are kept."""
    words = [line.split() for line in text.splitlines()]
    return tuple((line[1], dns.PORT) for line in words if len(line) > 1 and line[0] == "nameserver")


def _octets_of(name: str) -> bytes:
    """A name for a question; `ValueError` when no message can hold it, which Twisted would not notice."""
    octets = name.encode("ascii")
    if len(octets) > 253 or not all(0 < len(label) < 64 for label in octets.split(b".")):
        raise ValueError("not a name that DNS can hold")
    return octets


def text_of(name: dns.Name) -> str:
    """A name in lower case without trailing dot; octets beyond ASCII as `?`, so that they match nothing."""
    return name.name.lower().rstrip(b".").decode("ascii", "replace").replace("\ufffd", "?")


def _follow(message: dns.Message, name: str, kind: int, ttl_s: float) -> tuple[list[Any], str, float]:
    """Records of this type at the end of the CNAMEs in one answer, the name at that end, the smallest TTL."""
    for _ in range(MAX_CNAMES + 1):
        own = [header for header in message.answers if text_of(header.name) == name]
        found = [header.payload for header in own if header.type == kind and header.payload is not None]
        if found:
            return found, name, min([ttl_s, *(header.ttl for header in own)])
        alias = next((header for header in own if isinstance(header.payload, dns.Record_CNAME)), None)
        if alias is None:
            break
        name = _target(alias)
        ttl_s = min(ttl_s, alias.ttl)
    return [], name, ttl_s


def _target(header: dns.RRHeader) -> str:
    """What a CNAME points to; no name can be empty but the root, which nothing points to."""
    return text_of(header.payload.name) if isinstance(header.payload, dns.Record_CNAME) else ""


def _is_open_end(message: dns.Message, name: str) -> bool:
    """Whether the answer ended at an alias whose target the server did not look up for us, or in a circle."""
    is_told = any(header.type == dns.SOA for header in message.authority)
    return not is_told and any(_target(header) == name for header in message.answers)


def _nothing(message: dns.Message, ttl_s: float) -> Records:
    """NOERROR without records: the name has none, unless the server only points to others (RFC 2308 2.2)."""
    has_soa = any(header.type == dns.SOA for header in message.authority)
    has_ns = any(header.type == dns.NS for header in message.authority)
    if has_ns and not has_soa and not message.recAv and not message.auth:
        return Records(CannotTell("the name server does not look names up"))
    return Records(NoRecords(), min(ttl_s, _negative_ttl(message)))


def _negative_ttl(message: dns.Message) -> float:
    """RFC 2308 5: the smaller of the SOA's TTL and its minimum field; without an SOA it is not remembered."""
    times: list[float] = []
    for header in message.authority:
        soa = header.payload
        if isinstance(soa, dns.Record_SOA):
            times.append(min(header.ttl, soa.minimum))
    return min(times, default=0.0)
