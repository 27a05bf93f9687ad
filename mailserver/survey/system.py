"""The real doors of a survey, on a reactor."""

from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from mailserver.net.policy_host import ToAddress
from mailserver.ports import Blocking, Clock, Dialer, Resolver
from mailserver.survey.doors import Page, SurveyDoors, WebTrouble
from mailserver.survey.machine import LinuxMachine
from mailserver.survey.values import NameServer

# RFC 1035 3.2.2.
_SOA = 6
_WEB_S = 10.0
_MAX_PAGE_OCTETS = 4096
RESOLV_CONF = Path("/etc/resolv.conf")


def survey_doors(
    reactor: Any,  # IReactorTCP, IReactorUDP and IReactorTime in one
    *,
    clock: Clock,
    blocking: Blocking,
    resolver: Resolver,
    dialer: Dialer,
) -> SurveyDoors:
    """This machine and the world as they are."""
    return SurveyDoors(
        machine=LinuxMachine(),
        resolver=resolver,
        dialer=dialer,
        web=SimpleWeb(reactor),
        validates=Validator(reactor),
        blocking=blocking,
        clock=clock,
    )


def name_servers(configured: Sequence[NameServer], resolv_conf: Path = RESOLV_CONF) -> tuple[NameServer, ...]:
    """Whom to ask whether they validate: those of the configuration, else the system's; then this very machine."""
    from mailserver.net.dns_client import read_resolv_conf

    try:
        of_system = read_resolv_conf(resolv_conf.read_text("utf-8", "replace"))
    except OSError:
        of_system = ()
    here = (("127.0.0.1", 53), ("::1", 53))
    return tuple(dict.fromkeys((*(configured or of_system), *here)))


class Validator:
    """`survey.doors.Validation`: asks for the SOA record of a signed zone and looks at AD."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    async def __call__(self, server: NameServer, signed_name: str) -> bool:
        """Within some seconds."""
        from mailserver.net.dns_client import DnsClient

        records = await DnsClient(self._reactor, (server,)).ask(signed_name, _SOA)
        return isinstance(records.found, tuple) and records.is_authentic


class SimpleWeb:
    """`survey.doors.Web`. Twisted's HTTP client is imported with the first question. Redirects are not followed."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    async def get(self, url: str) -> Page:
        """Within 10 s, at most 4 KiB."""
        asking = Deferred.fromCoroutine(self._get(url))
        timer = self._reactor.callLater(_WEB_S, asking.cancel)
        try:
            return await asking
        except CancelledError:
            raise WebTrouble(f"no answer within {_WEB_S:g} s") from None
        finally:
            if timer.active():
                timer.cancel()

    async def _get(self, url: str) -> Page:
        from twisted.web.client import Agent, ResponseFailed
        from twisted.web.error import SchemeNotSupported
        from twisted.web.http_headers import Headers

        try:
            agent = Agent.usingEndpointFactory(self._reactor, _Bounded(self._reactor))
            headers = Headers({"User-Agent": ["mailserver"]})
            response: Any = await agent.request(b"GET", url.encode("ascii"), headers)
            start = _Start()
            response.deliverBody(start)
            body = await start.done
        except ResponseFailed as failed:
            if failed.reasons and failed.reasons[0].check(CancelledError):
                raise CancelledError from None
            raise WebTrouble("no answer that could be read") from failed
        except DNSLookupError:
            raise WebTrouble("the host is not known") from None
        except (ConnectError, ConnectionClosed, SchemeNotSupported, OSError, ValueError) as failed:
            raise WebTrouble(str(failed).partition("\n")[0].rstrip(".") or type(failed).__name__) from failed
        date = (response.headers.getRawHeaders("date") or [""])[0]
        if response.code >= 300:
            # The clock of whoever sends us elsewhere is as good as any other.
            return Page("", _seconds(date))
        return Page(body.decode("utf-8", "replace"), _seconds(date))


class _Bounded:
    """Twisted's `IAgentEndpointFactory`: as its own, but no answer takes more memory than it may."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def endpointForURI(self, uri: Any) -> Any:
        """Where to connect."""
        from twisted.web.error import SchemeNotSupported

        endpoint: Any = HostnameEndpoint(self._reactor, uri.host, uri.port, timeout=_WEB_S)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(optionsForClientTLS(uri.host.decode("ascii")), endpoint)
        elif uri.scheme != b"http":
            raise SchemeNotSupported(f"Unsupported scheme: {uri.scheme!r}")
        return ToAddress(endpoint)


class _Start(Protocol):
    """The first octets of a page; the rest is not waited for."""

    transport: Any

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred()
        self._octets = b""

    def dataReceived(self, data: bytes) -> None:
        """More of it."""
        self._octets += data
        if len(self._octets) >= _MAX_PAGE_OCTETS and not self.done.called:
            self.done.callback(self._octets[:_MAX_PAGE_OCTETS])
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = Failure(ConnectionClosed())) -> None:  # noqa: B008 - Twisted's signature
        """The end, or what broke it."""
        from twisted.web.client import ResponseDone
        from twisted.web.http import PotentialDataLoss

        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(self._octets)
        else:
            self.done.errback(WebTrouble("the answer broke off"))


def _seconds(date: str) -> float | None:
    """An HTTP date (RFC 9110 5.6.7) as seconds since the epoch."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
