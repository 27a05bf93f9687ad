"""Who is at the other end of a connection."""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from mailserver.mail.dns import IpAddress

IpNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Peer:
    """Address and port of a client. `address` None is a peer without one (a Unix socket): it counts as this machine.

    IPv4-mapped addresses (`::ffff:192.0.2.1`) have become IPv4 already, see `peer_from`. `is_proxied` tells that the
    address was given by a PROXY header, so that it never counts as loopback.
    """

    address: IpAddress | None
    port: int = 0
    is_proxied: bool = False

    def __str__(self) -> str:
        """`192.0.2.1:4711` or `[2001:db8::1]:4711`; the log puts brackets around it."""
        if self.address is None:
            return "local"
        text = _text(self.address.version, int(self.address))
        return f"{text}:{self.port}" if self.address.version == 4 else f"[{text}]:{self.port}"

    @property
    def host(self) -> str:
        """The address alone, for people."""
        return "local" if self.address is None else _text(self.address.version, int(self.address))

    @property
    def literal(self) -> str:
        """The address as RFC 5321 4.1.3 writes it, for Received."""
        if self.address is None:
            return "[127.0.0.1]"
        text = _text(self.address.version, int(self.address))
        return f"[{text}]" if self.address.version == 4 else f"[IPv6:{text}]"

    @property
    def is_loopback(self) -> bool:
        """127.0.0.0/8, ::1 or a Unix socket, and not through a proxy."""
        return not self.is_proxied and (self.address is None or self.address.is_loopback)

    @property
    def client(self) -> str:
        """The key under which limits count this client: the IPv4 address, or the IPv6 /64 (design section 6)."""
        if self.address is None:
            return "local"
        if self.address.version == 4:
            return _text(4, int(self.address))
        return str(ipaddress.ip_network((self.address, 64), strict=False))

    def is_in(self, networks: tuple[IpNetwork, ...]) -> bool:
        """Whether the address lies in one of these networks."""
        return self.address is not None and any(self.address in network for network in networks)


def peer_from(host: str, port: int, *, is_proxied: bool = False) -> Peer:
    """A peer from the address text of a transport; an IPv4-mapped IPv6 address becomes IPv4, a zone is dropped."""
    return Peer(_address(host.partition("%")[0]), port, is_proxied)


# The same few clients come again and again, and each connection shows its address in several places.


@lru_cache(maxsize=1024)
def _address(host: str) -> IpAddress:
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=1024)
def _text(version: int, number: int) -> str:
    return str(ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number))
