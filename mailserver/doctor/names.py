"""How the world sees this machine: host name, reverse names, block lists, port 25, resolver, clock.

Pure: a `Survey` and the configuration in, findings out.
"""

from collections.abc import Iterator

from mailserver.config import Config, Dane
from mailserver.doctor.check import Check, failed, passed, skipped, unknown, warned
from mailserver.mail.route import AddressFamily
from mailserver.survey.lists import list_named
from mailserver.survey.values import Behind, Port25, PublicAddress, Survey, Time

_NO_ADDRESS = "say it in doctor.addresses, or ask a page for it with doctor.address_url"


def check_hostname(config: Config, survey: Survey) -> Iterator[Check]:
    """DNS leads from the host name to this machine, and only there."""
    name, host = "hostname", config.hostname
    if survey.hostname_trouble:
        if survey.hostname_trouble.startswith("DNS could not tell"):
            yield unknown(name, survey.hostname_trouble, "see the check resolver")
        else:
            addresses = " and ".join(str(one.address) for one in survey.addresses) or "this machine's address"
            yield failed(name, survey.hostname_trouble, f"publish an address record: {host} -> {addresses}")
        return
    said = survey.hostname_addresses
    shown = ", ".join(map(str, said))
    ours = {one.address for one in survey.addresses}
    if not survey.addresses:
        yield unknown(name, f"{host} is {shown}; whether that is this machine cannot be told from here", _NO_ADDRESS)
        return
    if survey.behind is not Behind.NOTHING and not survey.is_told_outside:
        # The public IPv4 address is itself taken from DNS then.
        others = [one for one in said if one.version == 6 and one not in ours]
        if not others:
            yield unknown(
                name, f"{host} is {shown}; whether that is this network cannot be told from here", _NO_ADDRESS
            )
            return
    strange = [one for one in said if one not in ours and any(known.version == one.version for known in ours)]
    lost = [one for one in said if one not in ours and one not in strange]
    if len(strange) + len(lost) == len(said):
        yield failed(
            name,
            f"{host} leads to {shown}, and this machine is {', '.join(map(str, sorted(ours, key=str)))}",
            f"change the address records of {host}",
        )
    elif strange or lost:
        bad = ", ".join(map(str, (*strange, *lost)))
        yield failed(name, f"{host} leads to {bad} too, which is not this machine", f"remove {bad} from {host} in DNS")
    else:
        yield passed(name, f"{host} leads here: {shown}")


def check_names(config: Config, survey: Survey) -> Iterator[Check]:
    """Each address that mail comes from has a reverse name that leads back to it; large receivers insist."""
    name = "names"
    if not survey.addresses:
        yield unknown(name, "this machine's public address is not known", _NO_ADDRESS)
        return
    for one in survey.addresses:
        yield _reverse_name(config, one)


def _reverse_name(config: Config, one: PublicAddress) -> Check:
    name, address, host = "names", one.address, config.hostname
    about = str(address)
    family = f"IPv{address.version}"
    ask = f"ask who gives you the address to let it point to {host}"
    if one.reverse_trouble:
        what = f"whether {one.reverse_names[0]} leads back" if one.reverse_names else "its reverse name"
        return unknown(name, f"{address}: {what} could not be looked up: {one.reverse_trouble}", about=about)
    said = config.relay.helo or host
    if one.matches_hostname or (one.is_confirmed and said.lower() in map(str.lower, one.reverse_names)):
        return passed(name, f"{address} and {host if one.matches_hostname else said} lead to each other", about)
    shown = ", ".join(one.reverse_names)
    if one.is_confirmed:
        return warned(
            name,
            f"{address} is called {shown}, which leads back to it, but not {host}",
            f"{ask}, or set relay.helo",
            about,
        )
    is_unused = _is_unused(config, address.version)
    if is_unused:
        what = f"has no reverse name that leads back to it, and nothing is sent by {family}"
        return passed(name, f"{address} {what}", about)
    other = 'or set relay.address_family = "ipv4"' if address.version == 6 else "or send through a smarthost"
    if one.reverse_names:
        found = f"{address} is called {shown}, and that name does not lead back to it"
    else:
        found = f"{address} has no reverse name; many receivers refuse mail from it"
    return failed(name, found, f"{ask}, {other}", about)


def _is_unused(config: Config, version: int) -> bool:
    """Whether no mail leaves by this family, so that nobody looks its names up."""
    only = {AddressFamily.IPV4: 4, AddressFamily.IPV6: 6}.get(config.relay.address_family, version)
    return only != version or goes_by_smarthost(config)


def goes_by_smarthost(config: Config) -> bool:
    """Whether all mail for others leaves through somebody else's server."""
    relay = config.relay
    return relay.smarthost is not None and not relay.smarthost_domains and not relay.smarthost_after


def check_lists(config: Config, survey: Survey) -> Iterator[Check]:
    """No address is on a list of senders of spam, nor on one of home connections."""
    name = "lists"
    if not config.doctor.lists:
        yield skipped(name, "doctor.lists is empty")
        return
    if not survey.addresses:
        yield unknown(name, "this machine's public address is not known", _NO_ADDRESS)
        return
    by_smarthost = goes_by_smarthost(config)
    for one in survey.addresses:
        about = str(one.address)
        for zone in one.listed_on:
            where = list_named(zone).explained_at
            remedy = f"find out why{f' at {where}' if where else ''}, end it, then ask to be taken off"
            tell = warned if by_smarthost else failed
            yield tell(name, f"{one.address} is on the block list {zone}", remedy, f"{about} {zone}")
        if one.residential_on:
            zones = ", ".join(one.residential_on)
            found = f"{one.address} is on a list of home connections ({zones})"
            if by_smarthost:
                yield passed(name, f"{found}, which does not matter behind a smarthost", about)
            else:
                remedy = "send through a smarthost (relay.smarthost), or ask your provider for an address for servers"
                yield failed(name, found, remedy, about)
        elif one.unanswered_lists:
            remedy = "block lists do not answer public resolvers: run a resolver on this machine"
            is_deaf = len(one.unanswered_lists) == len(config.doctor.lists)
            some = f"{', '.join(one.unanswered_lists)} did not answer{'' if one.listed_on else '; no other has it'}"
            found = "no list could be asked" if is_deaf else some
            yield unknown(name, f"{one.address}: {found}", remedy, about)
        elif not one.listed_on:
            yield passed(name, f"{one.address} is on no list", about)


def check_port25(config: Config, survey: Survey) -> Iterator[Check]:
    """Other servers can be reached on port 25."""
    name = "port25"
    if goes_by_smarthost(config):
        yield skipped(name, "all mail leaves through the smarthost")
        return
    out = survey.outward
    words = "; ".join(out.words[:2])
    smarthost = "send through a smarthost (relay.smarthost)"
    if out.port25 is Port25.UNKNOWN:
        yield unknown(name, words or "nobody was tried")
    elif out.port25 is Port25.BLOCKED:
        yield failed(
            name, f"nobody can be reached on port 25: {words}", f"ask your provider to open it, or {smarthost}"
        )
    elif out.ipv6 is Port25.BLOCKED and out.ipv4 is Port25.OPEN and not _is_unused(config, 6):
        yield warned(name, "port 25 is open by IPv4 and blocked by IPv6", 'set relay.address_family = "ipv4"')
    elif out.ipv4 is Port25.BLOCKED and not _is_unused(config, 4):
        yield warned(
            name, "port 25 is open by IPv6 and blocked by IPv4", f"ask your provider to open it, or {smarthost}"
        )
    else:
        yield passed(name, f"port 25 is open to the outside: {words}")


def check_resolver(config: Config, survey: Survey, answers: bool | None) -> Iterator[Check]:
    """Name servers answer, and one on this machine validates. `answers`: whether a look-up for a known name did."""
    name = "resolver"
    asked = ", ".join(f"{host}" for host, _ in config.dns.servers) or "the system's name servers"
    if not answers:
        yield failed(name, f"{asked}: no answer", "see to dns.servers and /etc/resolv.conf: without DNS no mail leaves")
        return
    found = survey.validating_resolver
    if found is not None:
        is_used = not config.dns.servers or found in config.dns.servers
        if is_used or config.relay.dane is Dane.OFF:
            yield passed(name, f"name servers answer, and {found[0]} validates (DNSSEC)")
        else:
            yield warned(
                name,
                f"{found[0]} validates (DNSSEC), and dns.servers names others",
                f'set dns.servers = ["{found[0]}"] so that DANE protects outgoing mail',
            )
    elif config.relay.dane is Dane.OFF:
        yield passed(name, "name servers answer; none validates, and relay.dane is off")
    else:
        yield warned(
            name,
            "name servers answer; none on this machine validates (DNSSEC), so DANE protects no mail",
            "install a validating resolver here, such as unbound, and let /etc/resolv.conf name 127.0.0.1",
        )


def check_clock(time: Time) -> Iterator[Check]:
    """The clock is right and stays so."""
    name = "clock"
    remedy = "let a time service keep it: apt-get install systemd-timesyncd, or chrony"
    if time.is_right is False:
        yield failed(name, time.words, remedy)
    elif time.is_kept is False:
        yield warned(name, f"{time.words}; it will be wrong some day" if time.is_right else time.words, remedy)
    elif time.is_right is None:
        yield unknown(name, time.words, "name a page to compare with in doctor.clock_url")
    else:
        yield passed(name, time.words)
