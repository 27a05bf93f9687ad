"""Who is asked about strangers' mail: the lists of `[[dnsbl]]`, and rspamd. Pure but for one connection to a socket."""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

from mailserver.config import Config
from mailserver.config.junk import Dnsbl, ListLooksAt, RspamdAt, WhenDown
from mailserver.doctor.check import Check, failed, passed, skipped, unknown, warned
from mailserver.mail.dns import AddressAnswer, CannotTell

_ANSWERS = IPv4Network("127.0.0.0/8")
_REFUSALS = IPv4Network("127.255.255.0/24")
_SOCKET_S = 5.0


def always_listed(one: Dnsbl) -> str:
    """What every list holds, so that it can be tried (RFC 5782 5)."""
    return f"2.0.0.127.{one.zone}" if one.looks_at is ListLooksAt.CLIENT else f"test.{one.zone}"


def never_listed(one: Dnsbl) -> str:
    """What no list holds (RFC 5782 5)."""
    return f"1.0.0.127.{one.zone}" if one.looks_at is ListLooksAt.CLIENT else f"invalid.{one.zone}"


def check_dnsbl(one: Dnsbl, always: AddressAnswer, never: AddressAnswer) -> Check:
    """A list answers, and does not list everything, as one does whose name somebody else has bought.

    `always` and `never` are the answers for `always_listed` and `never_listed`. A zone may hold a key of the owner's
    and is not shown where the list has a name.
    """
    name = "dnsbl"
    shown = one.name or one.zone
    if isinstance(always, CannotTell):
        return unknown(name, f"{shown} could not be asked: {always.reason}", about=shown)
    if _lists(never):
        remedy = "take its [[dnsbl]] table out of the configuration"
        return failed(name, f"{shown} lists everything: it is dead, or not what it was", remedy, shown)
    if _lists(always):
        return passed(name, f"{shown} answers", shown)
    if _refuses(always):
        remedy = "run a resolver of your own, such as unbound: lists do not answer public ones"
        return warned(name, f"{shown} refuses to answer us", remedy, shown)
    remedy = "see its web site: it may be gone, or want a key; else take its [[dnsbl]] table out"
    return warned(name, f"{shown} does not know what every list holds for a test", remedy, shown)


def _lists(answer: AddressAnswer) -> bool:
    return any(one in _ANSWERS and one not in _REFUSALS for one in _ipv4(answer))


def _refuses(answer: AddressAnswer) -> bool:
    return any(one in _REFUSALS for one in _ipv4(answer))


def _ipv4(answer: AddressAnswer) -> list[IPv4Address]:
    found = answer if isinstance(answer, tuple) else ()
    return [one for one in found if not isinstance(one, IPv6Address)]


def check_rspamd(config: Config, trouble: str) -> Check:
    """It answers. `trouble` is why not; empty when it does."""
    name, where = "rspamd", config.rspamd.url
    if where is None:
        return skipped(name, "rspamd.url is empty")
    if not trouble:
        return passed(name, f"it answers at {where}")
    found = f"it does not answer at {where}: {trouble}"
    remedy = "systemctl status rspamd"
    if config.rspamd.when_down is WhenDown.DEFER:
        return failed(name, f"{found}; mail waits at its senders", remedy)
    return warned(name, f"{found}; mail is taken without it", remedy)


def ping_url(where: RspamdAt) -> str:
    """What to ask for; empty for a Unix socket."""
    return f"http://{where.tcp}/ping" if where.tcp is not None else ""


def socket_trouble(path: str) -> str:
    """Why nobody takes a connection at a Unix socket; empty when somebody does. Blocks for some seconds at most."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_SOCKET_S)
            connection.connect(str(Path(path)))
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""
