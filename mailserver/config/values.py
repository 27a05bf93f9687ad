"""Rules for single values: TOML value in, Python value out, or `Wrong` with what is allowed.

Strict about types: `3` is not `"3"`, a text is not a list, `true` is not 1. Each rule is a function of the value and
of the folder that paths are relative to. Nothing here looks at the disk or the network.
"""

import ipaddress
import os.path
import re
from collections.abc import Callable, Mapping
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import MappingProxyType

from attrs import frozen

from mailserver.config.fault import Wrong, Wrongs, nearest, shown
from mailserver.mail.address import Mailbox, canonical_domain, parse_mailbox
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.peer import IpNetwork
from mailserver.mail.reply import printable

Read = Callable[[object, Path], object]


@frozen
class Rule:
    """Stands in a field's annotation (`Annotated[int, Rule(...)]`) and reads that field."""

    read: Read


@frozen
class HostPort:
    """A host (canonical name or address without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """`smtp.example.org:587`, `[2001:db8::1]:25`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """An address of this machine, or `localhost` (RFC 6761 6.3)."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


MAX_PORT = 65535
# Far beyond any use, and safe for every clock and counter that gets it.
_MAX_SECONDS = 10 * 366 * 86400.0
_MAX_OCTETS = 2**50
_MAX_COUNT = 10_000_000

_TIME = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?(ms|s|m|h|d)", re.ASCII)
_TIME_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME_ALLOWED = 'must be a time such as "500ms", "15s", "5m", "4h" or "5d"'

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?(b|kb|mb|gb|kib|mib|gib)", re.ASCII)
_SIZE_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE_ALLOWED = 'must be a size such as "200MB", "64KiB" or a number of octets'


def whole_number(minimum: int = 1, maximum: int = _MAX_COUNT) -> Rule:
    """A whole number within bounds, both included."""
    allowed = f"must be a whole number from {minimum} to {maximum}"

    def read(value: object, base: Path) -> int:
        del base
        if isinstance(value, str) and re.fullmatch("[0-9]+", value, re.ASCII):
            raise Wrong(f"{allowed}, without quotes")
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise Wrong(allowed)
        return value

    return Rule(read)


def duration(*, may_be_never: bool = False) -> Rule:
    """A time with its unit; seconds as a float, more than zero. With `may_be_never`, `"never"` and `"0s"` give 0."""
    allowed = _TIME_ALLOWED + (', or "never"' if may_be_never else "")

    def read(value: object, base: Path) -> float:
        del base
        if may_be_never and value == "never":
            return 0.0
        if isinstance(value, int | float) and not isinstance(value, bool):
            guess = f'"{value}s"' if 0 < value < _MAX_SECONDS else '"never"' if may_be_never and value == 0 else ""
            raise Wrong(allowed, did_you_mean=guess)
        found = _TIME.fullmatch(value.lower()) if isinstance(value, str) else None
        if not found:
            raise Wrong(allowed, did_you_mean='"never"' if may_be_never and value == "0" else "")
        seconds = float(found[1]) * _TIME_UNITS[found[2]]
        if seconds <= 0 and not may_be_never:
            raise Wrong("must be more than 0")
        if seconds > _MAX_SECONDS:
            raise Wrong("must be at most ten years")
        return seconds

    return Rule(read)


def size(minimum: int = 0) -> Rule:
    """A size with its unit, or a number of octets; octets as an int. KB is 1000 octets, KiB is 1024."""

    def read(value: object, base: Path) -> int:
        del base
        if isinstance(value, int) and not isinstance(value, bool):
            octets = value
        else:
            found = _SIZE.fullmatch(value.lower()) if isinstance(value, str) else None
            if not found:
                raise Wrong(_SIZE_ALLOWED)
            octets = int(float(found[1]) * _SIZE_UNITS[found[2]])
        if not minimum <= octets <= _MAX_OCTETS:
            at_least = "1 octet" if minimum == 1 else f"{minimum} octets"
            raise Wrong(f"must be at least {at_least}" if octets < minimum else "must be at most 1000000GB")
        return octets

    return Rule(read)


def choice(words: type[Enum]) -> Rule:
    """One of an Enum's values."""
    allowed = "must be one of " + ", ".join(f'"{word.value}"' for word in words)

    def read(value: object, base: Path) -> Enum:
        del base
        try:
            return words(value)
        except ValueError:
            guess = nearest(value, [word.value for word in words]) if isinstance(value, str) else ""
            raise Wrong(allowed, did_you_mean=f'"{guess}"' if guess else "") from None

    return Rule(read)


def _boolean(value: object, base: Path) -> bool:
    del base
    if isinstance(value, bool):
        return value
    guess = value.lower() if isinstance(value, str) and value.lower() in ("true", "false") else ""
    raise Wrong("must be true or false, without quotes", did_you_mean=guess)


def text(value: object) -> str:
    """A TOML string without controls."""
    if not isinstance(value, str):
        raise Wrong("must be text in quotes")
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise Wrong("must not hold line ends or other control characters")
    return value


def _plain_text(value: object, base: Path) -> str:
    del base
    return text(value)


def _domain(value: object, base: Path) -> str:
    del base
    written = text(value)
    if "@" in written:
        raise Wrong("must be a domain", did_you_mean=f'"{written.rpartition("@")[2]}"')
    domain = canonical_domain(written)
    if domain is None or domain.startswith("["):
        guess = canonical_domain(written.strip().strip("."))
        raise Wrong('must be a domain such as "example.org"', did_you_mean=f'"{guess}"' if guess else "")
    if _is_address(domain):
        raise Wrong('must be a domain such as "example.org", not an address')
    return domain


def _host_name(value: object, base: Path) -> str:
    try:
        return _domain(value, base)
    except Wrong as wrong:
        raise Wrong(str(wrong).replace("a domain", "a host name").replace("example.org", "mail.example.org")) from None


def _optional_host_name(value: object, base: Path) -> str:
    return "" if value == "" else _host_name(value, base)


def _mailbox(value: object, base: Path) -> Mailbox:
    del base
    mailbox = parse_mailbox(text(value))
    if isinstance(mailbox, SyntaxFault):
        raise Wrong(f'must be an address such as "alice@example.org": {mailbox.reason}')
    if not mailbox.domain:
        raise Wrong('must be an address with its domain, such as "alice@example.org"')
    return mailbox


def _path(value: object, base: Path) -> Path:
    written = text(value)
    if not written.strip():
        raise Wrong("must be a path")
    if written.startswith("~"):
        raise Wrong("must be a path; ~ has no meaning here, write the folder's whole name")
    # Not resolve(): a link that points elsewhere tomorrow shall count tomorrow.
    return Path(os.path.normpath(base / written))


def _optional_path(value: object, base: Path) -> Path | None:
    return None if value == "" else _path(value, base)


def _host_port(value: object, base: Path) -> HostPort:
    del base
    return _read_host_port(value, usual_port=25)


def host_port(value: object) -> HostPort:
    """A host and a port as one text. Raises `Wrong`."""
    return _read_host_port(value, usual_port=25)


def _read_host_port(value: object, usual_port: int) -> HostPort:
    written = text(value)
    allowed = 'must be a host and a port, such as "smtp.example.org:587", "192.0.2.7:25" or "[2001:db8::7]:25"'
    host, colon, port = written.rpartition(":")
    if not colon or _is_address(written):
        whole = f"[{written}]" if ":" in written else written
        raise Wrong(allowed, did_you_mean=f'"{whole}:{usual_port}"' if _is_host(written) else "")
    if not re.fullmatch("[0-9]{1,5}", port, re.ASCII) or not 1 <= int(port) <= MAX_PORT:
        raise Wrong(f"{allowed}; a port is a number from 1 to {MAX_PORT}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_address(host):
            raise Wrong(allowed)
    elif ":" in host:
        raise Wrong(allowed, did_you_mean=f'"[{host}]:{port}"' if _is_address(host) else "")
    if _is_address(host):
        return HostPort(str(ipaddress.ip_address(host)), int(port))
    name = canonical_domain(host)
    if name is None or name.startswith("["):
        raise Wrong(allowed)
    return HostPort(name, int(port))


def _smarthost(value: object, base: Path) -> HostPort | None:
    del base
    return None if value == "" else _read_host_port(value, usual_port=587)


def _is_host(written: str) -> bool:
    return _is_address(written) or canonical_domain(written) is not None


def _is_address(written: str) -> bool:
    try:
        return "%" not in written and bool(ipaddress.ip_address(written))
    except ValueError:
        return False


def _network(value: object, base: Path) -> IpNetwork:
    del base
    written = text(value)
    allowed = 'must be a network such as "192.0.2.0/24" or "2001:db8::/32", or one address'
    try:
        network = ipaddress.ip_network(written)
    except ValueError:
        try:
            guess = f'"{ipaddress.ip_network(written, strict=False)}"'
        except ValueError:
            guess = ""
        raise Wrong(allowed, did_you_mean=guess) from None
    if network.prefixlen == 0:
        raise Wrong("must not be the whole internet")
    return network


def _name_server(value: object, base: Path) -> tuple[str, int]:
    written = text(value)
    if _is_address(written):
        return str(ipaddress.ip_address(written)), 53
    allowed = 'must be an address, with a port if it is not 53: "192.0.2.53", "127.0.0.1:5353", "[::1]:5353"'
    try:
        server = _host_port(written, base)
    except Wrong:
        raise Wrong(allowed) from None
    if not _is_address(server.host):
        raise Wrong(f"{allowed}; a name cannot be looked up without a server")
    return server.host, server.port


def _optional_ipv4(value: object, base: Path) -> IPv4Address | None:
    del base
    try:
        return IPv4Address(text(value)) if value != "" else None
    except ipaddress.AddressValueError:
        raise Wrong('must be an IPv4 address of this machine, such as "192.0.2.1", or empty') from None


def _optional_ipv6(value: object, base: Path) -> IPv6Address | None:
    del base
    try:
        return IPv6Address(text(value)) if value != "" else None
    except ipaddress.AddressValueError:
        raise Wrong('must be an IPv6 address of this machine, such as "2001:db8::1", or empty') from None


def list_of(item: Rule, what: str, example: str, *, minimum: int = 0, is_set: bool = True) -> Rule:
    """A list whose items follow `item`; all its wrong items are told at once. With `is_set` none may stand twice."""

    def read(value: object, base: Path) -> tuple[object, ...]:
        allowed = f"must be a list of {what}, such as {example}"
        if not isinstance(value, list):
            raise Wrong(allowed, did_you_mean=f"[{shown(value)}]" if isinstance(value, str) and value else "")
        if len(value) < minimum:
            raise Wrong(f"{allowed}, and not empty")
        found: list[object] = []
        wrongs: list[tuple[str, object, Wrong]] = []
        for index, part in enumerate(value):
            try:
                one = item.read(part, base)
                if is_set and one in found:
                    raise Wrong("stands here twice")
                found.append(one)
            except Wrong as wrong:
                wrongs.append((f"[{index}]", part, wrong))
        if wrongs:
            raise Wrongs(wrongs)
        return tuple(found)

    return Rule(read)


def by_domain(read: Read, example: str) -> Rule:
    """A table whose keys are domains; `read` reads each value, `example` is such a value as it is written."""

    def read_table(value: object, base: Path) -> Mapping[str, object]:
        if not isinstance(value, dict):
            raise Wrong(f'must be a table such as {{ "example.net" = {example} }}')
        found: dict[str, object] = {}
        wrongs: list[tuple[str, object, Wrong]] = []
        for key, target in value.items():
            try:
                domain = _domain(key, base)
                if domain in found:
                    raise Wrong("this domain stands here twice")
                found[domain] = read(target, base)
            except Wrong as wrong:
                wrongs.append((f'."{printable(key)}"', target, _unquoted(key, target) or wrong))
        if wrongs:
            raise Wrongs(wrongs)
        return MappingProxyType(found)

    return Rule(read_table)


def _unquoted(key: str, inner: object) -> Wrong | None:
    """In TOML `example.net = "..."` without quotes is a table `example` with a key `net`."""
    if not isinstance(inner, dict):
        return None
    while isinstance(inner, dict) and len(inner) == 1:
        ((part, inner),) = inner.items()
        key = f"{key}.{part}"
    return Wrong(f'the domain must stand in quotes, such as "{printable(key)}" = {shown(inner)}')


def only(allowed: Read, default: object) -> Rule:
    """A key whose feature is not built yet: its default is taken, anything else refused."""

    def read(value: object, base: Path) -> object:
        if value != default:
            raise Wrong(f"not available yet; leave it at {shown(default)} or leave it out")
        return allowed(value, base)

    return Rule(read)


boolean = Rule(_boolean)
plain_text = Rule(_plain_text)
domain = Rule(_domain)
host_name = Rule(_host_name)
optional_host_name = Rule(_optional_host_name)
mailbox = Rule(_mailbox)
path = Rule(_path)
optional_path = Rule(_optional_path)
smarthost = Rule(_smarthost)
network = Rule(_network)
name_server = Rule(_name_server)
optional_ipv4 = Rule(_optional_ipv4)
optional_ipv6 = Rule(_optional_ipv6)
routes = by_domain(_host_port, '"192.0.2.7:25"')
