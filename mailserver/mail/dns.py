"""DNS answers as values. *No such name* and *cannot tell now* are different things and never mixed up."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

IpAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class MxRecord:
    """RFC 5321 5.1. `exchange` is lower case without trailing dot; empty for the root, as in a null MX (RFC 7505)."""

    preference: int
    exchange: str


@dataclass(frozen=True, slots=True)
class NoSuchName:
    """NXDOMAIN: final."""


@dataclass(frozen=True, slots=True)
class NoRecords:
    """The name exists and has no record of this type: final."""


@dataclass(frozen=True, slots=True)
class CannotTell:
    """SERVFAIL, REFUSED, silence, nonsense: temporary. `reason` for the log, such as `SERVFAIL` or `no answer`."""

    reason: str


MxAnswer = tuple[MxRecord, ...] | NoSuchName | NoRecords | CannotTell
AddressAnswer = tuple[IpAddress, ...] | NoSuchName | NoRecords | CannotTell
TextAnswer = tuple[str, ...] | NoSuchName | NoRecords | CannotTell
