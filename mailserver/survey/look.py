"""The survey itself: asks everything at once and puts a `Survey` together.

Nobody outside is asked but name servers, unless the wishes say so: no helper that tells our address, no host whose
port 25 is tried, no host whose clock is compared. Every part has its own time; what is not answered by then is *not
known*, and never wrong.
"""

import ipaddress
from collections.abc import Iterable

from twisted.internet.defer import Deferred

from mailserver.mail.dns import AddressAnswer, CannotTell, IpAddress, NoRecords, NoSuchName
from mailserver.survey.address import describe
from mailserver.survey.doors import Machine, SurveyDoors, WebTrouble
from mailserver.survey.outward import try_port25
from mailserver.survey.time import look_at_clock
from mailserver.survey.values import Behind, NameServer, Outward, Survey, Time, Wishes
from mailserver.survey.waiting import together, within

CARRIER = ipaddress.ip_network("100.64.0.0/10")
# For what asks name servers only, for one page, and for the hosts whose port 25 is tried.
DNS_S = 20.0
WEB_S = 15.0
PORT25_S = 45.0
MAX_ADDRESSES = 8


async def look(doors: SurveyDoors, wishes: Wishes) -> Survey:
    """Find out. Ends within about a minute, mostly in a few seconds; never raises for what a network does."""
    clock, machine = doors.clock, doors.machine
    sources = tuple(_sources(machine, wishes))
    # An IPv6 address for a day is no steady one, and yet mail may come from it.
    own = tuple(dict.fromkeys((*machine.interface_addresses(), *sources)))
    late = Time(None, "nobody could say how late it is in time")
    not_done = Outward(words=("port 25 was not tried to the end in time",))
    families = frozenset(one.version for one in sources) or frozenset((4,))

    naming = Deferred.fromCoroutine(
        within(clock, DNS_S, _host(doors, wishes.hostname), CannotTell("no answer in time"))
    )
    asking = Deferred.fromCoroutine(within(clock, WEB_S, _outside(doors, wishes.ask_url), "no answer in time"))
    validating = Deferred.fromCoroutine(within(clock, DNS_S, _validating(doors, wishes), None))
    sending = Deferred.fromCoroutine(within(clock, PORT25_S, try_port25(doors, wishes, families), not_done))
    timing = Deferred.fromCoroutine(within(clock, WEB_S, look_at_clock(doors, wishes.clock_url), late))

    said = await naming
    named = said if isinstance(said, tuple) else ()
    told = await asking
    outside = None if isinstance(told, str) else told
    behind = behind_what(own, sources)
    public = public_addresses(wishes.addresses, own, sources, named, outside)
    described = together(describe(doors, one, one in own, wishes) for one in public)
    return Survey(
        addresses=tuple(await described),
        private=tuple(one for one in own if not one.is_global and not one.is_loopback and not one.is_link_local),
        behind=behind,
        hostname_addresses=named,
        hostname_trouble=_trouble(wishes.hostname, said),
        validating_resolver=await validating,
        outward=await sending,
        taken=machine.taken_ports(wishes.ports) if wishes.ports else (),
        time=await timing,
        is_told_outside=bool(wishes.addresses) or outside is not None,
        notes=tuple(_notes(wishes, behind, public, told, outside)),
    )


def behind_what(own: Iterable[IpAddress], sources: Iterable[IpAddress]) -> Behind:
    """What stands before our IPv4. Where the kernel would send from says more than what else is on an interface."""
    of_ours = [one for one in own if one.version == 4 and not one.is_loopback and not one.is_link_local]
    used = [one for one in sources if one.version == 4] or of_ours
    if not used or any(one.is_global for one in used):
        return Behind.NOTHING
    if any(one in CARRIER for one in used):
        return Behind.CARRIER_NAT
    # Some have the public address on another interface than the one with the default route.
    return Behind.NOTHING if any(one.is_global for one in of_ours) else Behind.NAT


def public_addresses(
    told: Iterable[IpAddress],
    own: Iterable[IpAddress],
    sources: Iterable[IpAddress],
    named: Iterable[IpAddress],
    outside: IpAddress | None,
) -> tuple[IpAddress, ...]:
    """The addresses that others reach us at or see us come from, IPv4 first.

    What the operator told is all there is of its family. Else: where the kernel sends from, and what DNS says of the
    host name if it is here; a machine has many more IPv6 addresses, most for a day. If that is nothing, all that is
    here. Behind NAT it is what a helper told, else what DNS says of the host name.
    """
    own_list, sources_list, named_list, found = list(own), list(sources), list(named), list(told)
    for version in (4, 6):
        if any(one.version == version for one in found):
            continue
        here = [one for one in own_list if one.version == version and one.is_global]
        used = [one for one in sources_list if one.version == version and one.is_global]
        wanted = [*used, *(one for one in named_list if one in here)]
        family = wanted or here
        if not family and outside is not None and outside.version == version:
            family = [outside]
        elif not family and version == 4:
            family = [one for one in named_list if one.version == 4 and one.is_global]
        found += family
    return tuple(sorted(dict.fromkeys(found), key=lambda one: one.version))[:MAX_ADDRESSES]


def _sources(machine: Machine, wishes: Wishes) -> Iterable[IpAddress]:
    """Where mail comes from, per family."""
    for version in (4, 6):
        configured = next((one for one in wishes.sources if one.version == version), None)
        source = configured or machine.source_address(version)
        if source is not None:
            yield source


async def _host(doors: SurveyDoors, hostname: str) -> AddressAnswer:
    return await doors.resolver.addresses(hostname)


async def _outside(doors: SurveyDoors, url: str) -> IpAddress | str:
    """What a helper says our address is, or why it did not say; empty when nobody is to be asked."""
    if not url:
        return ""
    try:
        page = await doors.web.get(url)
    except WebTrouble as trouble:
        return str(trouble)
    try:
        return ipaddress.ip_address(page.text.strip())
    except ValueError:
        return "it answered with something that is no address"


async def _validating(doors: SurveyDoors, wishes: Wishes) -> NameServer | None:
    """All are asked at once, and nobody waits for those behind the first that does."""
    servers = wishes.name_servers
    asked = [Deferred.fromCoroutine(_does_validate(doors, one, wishes.signed_name)) for one in servers]
    found = None
    for server, answer in zip(servers, asked, strict=True):
        if found is None and await answer:
            found = server
        elif found is not None:
            # What was given up is no trouble.
            answer.addErrback(lambda _: None)
            answer.cancel()
    return found


async def _does_validate(doors: SurveyDoors, server: NameServer, signed_name: str) -> bool:
    return await doors.validates(server, signed_name)


def _trouble(hostname: str, said: AddressAnswer) -> str:
    match said:
        case CannotTell(reason):
            return f"DNS could not tell the addresses of {hostname}: {reason}"
        case NoSuchName():
            return f"DNS does not know {hostname}"
        case NoRecords():
            return f"DNS knows no address of {hostname}"
        case _:
            return ""


def _notes(
    wishes: Wishes,
    behind: Behind,
    public: tuple[IpAddress, ...],
    told: IpAddress | str,
    outside: IpAddress | None,
) -> Iterable[str]:
    if wishes.ask_url and outside is None:
        yield f"{wishes.ask_url} did not tell the address that the world sees: {told}"
    if wishes.addresses or outside is not None or behind is Behind.NOTHING:
        return
    ipv4 = [str(one) for one in public if one.version == 4]
    if ipv4:
        yield f"{' and '.join(ipv4)} is what DNS says; whether the world sees us there cannot be told from here"
    else:
        yield "the IPv4 address that the world sees cannot be told from here"
