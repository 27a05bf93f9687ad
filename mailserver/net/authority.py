"""Asks the name servers of a zone themselves, past all caches: what was changed a minute ago is seen at once.

Whatever they cannot tell (names of other zones behind an alias, a server that is silent) the usual resolver tells.
Their answers are never authentic in the sense of `SignedResolver`: nobody has validated them.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from mailserver.mail.dns import (
    AddressAnswer,
    CannotTell,
    FoundRecords,
    IpAddress,
    MxAnswer,
    TextAnswer,
)
from mailserver.ports import RecordResolver

NAMES_PORT = 53
MAX_SERVERS = 3
# A name in DNS has many labels, a zone of somebody's own begins near the top; and reverse names of IPv6 have 34.
MAX_LABELS = 40

_Answer = TypeVar("_Answer", MxAnswer, AddressAnswer, TextAnswer)


class AuthoritativeResolver:
    """The door `RecordResolver`. `make` gives a resolver that asks (address, port) only; `base` finds these."""

    def __init__(
        self, base: RecordResolver, make: Callable[[Sequence[tuple[str, int]]], RecordResolver], port: int = NAMES_PORT
    ) -> None:
        self._base = base
        self._make = make
        self._port = port
        self._zones: dict[str, RecordResolver | None] = {}

    async def mx(self, domain: str) -> MxAnswer:
        """All MX records, unsorted."""
        return await self._ask(domain, lambda resolver: resolver.mx(domain))

    async def addresses(self, host: str, *, ipv4: bool = True, ipv6: bool = True) -> AddressAnswer:
        """A and AAAA together."""
        return await self._ask(host, lambda resolver: resolver.addresses(host, ipv4=ipv4, ipv6=ipv6))

    async def text(self, name: str) -> TextAnswer:
        """TXT records, the strings of each joined."""
        return await self._ask(name, lambda resolver: resolver.text(name))

    async def pointer(self, address: IpAddress) -> TextAnswer:
        """PTR names of an address."""
        return await self._ask(address.reverse_pointer, lambda resolver: resolver.pointer(address))

    async def records(self, name: str, kind: str) -> FoundRecords:
        """Records as a zone file has them."""
        zone = await self._zone(name)
        found = await (zone or self._base).records(name, kind)
        if zone is not None and isinstance(found.answer, CannotTell):
            return await self._base.records(name, kind)
        return found

    async def _ask(self, name: str, ask: Callable[[RecordResolver], Awaitable[_Answer]]) -> _Answer:
        zone = await self._zone(name)
        answer = await ask(zone or self._base)
        return await ask(self._base) if zone is not None and isinstance(answer, CannotTell) else answer

    async def _zone(self, name: str) -> RecordResolver | None:
        """Who answers for the zone that a name is in; None when that cannot be found out."""
        labels = name.split(".")
        # The top level is nobody's own.
        for index in range(min(len(labels) - 1, MAX_LABELS)):
            zone = ".".join(labels[index:])
            if zone not in self._zones:
                self._zones[zone] = await self._servers_of(zone)
            if self._zones[zone] is not None:
                return self._zones[zone]
        return None

    async def _servers_of(self, zone: str) -> RecordResolver | None:
        found = await self._base.records(zone, "NS")
        # Behind an alias stand the servers of another zone.
        if not isinstance(found.answer, tuple) or found.name not in ("", zone):
            return None
        servers: list[tuple[str, int]] = []
        for host in sorted(found.answer)[:MAX_SERVERS]:
            answer = await self._base.addresses(host.rstrip("."))
            if isinstance(answer, tuple):
                # IPv4 first: where IPv6 leads nowhere, each question would wait.
                servers += [(str(one), self._port) for one in sorted(answer, key=lambda one: one.version)[:1]]
        return self._make(servers) if servers else None
