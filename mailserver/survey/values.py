"""What a survey of the machine wants to know and finds out, as values.

Nothing here asks anybody. `look.look` fills a `Survey` in; `setup` chooses a configuration by it, `doctor` says what is
wrong with it.
"""

from dataclasses import dataclass, field
from enum import Enum

from mailserver.mail.dns import IpAddress

NameServer = tuple[str, int]


class Behind(Enum):
    """What stands between this machine's IPv4 and the world."""

    NOTHING = "nothing"  # a public address is on one of its interfaces, or it has no IPv4 at all
    NAT = "nat"
    CARRIER_NAT = "carrier-nat"  # 100.64.0.0/10 (RFC 6598): nobody outside can reach it


class Port25(Enum):
    """Whether connections to port 25 of others come about."""

    OPEN = "open"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"  # not tried, or nobody could be looked up


@dataclass(frozen=True, slots=True)
class Outward:
    """What came of trying port 25, per family. `words` is a line for each host tried, such as `mx.example.net[...]:
    no connection within 10 s`."""

    ipv4: Port25 = Port25.UNKNOWN
    ipv6: Port25 = Port25.UNKNOWN
    words: tuple[str, ...] = ()

    @property
    def port25(self) -> Port25:
        """Both families together: open when one of them is."""
        found = (self.ipv4, self.ipv6)
        return next((one for one in (Port25.OPEN, Port25.BLOCKED) if one in found), Port25.UNKNOWN)


class Marks(Enum):
    """What it means to stand on a list."""

    ABUSE = "abuse"  # spam came from there, or the machine is infected: ask to be taken off
    RESIDENTIAL = "residential"  # a range of home connections from which large receivers take no mail: use a smarthost


@dataclass(frozen=True, slots=True)
class BlockList:
    """A DNS list (RFC 5782). `marks` says what an answer means; `special` what certain answers mean instead.

    `explained_at` is where somebody reads why an address is there.
    """

    zone: str
    marks: Marks = Marks.ABUSE
    special: tuple[tuple[str, Marks], ...] = ()
    explained_at: str = ""


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """One address at which the world reaches this machine, or sees it come from.

    `reverse_names` are its PTR names; `reverse_trouble` says why these, or where they lead, could not be looked up.
    `is_confirmed`: one of these names leads back to the address (forward-confirmed reverse DNS). `matches_hostname`:
    the configured host name is one of the confirmed names. `listed_on` are zones that list it for abuse,
    `residential_on` those that say that it is a home connection, `unanswered_lists` those that could not be asked.
    """

    address: IpAddress
    is_on_this_machine: bool
    reverse_names: tuple[str, ...] = ()
    is_confirmed: bool = False
    matches_hostname: bool = False
    listed_on: tuple[str, ...] = ()
    residential_on: tuple[str, ...] = ()
    unanswered_lists: tuple[str, ...] = ()
    reverse_trouble: str = ""


@dataclass(frozen=True, slots=True)
class TakenPort:
    """A TCP port somebody else listens on. `by` is the program (`exim4 (process 812)`), empty when that is hidden."""

    port: int
    by: str = ""


@dataclass(frozen=True, slots=True)
class Time:
    """How the clock stands. `is_right` None: nobody could say. `words` is the finding, for people.

    `is_kept`: whether a time service keeps it right; None: the kernel does not say. `ahead_s`: by how much it is ahead
    of the host that was asked (negative: behind); None: nobody was.
    """

    is_right: bool | None
    words: str
    is_kept: bool | None = None
    ahead_s: float | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to look for.

    `addresses`: the public addresses, where the operator says them; they go before everything that is found. `sources`:
    where mail is configured to come from, by family; else the kernel chooses. `ask_url`: who is asked for the outside
    address behind NAT, by a GET that answers with nothing but the address; empty: nobody. `port25_domains`: whose MX
    hosts are tried on port 25; empty: none. `name_servers`: which are asked whether they validate, in this order, by
    the SOA record of `signed_name`. `clock_url`: whose HTTP Date the clock is compared with; empty: nobody's.
    """

    hostname: str
    addresses: tuple[IpAddress, ...] = ()
    sources: tuple[IpAddress, ...] = ()
    ask_url: str = ""
    ports: tuple[int, ...] = ()
    lists: tuple[BlockList, ...] = ()
    port25_domains: tuple[str, ...] = ()
    port25: int = 25
    name_servers: tuple[NameServer, ...] = ()
    signed_name: str = "org"
    clock_url: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found. `addresses` are the public ones, IPv4 first; `private` the machine's others but loopback.

    `hostname_addresses` is what DNS says the host name is; `hostname_trouble` why it could not say (empty: it
    answered). `validating_resolver` is the first that checks DNSSEC. `is_told_outside`: an outside address was told by
    the operator or by `ask_url`, not seen on an interface. `notes` are things that could not be found out, a line each.
    """

    addresses: tuple[PublicAddress, ...]
    private: tuple[IpAddress, ...]
    behind: Behind
    hostname_addresses: tuple[IpAddress, ...]
    hostname_trouble: str
    validating_resolver: NameServer | None
    outward: Outward
    taken: tuple[TakenPort, ...]
    time: Time
    is_told_outside: bool = False
    notes: tuple[str, ...] = field(default=())

    def address(self, version: int) -> PublicAddress | None:
        """The first public address of a family, 4 or 6."""
        return next((one for one in self.addresses if one.address.version == version), None)
