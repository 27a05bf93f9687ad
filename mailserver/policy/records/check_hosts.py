"""Checks of records that lead to hosts: MX, A, AAAA, PTR, SRV, and the names under which we answer over HTTP(S)."""

import ipaddress
from collections.abc import Iterable
from dataclasses import replace

from mailserver.mail.dns import CannotTell, IpAddress, MxRecord
from mailserver.policy.records.findings import Finding
from mailserver.policy.records.look import Look, missing, right, unknown, wrong
from mailserver.policy.records.values import TTL_S, Record, Topic

# How many hosts of a stranger's answer are looked up.
MAX_HOSTS = 10
# In a zone file a name without its final dot gets the zone's name behind it.
_DOT = "; the dot behind the name is missing, so the domain was put there once more"


async def check_mx(record: Record, look: Look) -> Finding:
    """RFC 5321 5.1: one of the hosts must be this server, by whatever name and preference. Others are told."""
    answer = await look.resolver.mx(record.name)
    if isinstance(answer, CannotTell):
        return unknown(record, answer)
    if not isinstance(answer, tuple):
        return missing(record, answer)
    found = [f"{one.preference} {one.exchange}." for one in answer]
    hosts = sorted(answer, key=lambda one: one.preference)[:MAX_HOSTS]
    if all(not one.exchange for one in hosts):
        return wrong(record, found, f"a null MX says that {record.name} takes no mail at all (RFC 7505)")
    if any(not one.exchange for one in hosts):
        return wrong(record, found, "a null MX (.) stands beside others, and then some deliver nothing (RFC 7505 3)")
    here: list[MxRecord] = []
    trouble: CannotTell | None = None
    for one in hosts:
        leads = await look.leads_here(one.exchange) if one.exchange else False
        if isinstance(leads, CannotTell):
            trouble = trouble or leads
        elif leads:
            here.append(one)
    if not here and trouble is not None:
        return unknown(record, trouble)
    if not here:
        reason = f"mail for {record.name} goes to {_names(hosts)}, and not to this server"
        dotless = any(one.exchange.startswith(f"{look.site.hostname}.") for one in hosts)
        return wrong(record, found, f"{reason}{_DOT if dotless else ''}")
    alias = await _alias(here[0], look)
    if alias:
        return wrong(record, found, f"{here[0].exchange} is an alias (CNAME) of {alias}, and an MX must not name one")
    return right(record, found, _others(record.name, hosts, here))


async def _alias(host: MxRecord, look: Look) -> str:
    """RFC 2181 10.3. That our own host name is one is told with its address."""
    if host.exchange == look.site.hostname:
        return ""
    found = await look.resolver.records(host.exchange, "CNAME")
    return found.answer[0].rstrip(".") if isinstance(found.answer, tuple) else ""


def _others(domain: str, hosts: Iterable[MxRecord], here: list[MxRecord]) -> str:
    """Hosts that are not this server: a second one that holds mail, or an old one that was forgotten."""
    best = min(one.preference for one in here)
    others = [one for one in hosts if one not in here and one.exchange]
    if not others:
        return ""
    before = [one for one in others if one.preference <= best]
    if before:
        return f"mail for {domain} also goes to {_names(before)}, which others try first or as often as this server"
    return f"when this server cannot be reached, mail for {domain} goes to {_names(others)}"


def _names(hosts: Iterable[MxRecord]) -> str:
    return ", ".join(one.exchange or "nobody" for one in hosts)


async def check_address(record: Record, look: Look) -> Finding:
    """RFC 5321 5.1: the host name has this address; others beside it are told, for mail may go there."""
    address = ipaddress.ip_address(record.value)
    is_ipv4 = address.version == 4
    answer = await look.resolver.addresses(record.name, ipv4=is_ipv4, ipv6=not is_ipv4)
    if isinstance(answer, CannotTell):
        return unknown(record, answer)
    alias = await look.resolver.records(record.name, "CNAME")
    if isinstance(alias.answer, tuple):
        target = alias.answer[0].rstrip(".")
        reason = (
            f"{record.name} is an alias (CNAME) of {target}, and an MX must not name one: replace it by its address"
        )
        return wrong(record, [f"CNAME {alias.answer[0]}"], reason)
    if not isinstance(answer, tuple):
        return missing(record, answer)
    found = [str(one) for one in answer]
    strange = [str(one) for one in answer if one not in look.site.addresses]
    if address not in answer:
        return wrong(record, found, f"{record.name} leads to {', '.join(found)}, and not to {address}")
    if strange:
        return right(record, found, f"{record.name} also leads to {', '.join(strange)}, which is not known to be here")
    return right(record, found, await _other_family(record, address, look))


async def _other_family(record: Record, address: IpAddress, look: Look) -> str:
    """An AAAA record that was forgotten makes every sender with IPv6 wait."""
    wanted = {one.version for one in look.site.addresses}
    if len(wanted) > 1 or address != look.site.addresses[0]:
        return ""
    is_ipv4 = address.version == 4
    other = await look.resolver.addresses(record.name, ipv4=not is_ipv4, ipv6=is_ipv4)
    if not isinstance(other, tuple):
        return ""
    told = ", ".join(map(str, other))
    return f"{record.name} also leads to {told}, which is not known to be here: remove that if it is not"


async def check_reverse(record: Record, look: Look) -> Finding:
    """The address has a name that leads back to it; receivers want no more, and the server's own name is best."""
    address = _address_of(record.name)
    answer = await look.resolver.pointer(address)
    if isinstance(answer, CannotTell):
        return unknown(record, answer)
    if not isinstance(answer, tuple):
        return missing(record, answer)
    found = [f"{name}." for name in answer]
    names = list(answer[:MAX_HOSTS])
    if look.site.said_name in names:
        names.insert(0, look.site.said_name)
    trouble: CannotTell | None = None
    for name in names:
        back = await look.resolver.addresses(name, ipv4=address.version == 4, ipv6=address.version == 6)
        if isinstance(back, CannotTell):
            trouble = trouble or back
        elif isinstance(back, tuple) and address in back:
            is_ours = name == look.site.said_name
            note = "" if is_ours else f"its name is {name}; some receivers prefer {look.site.said_name}, the EHLO name"
            return right(record, found, note)
    if trouble is not None:
        return unknown(record, trouble)
    if look.site.said_name in names:
        reason = (
            f"{address} has the name {look.site.said_name}, but DNS does not say that this has the address {address}"
        )
        kind = "A" if address.version == 4 else "AAAA"
        forward = f"{look.site.said_name}. {TTL_S} IN {kind} {address}"
        return replace(wrong(record, found, reason), publish=forward)
    reason = f"{address} has the name {', '.join(answer[:3])}, which does not lead back to {address}"
    dotless = any(name.startswith(f"{look.site.said_name}.") for name in answer)
    return wrong(record, found, f"{reason}{_DOT if dotless else ''}")


def _address_of(pointer: str) -> IpAddress:
    """The address of a name below in-addr.arpa or ip6.arpa that `records_for` made."""
    labels = pointer.split(".")[:-2][::-1]
    if pointer.endswith("in-addr.arpa"):
        return ipaddress.ip_address(".".join(labels))
    digits = "".join(labels)
    return ipaddress.ip_address(":".join(digits[start : start + 4] for start in range(0, 32, 4)))


async def check_service(record: Record, look: Look) -> Finding:
    """RFC 6186 3: the service at our port of a name that leads here; or that there is none."""
    asked = await look.resolver.records(record.name, "SRV")
    if isinstance(asked.answer, CannotTell):
        return unknown(record, asked.answer)
    if not isinstance(asked.answer, tuple):
        return missing(record, asked.answer)
    found = asked.answer
    targets = [_port_and_target(one) for one in found[:MAX_HOSTS]]
    if record.topic is Topic.NO_SERVICE:
        told = [target for _, target in targets if target]
        reason = f"mail programs look for IMAP at {', '.join(told)}"
        return wrong(record, found, reason, is_harmful=True) if told else right(record, found)
    port, _ = _port_and_target(record.value)
    trouble: CannotTell | None = None
    for there, target in targets:
        leads = await look.leads_here(target) if target else False
        if isinstance(leads, CannotTell):
            trouble = trouble or leads
        elif leads and there == port:
            return right(record, found)
    if trouble is not None:
        return unknown(record, trouble)
    if all(not target for _, target in targets):
        return wrong(record, found, "it says that there is no such service", is_harmful=True)
    where = ", ".join(f"{target}, port {there}" for there, target in targets)
    return wrong(record, found, f"mail programs are sent to {where}", is_harmful=True)


def _port_and_target(value: str) -> tuple[str, str]:
    """Of SRV data in zone-file form; the target is empty for the root."""
    words = value.split()
    return (words[2], words[3].rstrip(".").lower()) if len(words) == 4 else ("", "")


async def check_web_host(record: Record, look: Look) -> Finding:
    """A name that must lead here, by CNAME or by address."""
    asked = await look.resolver.records(record.name, "A")
    answer = await look.resolver.addresses(record.name)
    if isinstance(answer, CannotTell):
        return unknown(record, answer)
    if not isinstance(answer, tuple):
        is_dangling = bool(asked.name) and asked.name != record.name
        if is_dangling:
            return wrong(record, [f"{asked.name}."], f"{record.name} is an alias of {asked.name}, which has no address")
        return missing(record, answer)
    ours = await look.ours()
    if isinstance(ours, CannotTell):
        return unknown(record, ours)
    found = [str(one) for one in answer]
    if ours.isdisjoint(answer):
        return wrong(record, found, f"{record.name} leads to {', '.join(found)}, and not to this server")
    strange = [str(one) for one in answer if one not in ours]
    return right(record, found, f"{record.name} also leads to {', '.join(strange)}" if strange else "")
