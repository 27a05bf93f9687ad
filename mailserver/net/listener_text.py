"""What a listener string of the configuration says: the forms we take, and what is wrong with any other.

The strings are Twisted's endpoint descriptions (`tcp:25`, `tcp:2525:interface=127.0.0.1`, `tcp6:25`,
`unix:/run/x.sock:mode=660`, `systemd:domain=INET6:index=0`, `haproxy:tcp:25`). They are read here and not by Twisted
for three reasons: an error names what would be right, `check-config` need not start half of Twisted, and whether a
listener is on loopback must be known before anything is opened. Nothing here opens anything.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from mailserver.config import Listener
from mailserver.mail.dns import IpAddress
from mailserver.mail.fault import SyntaxFault

# Linux: sun_path holds 108 octets with its final NUL.
MAX_UNIX_PATH_OCTETS = 107
MAX_PORT = 65535


class Kind(Enum):
    """The kinds of endpoint that make sense for a mail server."""

    TCP = "tcp"
    TCP6 = "tcp6"
    UNIX = "unix"
    SYSTEMD = "systemd"
    HAPROXY = "haproxy"


# The keywords Twisted knows for each kind, in the order in which they may stand without a name.
_KEYWORDS: Mapping[Kind, tuple[str, ...]] = {
    Kind.TCP: ("port", "interface", "backlog"),
    Kind.TCP6: ("port", "interface", "backlog"),
    Kind.UNIX: ("address", "mode", "backlog", "lockfile"),
    Kind.SYSTEMD: ("domain", "index", "name"),
}
_POSITIONAL: Mapping[Kind, int] = {Kind.TCP: 1, Kind.TCP6: 1, Kind.UNIX: 1, Kind.SYSTEMD: 2}
_ALLOWED = 'must be a listener such as "tcp:25", "tcp:2525:interface=127.0.0.1" or "unix:/run/mailserver/smtp.sock"'


@dataclass(frozen=True, slots=True)
class ListenerText:
    """One listener string, understood. `values` are its keywords; `proxied` is the part behind `haproxy:`."""

    text: str
    kind: Kind
    values: Mapping[str, str]
    proxied: "ListenerText | None" = None

    @property
    def port(self) -> int:
        """The port of a TCP listener; 0 lets the system choose."""
        return int(self.values["port"])

    @property
    def address(self) -> IpAddress | None:
        """The interface of a TCP listener; None is every address of both families."""
        host = self.values.get("interface", "")
        if host:
            return ipaddress.ip_address(host)
        return ipaddress.IPv6Address("::") if self.kind is Kind.TCP6 else None

    def listener(self) -> Listener:
        """As the configuration's rules see it."""
        if self.proxied is not None:
            inner = self.proxied.listener()
            return Listener(inner.port, inner.address, inner.path, is_proxied=True)
        if self.kind is Kind.UNIX:
            return Listener(path=self.values["address"])
        if self.kind is Kind.SYSTEMD:
            return Listener()
        return Listener(self.port, self.address)


def check_listener(text: str) -> Listener | SyntaxFault:
    """The `ListenerCheck` that `load_config` wants."""
    found = read_listener(text)
    return found if isinstance(found, SyntaxFault) else found.listener()


def read_listener(text: str) -> ListenerText | SyntaxFault:
    """Understand one listener string, or say what is allowed."""
    parts = _split(text)
    if isinstance(parts, SyntaxFault):
        return parts
    name, arguments = parts[0], parts[1:]
    if name in ("ssl", "tls"):
        return SyntaxFault(
            'must be written without TLS, such as "tcp:465": the server itself adds TLS to submissions, pop3s and https'
        )
    try:
        kind = Kind(name)
    except ValueError:
        if name.isascii() and name.isdigit():
            return SyntaxFault(f'{_ALLOWED} (did you mean "tcp:{name}"?)')
        return SyntaxFault(f"{_ALLOWED}; kinds are {', '.join(kind.value for kind in Kind)}")
    if kind is Kind.HAPROXY:
        return _proxied(text, arguments)
    values = _keywords(kind, arguments)
    fault = values if isinstance(values, SyntaxFault) else _CHECKS[kind](values)
    if isinstance(fault, SyntaxFault):
        return fault
    assert not isinstance(values, SyntaxFault)
    return ListenerText(text, kind, values)


def _split(text: str) -> list[str] | SyntaxFault:
    r"""The parts between colons; `\:` is a colon and `\\` a backslash inside a part, as Twisted has it."""
    parts = [""]
    escaped = False
    for char in text:
        if escaped:
            parts[-1] += char
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ":":
            parts.append("")
        else:
            parts[-1] += char
    return SyntaxFault("must not end with a backslash") if escaped else parts


def _proxied(text: str, arguments: Sequence[str]) -> ListenerText | SyntaxFault:
    """`haproxy:` and the listener behind it, such as `haproxy:tcp:25`."""
    if not arguments:
        return SyntaxFault('must name what is behind the proxy, such as "haproxy:tcp:2525:interface=127.0.0.1"')
    inner = read_listener(":".join(_quoted(part) for part in arguments))
    if isinstance(inner, SyntaxFault):
        return inner
    if inner.kind is Kind.HAPROXY:
        return SyntaxFault('must name "haproxy:" once')
    return ListenerText(text, Kind.HAPROXY, {}, proxied=inner)


def _quoted(part: str) -> str:
    return part.replace("\\", "\\\\").replace(":", "\\:")


def _keywords(kind: Kind, arguments: Sequence[str]) -> dict[str, str] | SyntaxFault:
    """Arguments by name. Positions are for the first ones only, so that a stray part is an error and not a backlog."""
    names = _KEYWORDS[kind]
    values: dict[str, str] = {}
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if not equals:
            if position >= _POSITIONAL[kind]:
                hint = (
                    r" (write each colon of an IPv6 address as \:, so in TOML as '\:')" if _is_ipv6(arguments) else ""
                )
                return SyntaxFault(f"has a part that means nothing: {argument!r}{hint}")
            name, value = names[position], argument
        if name not in names:
            return SyntaxFault(f"has an unknown part {name!r}; {kind.value} takes {', '.join(names)}")
        if name in values:
            return SyntaxFault(f"says {name} twice")
        values[name] = value
    return values


def _is_ipv6(arguments: Sequence[str]) -> bool:
    """Whether an IPv6 address was written without escapes, so that its colons parted it."""
    return any(argument.startswith("interface=") for argument in arguments) and "" in arguments


def _check_tcp(values: Mapping[str, str]) -> SyntaxFault | None:
    if not _is_number(values.get("port", ""), MAX_PORT):
        return SyntaxFault(f'must have a port from 0 to {MAX_PORT}, such as "tcp:25"')
    if "backlog" in values and not _is_number(values["backlog"], 2**31 - 1):
        return SyntaxFault("must have a whole number as backlog")
    host = values.get("interface", "")
    try:
        if host:
            ipaddress.ip_address(host)
    except ValueError:
        return SyntaxFault(f'must have an IP address as interface, such as "interface=127.0.0.1", not {host!r}')
    return None


def _check_tcp6(values: Mapping[str, str]) -> SyntaxFault | None:
    fault = _check_tcp(values)
    if fault is None and values.get("interface") and ipaddress.ip_address(values["interface"]).version != 6:
        return SyntaxFault(r'must have an IPv6 address as interface of tcp6, such as "interface=\:\:1"')
    return fault


def _check_unix(values: Mapping[str, str]) -> SyntaxFault | None:
    path = values.get("address", "")
    if not path.startswith("/"):
        return SyntaxFault('must name the socket with its whole path, such as "unix:/run/mailserver/smtp.sock"')
    if len(path.encode()) > MAX_UNIX_PATH_OCTETS:
        return SyntaxFault(f"must have a socket path of at most {MAX_UNIX_PATH_OCTETS} octets")
    mode = values.get("mode", "666")
    if not mode.isascii() or not mode.isdigit() or set(mode) & set("89") or len(mode) > 4:
        return SyntaxFault('must have an octal mode, such as "mode=660"')
    return None


def _check_systemd(values: Mapping[str, str]) -> SyntaxFault | None:
    if values.get("domain") not in ("INET", "INET6", "UNIX"):
        return SyntaxFault('must say domain=INET, INET6 or UNIX, such as "systemd:domain=INET6:index=0"')
    if ("index" in values) == ("name" in values):
        return SyntaxFault('must say either index= or name=, such as "systemd:domain=INET6:name=smtp"')
    if "index" in values and not _is_number(values["index"], 1000):
        return SyntaxFault("must have a whole number as index")
    return None


_CHECKS = {
    Kind.TCP: _check_tcp,
    Kind.TCP6: _check_tcp6,
    Kind.UNIX: _check_unix,
    Kind.SYSTEMD: _check_systemd,
}


def _is_number(text: str, maximum: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= maximum
