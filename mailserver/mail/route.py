"""Where a message goes next: to a domain's own mail hosts, to a fixed host, or to the smarthost.

A route is chosen per recipient domain before any look-up; recipients with equal routes may share a transaction. Routes
are frozen and hashable, so they are also the keys under which connections are kept and destinations counted.
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class SmarthostTls(Enum):
    """How the way to the smarthost is protected (RFC 8314); all but NONE verify chain and name."""

    STARTTLS = "starttls"
    TLS = "tls"  # from the first octet
    NONE = "none"  # then AUTH only to a loopback host


class AddressFamily(Enum):
    """Which addresses of a next hop are tried."""

    AUTO = "auto"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


@dataclass(frozen=True, slots=True)
class Login:
    """What we say with AUTH. The password is kept out of `repr`, and so out of every log and traceback."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MxRoute:
    """The hosts that DNS names for `domain` (RFC 5321 5.1); a canonical domain or an address literal."""

    domain: str

    def __str__(self) -> str:
        """The destination's name for logs and counts."""
        return self.domain


@dataclass(frozen=True, slots=True)
class FixedRoute:
    """One host and port that the operator wrote down for some domain. No MX look-up, private addresses allowed."""

    host: str
    port: int

    def __str__(self) -> str:
        """The destination's name for logs and counts."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SmarthostRoute:
    """The configured next hop for everything that has no other route. No MX look-up, private addresses allowed."""

    host: str
    port: int
    tls: SmarthostTls = SmarthostTls.STARTTLS
    login: Login | None = None
    ca_file: Path | None = None

    def __str__(self) -> str:
        """The destination's name for logs and counts."""
        return f"{self.host}:{self.port}"


Route = MxRoute | FixedRoute | SmarthostRoute
