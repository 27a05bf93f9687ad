"""The `Resolver` door: answers as values, a small cache, equal questions asked once at a time.

`twisted.names` is imported with the first question, not at start. What cannot be told is not remembered, so that a
name server that is back is noticed at once.
"""

import ipaddress
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred

from mailserver.mail.address import canonical_domain
from mailserver.mail.dns import (
    AddressAnswer,
    CannotTell,
    FoundRecords,
    HostAnswer,
    IpAddress,
    MxAnswer,
    MxRecord,
    NoRecords,
    NoSuchName,
    SignedMx,
    TextAnswer,
    TlsaAnswer,
    TlsaRecord,
)
from mailserver.ports import Clock

if TYPE_CHECKING:
    from mailserver.net.dns_client import DnsClient, Records

MAX_TTL_S = 3600.0
MAX_NEGATIVE_TTL_S = 900.0
MAX_CACHED = 10_000
# A stranger chooses names that are asked for (a signature's key), and what they say: 64 KiB each, for an hour.
MAX_CACHED_OCTETS = 16 << 20
# What a record takes beside its text.
_RECORD_OCTETS = 600
# Type numbers of RFC 1035, RFC 3596 and RFC 6698, here so that asking from memory imports nothing.
_A, _CNAME, _PTR, _MX, _TXT, _AAAA, _TLSA = 1, 5, 12, 15, 16, 28, 52


class _AskerGone(Exception):
    """Whoever asked the name servers was canceled before they answered."""


class CachingResolver:
    """The doors `Resolver`, `SignedResolver` and `RecordResolver`.

    `servers` are (address, port); empty is what the system uses.
    """

    def __init__(
        self,
        reactor: Any,  # IReactorUDP, IReactorTCP and IReactorTime in one
        clock: Clock,
        servers: Sequence[tuple[str, int]] = (),
        resolv_conf: Path = Path("/etc/resolv.conf"),
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._servers = servers
        self._resolv_conf = resolv_conf
        self._client: DnsClient | None = None
        self._cache: dict[tuple[str, int], tuple[float, Records]] = {}
        self._cached_octets = 0
        self._asking: dict[tuple[str, int], list[Deferred[Records]]] = {}

    async def mx(self, domain: str) -> MxAnswer:
        """All MX records, unsorted. An exchange that cannot be a host name is left out."""
        return (await self.signed_mx(domain)).answer

    async def signed_mx(self, domain: str) -> SignedMx:
        """As `mx`, and whether that is authentic."""
        records = await self._ask(domain, _MX)
        found = records.found
        if not isinstance(found, tuple):
            return SignedMx(found, records.is_authentic)
        hosts = tuple(
            MxRecord(record.preference, exchange)
            for record in found
            if (exchange := _exchange(_text_of(record.name))) is not None
        )
        return SignedMx(hosts or CannotTell("no MX record names a host"), records.is_authentic)

    async def addresses(self, host: str, *, ipv4: bool = True, ipv6: bool = True) -> AddressAnswer:
        """A and AAAA, asked at the same time."""
        return _addresses(await self._ask_addresses(host, ipv4=ipv4, ipv6=ipv6))

    async def signed_addresses(self, host: str) -> HostAnswer:
        """As `addresses`, and at which names TLSA records count (RFC 7672 2.2.2): where the host's alias leads, if it
        has one, then its own. An alias that is authentic itself is enough for the latter, wherever it leads."""
        asked = await self._ask_addresses(host, ipv4=True, ipv6=True)
        answer = _addresses(asked)
        given = [records for records in asked if isinstance(records.found, tuple)]
        if not given:
            return HostAnswer(answer)
        if all(records.is_authentic for records in given):
            return HostAnswer(answer, tuple(dict.fromkeys((given[0].name, host.lower()))))
        is_alias = given[0].name != host.lower()
        is_enough = is_alias and (await self._ask(host, _CNAME)).is_authentic
        return HostAnswer(answer, (host.lower(),) if is_enough else ())

    async def tlsa(self, name: str) -> TlsaAnswer:
        """TLSA records that are authentic (RFC 6698 2.1); too short ones are left out."""
        records = await self._ask(name, _TLSA)
        if not isinstance(records.found, tuple):
            return records.found
        if not records.is_authentic:
            return NoRecords()
        octets = [bytes(record.data) for record in records.found]
        return tuple(TlsaRecord(one[0], one[1], one[2], one[3:]) for one in octets if len(one) > 3) or NoRecords()

    async def records(self, name: str, kind: str) -> FoundRecords:
        """Records of any type that `net.record_text` knows, authentic or not."""
        from mailserver.net.record_text import KINDS, zone_form

        records = await self._ask(name, KINDS[kind])
        found = records.found
        answer = tuple(zone_form(one, kind) for one in found) if isinstance(found, tuple) else found
        return FoundRecords(answer, records.name or name.lower(), records.is_authentic)

    async def _ask_addresses(self, host: str, *, ipv4: bool, ipv6: bool) -> "list[Records]":
        kinds = [kind for kind, is_wanted in ((_AAAA, ipv6), (_A, ipv4)) if is_wanted]
        asked = [Deferred.fromCoroutine(self._ask(host, kind)) for kind in kinds]
        return [await answer for answer in asked]

    async def text(self, name: str) -> TextAnswer:
        """TXT records, the strings of each joined; octets beyond ASCII become characters one by one."""
        found = (await self._ask(name, _TXT)).found
        if not isinstance(found, tuple):
            return found
        return tuple(b"".join(record.data).decode("latin-1") for record in found)

    async def pointer(self, address: IpAddress) -> TextAnswer:
        """PTR names of an address."""
        found = (await self._ask(address.reverse_pointer, _PTR)).found
        if not isinstance(found, tuple):
            return found
        return tuple(_text_of(record.name) for record in found)

    async def _ask(self, name: str, kind: int) -> "Records":
        key = (name.lower(), kind)
        until, known = self._cache.get(key, (0.0, None))
        if known is not None and self._clock.monotonic() < until:
            return known
        if key in self._asking:
            waiting: Deferred[Records] = Deferred()
            self._asking[key].append(waiting)
            try:
                return await waiting
            except _AskerGone:
                return await self._ask(name, kind)
        self._asking[key] = []
        try:
            records = await self._answer(*key)
        except BaseException as trouble:
            # Who asked was canceled: the others have nothing to do with that, and one of them asks anew.
            told = _AskerGone() if isinstance(trouble, CancelledError | GeneratorExit) else trouble
            for waiting in self._asking.pop(key):
                waiting.errback(told)
            raise
        self._remember(key, records)
        for waiting in self._asking.pop(key):
            waiting.callback(records)
        return records

    def _answer(self, name: str, kind: int) -> "Awaitable[Records]":
        if self._client is None:
            from mailserver.net.dns_client import DnsClient

            self._client = DnsClient(self._reactor, self._servers, self._resolv_conf)
        return self._client.ask(name, kind)

    def _remember(self, key: tuple[str, int], records: "Records") -> None:
        self._forget(key)
        ttl_s = min(records.ttl_s, MAX_TTL_S if isinstance(records.found, tuple) else MAX_NEGATIVE_TTL_S)
        if isinstance(records.found, CannotTell) or ttl_s <= 0:
            return
        self._cache[key] = (self._clock.monotonic() + ttl_s, records)
        self._cached_octets += _octets_of(records)
        while len(self._cache) > MAX_CACHED or self._cached_octets > MAX_CACHED_OCTETS:
            self._forget(next(iter(self._cache)))

    def _forget(self, key: tuple[str, int]) -> None:
        _, records = self._cache.pop(key, (0.0, None))
        if records is not None:
            self._cached_octets -= _octets_of(records)


def _octets_of(records: "Records") -> int:
    """About how much memory an answer takes."""
    if not isinstance(records.found, tuple):
        return _RECORD_OCTETS
    return sum(_RECORD_OCTETS + _data_octets(getattr(record, "data", ())) for record in records.found)


def _data_octets(data: bytes | Sequence[bytes]) -> int:
    """TXT has strings; a type that Twisted does not read, such as TLSA, has octets."""
    return len(data) if isinstance(data, bytes) else sum(map(len, data))


def _text_of(name: Any) -> str:
    from mailserver.net.dns_client import text_of

    return text_of(name)


def _exchange(name: str) -> str | None:
    """Empty for the root (RFC 7505), the canonical host name, or None."""
    return canonical_domain(name) if name else ""


def _addresses(asked: "Sequence[Records]") -> AddressAnswer:
    """What several look-ups for one host come to."""
    answers = [records.found for records in asked]
    addresses = [_address(record.address) for found in answers if isinstance(found, tuple) for record in found]
    if addresses:
        return tuple(addresses)
    unknown = [found for found in answers if isinstance(found, CannotTell)]
    if unknown:
        return unknown[0]
    return NoSuchName() if NoSuchName() in answers else NoRecords()


def _address(octets: bytes) -> IpAddress:
    return ipaddress.ip_address(octets)
