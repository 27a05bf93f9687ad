"""Names of our own, looked up past caches: what was published a minute ago is not called missing."""

from collections.abc import Awaitable, Iterable

from mailserver.mail.dns import AddressAnswer, CannotTell, IpAddress, MxAnswer, TextAnswer
from mailserver.ports import Clock, Resolver
from mailserver.survey.waiting import within

LIMIT_S = 8.0


class FreshResolver:
    """The door `Resolver`. Where `base` says that a host of `own` or a reverse name is not there, `authority` is asked
    once more; what that cannot tell in time stays as it was."""

    def __init__(self, base: Resolver, authority: Resolver, own: Iterable[str], clock: Clock) -> None:
        self._base = base
        self._authority = authority
        self._own = frozenset(own)
        self._clock = clock

    def mx(self, domain: str) -> Awaitable[MxAnswer]:
        """All MX records, unsorted; as they are remembered."""
        return self._base.mx(domain)

    async def addresses(self, host: str, *, ipv4: bool = True, ipv6: bool = True) -> AddressAnswer:
        """A and AAAA together."""
        answer = await self._base.addresses(host, ipv4=ipv4, ipv6=ipv6)
        if host not in self._own or isinstance(answer, tuple | CannotTell):
            return answer
        fresh = await within(self._clock, LIMIT_S, self._addresses(host, ipv4, ipv6), CannotTell("no answer in time"))
        return answer if isinstance(fresh, CannotTell) else fresh

    async def _addresses(self, host: str, ipv4: bool, ipv6: bool) -> AddressAnswer:
        return await self._authority.addresses(host, ipv4=ipv4, ipv6=ipv6)

    def text(self, name: str) -> Awaitable[TextAnswer]:
        """TXT records, the strings of each joined; as they are remembered."""
        return self._base.text(name)

    async def pointer(self, address: IpAddress) -> TextAnswer:
        """PTR names of an address."""
        answer = await self._base.pointer(address)
        if isinstance(answer, tuple | CannotTell):
            return answer
        fresh = await within(self._clock, LIMIT_S, self._pointer(address), CannotTell("no answer in time"))
        return answer if isinstance(fresh, CannotTell) else fresh

    async def _pointer(self, address: IpAddress) -> TextAnswer:
        return await self._authority.pointer(address)
