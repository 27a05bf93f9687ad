"""Where the server listens, as it is reached from this machine; whether anybody else can reach it. Pure and light."""

import ipaddress
from dataclasses import dataclass

from mailserver.config import Config
from mailserver.mail.dns import IpAddress
from mailserver.mail.fault import SyntaxFault
from mailserver.net.listener_text import Kind, ListenerText, read_listener

# How each service greets, and whether TLS comes first.
GREETINGS = {
    "smtp": (b"220", False),
    "submission": (b"220", False),
    "submissions": (b"220", True),
    "pop3": (b"+OK", False),
    "pop3s": (b"+OK", True),
    # These say nothing before they are asked: that they take connections has to do.
    "http": (b"", False),
    "https": (b"", True),
}


@dataclass(frozen=True, slots=True)
class Place:
    """One listener as somebody on this machine reaches it. `address` None: it is not to be reached by TCP from here.

    `is_for_all`: it listens on more than loopback.
    """

    service: str
    text: str
    address: IpAddress | None
    port: int
    is_for_all: bool
    why_not: str = ""


def why_not_on_internet(config: Config) -> str:
    """Why no check about the world makes sense; empty when they do.

    A lab that names its addresses wants to be looked at as if it were there.
    """
    if config.doctor.addresses:
        return ""
    if config.practice.accounts:
        return "this is a practice set-up, which no other server reaches"
    if not any(one.is_for_all for one in places(config) if one.service == "smtp"):
        return "SMTP listens on this machine only, so no other server reaches it"
    return ""


def places(config: Config) -> list[Place]:
    """Every listener that greets, as it is reached from this machine."""
    found = []
    for service in GREETINGS:
        for text in getattr(config.listen, service):
            read = read_listener(text)
            if not isinstance(read, SyntaxFault):
                found.append(_place(service, read))
    return found


def _place(service: str, read: ListenerText) -> Place:
    if read.proxied is not None:
        is_for_all = not read.listener().is_loopback
        return Place(service, read.text, None, 0, is_for_all, "only the proxy before it may talk to it")
    if read.kind not in (Kind.TCP, Kind.TCP6):
        is_outside = read.kind is Kind.SYSTEMD
        return Place(service, read.text, None, 0, is_outside, "where it is reached is not in the configuration")
    if not read.port:
        return Place(service, read.text, None, 0, False, "the system chooses its port")
    address = read.address
    if address is None or address.is_unspecified:
        here: IpAddress = ipaddress.ip_address("::1" if read.kind is Kind.TCP6 else "127.0.0.1")
        return Place(service, read.text, here, read.port, True)
    return Place(service, read.text, address, read.port, not address.is_loopback)
