"""What a listener string means, as far as the configuration has to know.

The strings are Twisted's endpoint descriptions and are read by Twisted, in `net`; this room knows no Twisted and gets
a `ListenerCheck`.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from attrs import frozen

from mailserver.mail.fault import SyntaxFault

IpAddress = IPv4Address | IPv6Address


@frozen
class Listener:
    """One listener. `address` None with a `port` means every address of both families.

    `path` is that of a Unix socket. A listener with neither port nor path gets its socket from elsewhere (systemd), so
    where it listens cannot be known. `is_proxied`: its peers are named by a PROXY header.
    """

    port: int | None = None
    address: IpAddress | None = None
    path: str = ""
    is_proxied: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.path:
            return True
        return self.address is not None and self.address.is_loopback

    def collides_with(self, other: "Listener") -> bool:
        """Whether the two cannot both be bound. Port 0 is a new port each time."""
        if self.path or other.path:
            return self.path == other.path
        if not self.port or self.port != other.port:
            return False
        return _overlap(self.address, other.address) or _overlap(other.address, self.address)


def _overlap(one: IpAddress | None, other: IpAddress | None) -> bool:
    # `::` takes IPv4 too: V6ONLY is off (design section 6).
    if one is None or one == IPv6Address("::"):
        return True
    if one == IPv4Address("0.0.0.0"):
        return other is None or other.version == 4
    return one == other


# The text of a `SyntaxFault` says what is allowed.
ListenerCheck = Callable[[str], Listener | SyntaxFault]
