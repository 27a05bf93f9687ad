"""Hands a report over by HTTPS (RFC 8460 5.4), for destinations that want it so. Bounded in time and size.

A stranger's DNS names the host, so only addresses that hosts of the internet have are dialed, and no redirect is
followed. The certificate has to be valid: RFC 8460 3 lets a sender do without, but then anybody could take the reports.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.ssl import optionsForClientTLS

from mailserver.mail.dns import IpAddress
from mailserver.net.policy_host import Body, ToAddress, words_of
from mailserver.net.tls_client import trust_root
from mailserver.ports import ConnectionFailed, Resolver

POST_S = 60.0
_CONNECT_S = 10.0
_HTTPS = 443


class ReportPost:
    """`post` for any `https:` address. `is_allowed` tells which addresses may be dialed; `ca_file` is for labs."""

    def __init__(
        self,
        reactor: Any,  # IReactorTCP and IReactorTime in one
        resolver: Resolver,
        is_allowed: Callable[[IpAddress], bool],
        *,
        ca_file: Path | None = None,
    ) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._is_allowed = is_allowed
        self._ca_file = ca_file

    async def post(self, url: str, body: bytes) -> None:
        """A report about TLS, packed. Raises `ConnectionFailed`, in plain words, when it was not taken."""
        posting = Deferred.fromCoroutine(self._post(url, body))
        timer = self._reactor.callLater(POST_S, posting.cancel)
        try:
            await posting
        except (ConnectionFailed, CancelledError):
            if not timer.active():
                raise ConnectionFailed(f"no answer within {POST_S:g} s") from None
            raise
        finally:
            if timer.active():
                timer.cancel()

    async def _post(self, url: str, body: bytes) -> None:
        from io import BytesIO

        from twisted.web._newclient import RequestGenerationFailed, RequestTransmissionFailed
        from twisted.web.client import Agent, FileBodyProducer, ResponseFailed
        from twisted.web.error import SchemeNotSupported
        from twisted.web.http_headers import Headers

        split = urlsplit(url)
        host, port = split.hostname or "", split.port or _HTTPS
        endpoint = ToAddress(self._endpoint(host, port, await self._address(host)))
        headers = Headers({"User-Agent": ["mailserver"], "Content-Type": ["application/tlsrpt+gzip"]})
        try:
            agent = Agent.usingEndpointFactory(self._reactor, endpoint)
            producer = FileBodyProducer(BytesIO(body), cooperator=_cooperator(self._reactor))
            response: Any = await agent.request(b"POST", url.encode("ascii"), headers, producer)
        except (ResponseFailed, RequestGenerationFailed, RequestTransmissionFailed) as failed:
            raise ConnectionFailed(words_of(failed.reasons[0].value)) from failed
        except (ConnectError, ConnectionClosed, SchemeNotSupported, OSError, ValueError) as failed:
            raise ConnectionFailed(words_of(failed)) from failed
        response.deliverBody(Body(0))
        if not 200 <= response.code < 300:
            raise ConnectionFailed(f"{host} answered {response.code}")

    async def _address(self, host: str) -> IpAddress:
        found = await self._resolver.addresses(host)
        if not isinstance(found, tuple):
            raise ConnectionFailed(f"the host {host} is not known to DNS")
        allowed = sorted((one for one in found if self._is_allowed(one)), key=lambda one: one.version)
        if not allowed:
            raise ConnectionFailed(f"the host {host} has only private addresses")
        return allowed[0]

    def _endpoint(self, host: str, port: int, address: IpAddress) -> Any:
        make = TCP6ClientEndpoint if address.version == 6 else TCP4ClientEndpoint
        root = trust_root(self._ca_file) if self._ca_file else None
        return wrapClientTLS(
            optionsForClientTLS(host, trustRoot=root), make(self._reactor, str(address), port, _CONNECT_S)
        )


def _cooperator(reactor: Any) -> Any:
    """Writes the body in pieces, by this reactor and no other."""
    from twisted.internet.task import Cooperator

    return Cooperator(scheduler=lambda call: reactor.callLater(0, call))
