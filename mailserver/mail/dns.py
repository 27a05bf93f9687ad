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


@dataclass(frozen=True, slots=True)
class TlsaRecord:
    """RFC 6698 2.1: what a host's certificate must agree with. The numbers are as they came, known or not."""

    usage: int
    selector: int
    matching: int
    association: bytes

    def __str__(self) -> str:
        """As in a zone file; the association is cut, for people."""
        return f"{self.usage} {self.selector} {self.matching} {self.association.hex()[:16]}..."


MxAnswer = tuple[MxRecord, ...] | NoSuchName | NoRecords | CannotTell
AddressAnswer = tuple[IpAddress, ...] | NoSuchName | NoRecords | CannotTell
TextAnswer = tuple[str, ...] | NoSuchName | NoRecords | CannotTell
TlsaAnswer = tuple[TlsaRecord, ...] | NoSuchName | NoRecords | CannotTell


@dataclass(frozen=True, slots=True)
class SignedMx:
    """An answer, and whether a validating resolver on this machine vouches for it (DNSSEC)."""

    answer: MxAnswer
    is_authentic: bool = False


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """A host's addresses, and at which names its TLSA records stand, in order (RFC 7672 2.2.2).

    `tlsa_names` is empty where the addresses are not authentic: there is nothing to look for then.
    """

    answer: AddressAnswer
    tlsa_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundRecords:
    """Records of any type: their data as a zone file has it (RFC 1035 5.1), names with their final dot.

    `name` is where CNAMEs led. `is_authentic`: a validating resolver on this machine vouches for all of it (DNSSEC).
    """

    answer: TextAnswer
    name: str = ""
    is_authentic: bool = False
