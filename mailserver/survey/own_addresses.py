"""The public addresses alone, without the rest of a survey: what the owner says, the machine has, or DNS knows."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailserver.mail.dns import AddressAnswer, CannotTell, IpAddress
from mailserver.ports import Clock, Resolver
from mailserver.survey.doors import Machine
from mailserver.survey.look import behind_what, public_addresses
from mailserver.survey.values import Behind
from mailserver.survey.waiting import within

LIMIT_S = 8.0


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """IPv4 first. `remark` is a line about where they are from when that is not certain; else empty."""

    addresses: tuple[IpAddress, ...]
    remark: str = ""


async def own_addresses(
    machine: Machine, resolver: Resolver, clock: Clock, hostname: str, told: Sequence[IpAddress] = ()
) -> OwnAddresses:
    """Find them within some seconds. `told` is what the configuration says; nobody but name servers is asked."""
    own = machine.interface_addresses()
    sources = tuple(one for one in map(machine.source_address, (4, 6)) if one is not None)
    said = await within(clock, LIMIT_S, _host(resolver, hostname), CannotTell("no answer in time"))
    named = said if isinstance(said, tuple) else ()
    found = public_addresses(told, own, sources, named, None)
    of_dns = [str(one) for one in found if one not in told and one not in own]
    if of_dns:
        return OwnAddresses(found, f"{' and '.join(of_dns)} is what DNS says of {hostname}: {_CHECK}")
    if not any(one.version == 4 for one in found) and behind_what(own, sources) is not Behind.NOTHING:
        return OwnAddresses(found, f"the IPv4 address that the world sees is not known here: {_CHECK}")
    return OwnAddresses(found)


_CHECK = 'if this server is behind NAT, say its address in [doctor] addresses = ["192.0.2.7"]'


async def _host(resolver: Resolver, hostname: str) -> AddressAnswer:
    return await resolver.addresses(hostname)
