"""From DNS answers to the hosts and addresses to try, in order (RFC 5321 5.1, RFC 7505). Pure: values in, value out.

Decisions:

- Only *no records* falls back to the domain's own addresses; *cannot tell* defers, *no such name* bounces.
- An MX that is ourselves, by name or by an address we listen on, goes together with every host of equal or numerically
  higher preference value: they would only hand the message back (RFC 5321 5.1). Nothing left is a bounce, 5.4.6.
  Which addresses are ours, `own_addresses` says. Fixed routes and the smarthost are exempt: the operator wrote them.
- An MX whose name is a CNAME is used as it is: the resolver follows it. RFC 5321 5.1 forbids it, the world does it.
- Addresses in loopback, private and other ranges that no MX of the internet can have are left out unless allowed:
  otherwise anybody could point a domain at the servers in our own network.
- All hosts are tried, as RFC 5321 5.1 wants it; what bounds an attempt is its time (`attempt`). The numbers here are
  far above what honest domains have. They keep a hostile one from making us ask and dial for ever, and any from hiding
  its second host behind a hundred addresses of the first.
"""

import ipaddress
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from mailserver.mail.dns import AddressAnswer, CannotTell, IpAddress, MxAnswer, NoRecords, NoSuchName
from mailserver.mail.outcome import Bounced, Deferred, Stage
from mailserver.mail.peer import IpNetwork
from mailserver.mail.route import AddressFamily

_NOT_ON_THE_INTERNET: tuple[IpNetwork, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "::/127",  # unspecified and loopback
        "64:ff9b:1::/48",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# No host has these, not even in a test lab.
_NO_HOST: tuple[IpNetwork, ...] = tuple(
    ipaddress.ip_network(text) for text in ("0.0.0.0/8", "224.0.0.0/3", "::/128", "ff00::/8")
)


@dataclass(frozen=True, slots=True)
class MxRules:
    """What bends a plan. `own_names` are canonical host names; `own_addresses` the exact addresses we listen on."""

    own_names: frozenset[str] = frozenset()
    own_addresses: frozenset[IpAddress] = frozenset()
    allow_private: bool = False
    family: AddressFamily = AddressFamily.AUTO
    is_ipv4_first: bool = False  # for `auto` (`families`): IPv6 is only for hosts that have nothing else
    max_hosts: int = 50
    max_addresses: int = 100
    max_addresses_of_a_host: int = 10


@dataclass(frozen=True, slots=True)
class MxHost:
    """A host to look up. `preference` as in the MX record; 0 for a domain without MX."""

    name: str
    preference: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """One address to dial. `address` None: the name is dialed, for a fixed host that DNS does not know."""

    host: str
    address: IpAddress | None

    def __str__(self) -> str:
        """`mx.example.net[192.0.2.1]`, as outcomes show it."""
        is_named = self.address is not None and self.host != str(self.address) and not self.host.startswith("[")
        return f"{self.host}[{self.address}]" if is_named else self.host


@dataclass(frozen=True, slots=True)
class MxPlan:
    """Targets in the order in which they are tried. `verdict` stands instead of an empty list.

    `is_authentic`: DNSSEC vouches for the hosts; `tlsa_names` as in `HostAnswer`, by host, for those it has some for.
    """

    targets: tuple[Target, ...] = ()
    verdict: Bounced | Deferred | None = None
    is_authentic: bool = False
    tlsa_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def hosts_for(
    domain: str, answer: MxAnswer, rng: random.Random, max_hosts: int
) -> tuple[MxHost, ...] | Bounced | Deferred:
    """The hosts of a domain in order of preference, those of equal preference shuffled (RFC 5321 5.1)."""
    if isinstance(answer, NoSuchName):
        return Bounced(f"the domain {domain} does not exist", Stage.DNS, "5.1.2")
    if isinstance(answer, CannotTell):
        return Deferred(f"DNS could not tell the mail hosts of {domain}: {answer.reason}", Stage.DNS)
    if isinstance(answer, NoRecords):
        return (MxHost(domain),)
    named = [record for record in answer if record.exchange]
    if not named:
        # RFC 7505 3, 4.2. A null MX beside others is a mistake, and the others are used.
        return Bounced(f"the domain {domain} does not take mail (null MX)", Stage.DNS, "5.1.10")
    lowest: dict[str, int] = {}
    for record in named:
        lowest[record.exchange] = min(record.preference, lowest.get(record.exchange, record.preference))
    hosts = [MxHost(name, preference) for name, preference in lowest.items()]
    rng.shuffle(hosts)
    hosts.sort(key=lambda host: host.preference)
    return tuple(hosts[:max_hosts])


def plan(
    domain: str, hosts: Iterable[MxHost], addresses: Mapping[str, AddressAnswer], rules: MxRules, rng: random.Random
) -> MxPlan:
    """The addresses of these hosts (from `hosts_for`) in order. `addresses` has an answer for each host name."""
    hosts = tuple(hosts)
    remaining = _without_ourselves(hosts, addresses, rules)
    if not remaining:
        reason = f"the best mail host of {domain} is this server, which has no mailboxes for it"
        return MxPlan(verdict=Bounced(reason, Stage.DNS, "5.4.6"))
    targets: list[Target] = []
    is_private = False
    for host in remaining:
        answer = addresses[host.name]
        if not isinstance(answer, tuple):
            continue
        usable = [address for address in answer if _is_usable(address, rules)]
        is_private = is_private or any(not is_allowed(address, rules) for address in answer)
        targets += [Target(host.name, address) for address in _in_order(usable, rules, rng)]
    if targets:
        return MxPlan(tuple(targets[: rules.max_addresses]))
    return MxPlan(verdict=_nothing(domain, remaining, addresses, rules, is_private=is_private))


def literal_plan(domain: str, rules: MxRules) -> MxPlan:
    """For `[192.0.2.1]` and `[IPv6:2001:db8::1]` as a domain (RFC 5321 4.1.3): that address, no DNS."""
    address = literal_address(domain)
    assert address is not None, "not an address literal"
    if _plain(address) in rules.own_addresses:
        reason = f"{domain} is this server, which has no mailboxes for it"
        return MxPlan(verdict=Bounced(reason, Stage.DNS, "5.4.6"))
    if not is_allowed(address, rules):
        return MxPlan(verdict=Bounced(f"mail to the private address {domain} is not sent", Stage.DNS, "5.4.4"))
    return MxPlan((Target(domain, address),))


def fixed_targets(host: str, answer: AddressAnswer, rules: MxRules, rng: random.Random) -> tuple[Target, ...]:
    """For a host that the operator wrote down: private addresses and our own are allowed. Never empty.

    A name that DNS does not know may still be known to the system (`localhost`, a container's name): it is dialed.
    """
    wide = replace(rules, allow_private=True)
    usable = [address for address in answer if _is_usable(address, wide)] if isinstance(answer, tuple) else []
    targets = tuple(Target(host, address) for address in _in_order(usable, rules, rng)[: rules.max_addresses])
    return targets or (Target(host, None),)


def own_addresses(
    listening: Iterable[tuple[IpAddress, int]], *, port: int, allow_private: bool
) -> frozenset[IpAddress]:
    """The addresses at which an MX host is ourselves, from where our SMTP listens (address, port).

    Exactly those, whatever the port, since port 25 may be forwarded to another one; never a whole network. A wildcard
    says nothing. A loopback address is nobody's in particular: in a test lab (`allow_private`) whose `port` is not the
    one we listen on, another server answers there, and it is not ourselves.
    """
    ours = set()
    for address, own_port in listening:
        is_lab_peer = address.is_loopback and allow_private and own_port != port
        if not address.is_unspecified and not is_lab_peer:
            ours.add(_plain(address))
    return frozenset(ours)


def parse_address(text: str) -> IpAddress | None:
    """An address written as itself; None for a name."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def literal_address(domain: str) -> IpAddress | None:
    """The address in a canonical address literal; None for a name."""
    if not domain.startswith("["):
        return None
    inner = domain[1:-1]
    return ipaddress.ip_address(inner[5:] if inner.startswith("IPv6:") else inner)


def _without_ourselves(
    hosts: tuple[MxHost, ...], addresses: Mapping[str, AddressAnswer], rules: MxRules
) -> tuple[MxHost, ...]:
    ours = [host.preference for host in hosts if _is_ourselves(host, addresses[host.name], rules)]
    if not ours:
        return hosts
    return tuple(host for host in hosts if host.preference < min(ours))


def _is_ourselves(host: MxHost, answer: AddressAnswer, rules: MxRules) -> bool:
    if host.name in rules.own_names:
        return True
    return isinstance(answer, tuple) and any(_plain(address) in rules.own_addresses for address in answer)


def _plain(address: IpAddress) -> IpAddress:
    """An IPv4-mapped address is the IPv4 address: the kernel connects to that."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_allowed(address: IpAddress, rules: MxRules) -> bool:
    """Whether a stranger's DNS may send us to this address."""
    forbidden = _NO_HOST if rules.allow_private else _NOT_ON_THE_INTERNET
    return not any(one in network for one in _reached(address) for network in forbidden)


def _reached(address: IpAddress) -> Iterator[IpAddress]:
    """The address, and the IPv4 address that a gateway would make of it (RFC 6052, RFC 3056)."""
    yield _plain(address)
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            yield ipaddress.IPv4Address(address.packed[-4:])
        if address.sixtofour is not None:
            yield address.sixtofour


def _is_usable(address: IpAddress, rules: MxRules) -> bool:
    wanted = {AddressFamily.IPV4: (4,), AddressFamily.IPV6: (6,), AddressFamily.AUTO: (4, 6)}[rules.family]
    return address.version in wanted and is_allowed(address, rules)


def _in_order(addresses: list[IpAddress], rules: MxRules, rng: random.Random) -> list[IpAddress]:
    """Shuffled (RFC 5321 5.1 spreads the load), the families by turns, so that one that is cut off costs little."""
    shuffled = list(dict.fromkeys(_plain(address) for address in addresses))
    rng.shuffle(shuffled)
    six = [address for address in shuffled if address.version == 6]
    four = [address for address in shuffled if address.version == 4]
    if rules.is_ipv4_first:
        return (four + six)[: rules.max_addresses_of_a_host]
    turns: list[IpAddress] = []
    while six or four:
        turns += [queue.pop(0) for queue in (six, four) if queue]
    return turns[: rules.max_addresses_of_a_host]


def _nothing(
    domain: str,
    hosts: tuple[MxHost, ...],
    addresses: Mapping[str, AddressAnswer],
    rules: MxRules,
    *,
    is_private: bool,
) -> Bounced | Deferred:
    """Why no target is left: temporary as long as any look-up could not tell."""
    unknown = [answer for host in hosts if isinstance(answer := addresses[host.name], CannotTell)]
    if unknown:
        reason = f"DNS could not tell the addresses of the mail hosts of {domain}: {unknown[0].reason}"
        return Deferred(reason, Stage.DNS)
    if is_private:
        reason = f"the mail hosts of {domain} have only private addresses, to which mail is not sent"
        return Bounced(reason, Stage.DNS, "5.4.4")
    if any(isinstance(addresses[host.name], tuple) for host in hosts):
        # Our own setting keeps us from reaching them; the domain is not to blame, and the operator may mend it.
        return Deferred(f"the mail hosts of {domain} have no {rules.family.value} address", Stage.DNS)
    if hosts[0].name == domain:
        return Bounced(f"the domain {domain} has no mail host and no address", Stage.DNS, "5.1.2")
    return Bounced(f"no mail host of {domain} has an address", Stage.DNS, "5.4.4")
