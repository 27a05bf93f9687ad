"""Fetches a domain's MTA-STS policy over HTTPS (RFC 8461 3.3). Decides nothing about what it says.

Twisted's HTTP client is imported with the first fetch, not at start. Bounded in time and size; no redirect is followed,
the certificate must be valid for `mta-sts.<domain>`, and addresses that no host of the internet has are not dialed,
because it is a stranger's DNS that names them.
"""

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from mailserver.mail.dns import IpAddress
from mailserver.net.bounded_answer import connect_bounded
from mailserver.net.tls_client import trust_root
from mailserver.ports import ConnectionFailed, Resolver

MAX_OCTETS = 64 * 1024
MAX_ADDRESSES = 3
FETCH_S = 30.0
_CONNECT_S = 10.0


class PolicyHosts:
    """`fetch` for any domain. `is_allowed` tells which addresses may be dialed; `port` and `ca_file` are for labs."""

    def __init__(
        self,
        reactor: Any,  # IReactorTCP and IReactorTime in one
        resolver: Resolver,
        is_allowed: Callable[[IpAddress], bool],
        *,
        port: int = 443,
        ca_file: Path | None = None,
    ) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._is_allowed = is_allowed
        self._port = port
        self._ca_file = ca_file

    async def fetch(self, domain: str) -> bytes:
        """The body of the policy file within 30 s. Raises `ConnectionFailed` with the reason in plain words."""
        ends_at = self._reactor.seconds() + FETCH_S
        fetching = Deferred.fromCoroutine(self._fetch(domain, ends_at))
        timer = self._reactor.callLater(FETCH_S, fetching.cancel)
        try:
            return await fetching
        except (ConnectionFailed, CancelledError):
            # Twisted's client gives a cancelled request other names.
            if self._reactor.seconds() >= ends_at:
                raise ConnectionFailed(f"no answer within {FETCH_S:g} s") from None
            raise
        finally:
            if timer.active():
                timer.cancel()

    async def _fetch(self, domain: str, ends_at: float) -> bytes:
        host = f"mta-sts.{domain}"
        found = await self._resolver.addresses(host)
        if not isinstance(found, tuple):
            raise ConnectionFailed(f"the host {host} is not known to DNS")
        allowed = [address for address in found if self._is_allowed(address)]
        if not allowed:
            raise ConnectionFailed(f"the host {host} has only private addresses")
        # IPv4 first: the networks without IPv6 to the outside are many, and here nobody waits for a fallback.
        allowed.sort(key=lambda address: address.version)
        trouble = ConnectionFailed("no address")
        for address in allowed[:MAX_ADDRESSES]:
            try:
                return await self._get(host, address)
            except ConnectionFailed as failed:
                trouble = failed
            if self._reactor.seconds() >= ends_at:
                break
        raise trouble

    async def _get(self, host: str, address: IpAddress) -> bytes:
        from twisted.web.client import Agent, ResponseFailed
        from twisted.web.error import SchemeNotSupported
        from twisted.web.http_headers import Headers

        try:
            agent = Agent.usingEndpointFactory(self._reactor, ToAddress(self._endpoint(host, address)))
            headers = Headers({"User-Agent": ["mailserver"], "Accept": ["text/plain"]})
            url = f"https://{host}/.well-known/mta-sts.txt".encode("ascii")
            response: Any = await agent.request(b"GET", url, headers)
            if response.code != 200:
                response.deliverBody(Body(0))
                raise ConnectionFailed(f"{host} answered {response.code}")
            kind = (response.headers.getRawHeaders("content-type") or [""])[0]
            if kind.partition(";")[0].strip().lower() != "text/plain":
                response.deliverBody(Body(0))
                raise ConnectionFailed(f"{host} answered with something that is not text/plain")
            body = Body(MAX_OCTETS)
            response.deliverBody(body)
            return await body.done
        except ResponseFailed as failed:
            raise ConnectionFailed(words_of(failed.reasons[0].value)) from failed
        except (ConnectError, ConnectionClosed, SchemeNotSupported, OSError, ValueError) as failed:
            raise ConnectionFailed(words_of(failed)) from failed

    def _endpoint(self, host: str, address: IpAddress) -> Any:
        make = TCP6ClientEndpoint if isinstance(address, ipaddress.IPv6Address) else TCP4ClientEndpoint
        root = trust_root(self._ca_file) if self._ca_file else None
        endpoint = make(self._reactor, str(address), self._port, _CONNECT_S)
        return wrapClientTLS(optionsForClientTLS(host, trustRoot=root), endpoint)


class ToAddress:
    """Twisted's `IAgentEndpointFactory`, and the endpoint it gives: whatever is asked for, this one, bounded."""

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: object) -> Any:
        """The one."""
        del uri
        return self

    def connect(self, factory: Any) -> Any:
        """As an endpoint."""
        return connect_bounded(self._endpoint, factory, MAX_OCTETS)


class Body(Protocol):
    """Collects at most `limit` octets; `done` has them, or `ConnectionFailed` for more."""

    transport: Any

    def __init__(self, limit: int) -> None:
        self.done: Deferred[bytes] = Deferred()
        self._limit = limit
        self._octets = b""

    def dataReceived(self, data: bytes) -> None:
        """More of it."""
        self._octets += data
        if len(self._octets) > self._limit and self._limit:
            self._finish(Failure(ConnectionFailed(f"the policy is longer than {self._limit} octets")))
        if len(self._octets) > self._limit:
            self._octets = b""
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = Failure(ConnectionClosed())) -> None:  # noqa: B008 - Twisted's signature
        """The end. What was cut off is no policy."""
        from twisted.web.client import ResponseDone
        from twisted.web.http import PotentialDataLoss

        is_whole = reason.check(ResponseDone, PotentialDataLoss)
        self._finish(self._octets if is_whole else Failure(ConnectionFailed("the answer broke off")))

    def _finish(self, result: "bytes | Failure") -> None:
        if not self._limit or self.done.called:
            return
        if isinstance(result, Failure):
            self.done.errback(result)
        else:
            self.done.callback(result)


def words_of(error: BaseException) -> str:
    """What an operator understands; OpenSSL's reasons are lists."""
    if isinstance(error, VerificationError):
        return "its certificate is for another name"
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return "TLS: " + (", ".join(str(entry[-1]) for entry in error.args[0] if entry) or "failed")
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
