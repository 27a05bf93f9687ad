"""An SPF record as a value (RFC 7208 4.5, 4.6, 5, 6, 12). Pure: nothing is evaluated here.

A record is read whole before anything in it is looked at, so that a fault anywhere is found by everybody, whatever
their address (RFC 7208 4.6). A fault is a `SyntaxFault`; its reason may be shown, it holds only printable ASCII.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from mailserver.mail.fault import SyntaxFault
from mailserver.policy.spf.macros import DOMAIN_LETTERS, MacroString, parse_domain_spec, parse_macro_string
from mailserver.policy.spf.result import SpfVerdict

# RFC 7208 3.4 asks for 450 octets; records that list hundreds of networks exist. This bounds the work.
MAX_RECORD_OCTETS = 16_384
_SHOWN_CHARS = 60

_QUALIFIERS = {
    "+": SpfVerdict.PASS,
    "-": SpfVerdict.FAIL,
    "~": SpfVerdict.SOFTFAIL,
    "?": SpfVerdict.NEUTRAL,
}
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)=(.*)\Z")
_MECHANISM = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9]*)((?:[:/].*)?)\Z")
_LENGTH = r"(0|[1-9][0-9]{0,2})"
# RFC 7208 5.3, 5.4: domain-spec and dual-cidr-length, both optional.
_DOMAIN_AND_LENGTHS = re.compile(rf"(?::(.+?))?(?:/{_LENGTH})?(?://{_LENGTH})?\Z")
_NETWORK = re.compile(rf":([0-9A-Fa-f.:]+?)(?:/{_LENGTH})?\Z")


class Kind(Enum):
    """The mechanisms of RFC 7208 5."""

    ALL = "all"
    INCLUDE = "include"
    A = "a"
    MX = "mx"
    PTR = "ptr"
    IP4 = "ip4"
    IP6 = "ip6"
    EXISTS = "exists"


# RFC 7208 4.6.4: these cost questions, and are counted.
COUNTED = frozenset((Kind.INCLUDE, Kind.A, Kind.MX, Kind.PTR, Kind.EXISTS))


@dataclass(frozen=True, slots=True)
class Directive:
    """A mechanism with its qualifier. `text` is how it was written.

    `domain` None means the domain whose record it is. `length4` and `length6` count for `a` and `mx` only, `network`
    for `ip4` and `ip6`.
    """

    kind: Kind
    verdict: SpfVerdict
    text: str
    domain: MacroString | None = None
    length4: int = 32
    length6: int = 128
    network: IPv4Network | IPv6Network | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record: directives in their order, and the two modifiers that mean something."""

    directives: tuple[Directive, ...] = ()
    redirect: MacroString | None = None
    explanation: MacroString | None = None


def is_spf(text: str) -> bool:
    """Whether a TXT record is an SPF record of version 1 (RFC 7208 4.5)."""
    return text[:6].lower() == "v=spf1" and text[6:7] in ("", " ")


def parse_record(text: str) -> Record | SyntaxFault:
    """Read a record for which `is_spf` holds; any fault makes the whole of it useless."""
    if len(text) > MAX_RECORD_OCTETS:
        return SyntaxFault("the record is too long")
    if not text.isascii() or not text.isprintable():
        return SyntaxFault("the record holds characters that are not printable ASCII")
    directives: list[Directive] = []
    modifiers: dict[str, MacroString] = {}
    for term in text[6:].split(" "):
        if not term:
            continue
        modifier = _MODIFIER.match(term)
        fault = _read_modifier(modifier, modifiers) if modifier else _read_directive(term, directives)
        if fault is not None:
            return SyntaxFault(f"{fault.reason}: {term[:_SHOWN_CHARS]}")
    return Record(tuple(directives), modifiers.get("redirect"), modifiers.get("exp"))


def _read_modifier(found: re.Match[str], modifiers: dict[str, MacroString]) -> SyntaxFault | None:
    """RFC 7208 6. An unknown one is read over, but its value must still be a macro-string."""
    name, value = found.group(1).lower(), found.group(2)
    if name not in ("redirect", "exp"):
        unknown = parse_macro_string(value, DOMAIN_LETTERS)
        return unknown if isinstance(unknown, SyntaxFault) else None
    if name in modifiers:
        return SyntaxFault("a modifier that is there twice")
    domain = parse_domain_spec(value)
    if isinstance(domain, SyntaxFault):
        return domain
    modifiers[name] = domain
    return None


def _read_directive(term: str, directives: list[Directive]) -> SyntaxFault | None:
    found = _MECHANISM.match(term)
    if found is None:
        return SyntaxFault("a term that is neither mechanism nor modifier")
    qualifier, name, arguments = found.groups()
    read = _READ.get(name.lower())
    if read is None:
        return SyntaxFault("an unknown mechanism")
    kind, fill = read
    directive = fill(Directive(kind, _QUALIFIERS[qualifier or "+"], term), arguments)
    if isinstance(directive, SyntaxFault):
        return directive
    directives.append(directive)
    return None


# --- one function for each form of arguments --------------------------------------------------------------------------


def _nothing(directive: Directive, arguments: str) -> Directive | SyntaxFault:
    return SyntaxFault("a mechanism that takes no argument has one") if arguments else directive


def _domain(directive: Directive, arguments: str) -> Directive | SyntaxFault:
    """`:` and a domain-spec."""
    if not arguments.startswith(":"):
        return SyntaxFault("a mechanism without the domain it needs")
    domain = parse_domain_spec(arguments[1:])
    return domain if isinstance(domain, SyntaxFault) else replace(directive, domain=domain)


def _maybe_domain(directive: Directive, arguments: str) -> Directive | SyntaxFault:
    return _domain(directive, arguments) if arguments else directive


def _domain_and_lengths(directive: Directive, arguments: str) -> Directive | SyntaxFault:
    found = _DOMAIN_AND_LENGTHS.match(arguments)
    if found is None:
        return SyntaxFault("a mechanism whose arguments cannot be read")
    domain, length4, length6 = found.groups()
    if int(length4 or 0) > 32 or int(length6 or 0) > 128:
        return SyntaxFault("a prefix length that is too large")
    directive = replace(directive, length4=int(length4 or 32), length6=int(length6 or 128))
    return directive if domain is None else _domain(directive, f":{domain}")


def _network4(directive: Directive, arguments: str) -> Directive | SyntaxFault:
    found = _NETWORK.match(arguments)
    try:
        network = IPv4Network((found.group(1), int(found.group(2) or 32)), strict=False) if found else None
    except ValueError:
        network = None
    return SyntaxFault("not an IPv4 network") if network is None else replace(directive, network=network)


def _network6(directive: Directive, arguments: str) -> Directive | SyntaxFault:
    found = _NETWORK.match(arguments)
    try:
        network = ipaddress.IPv6Network((found.group(1), int(found.group(2) or 128)), strict=False) if found else None
    except ValueError:
        network = None
    return SyntaxFault("not an IPv6 network") if network is None else replace(directive, network=network)


_Fill = Callable[[Directive, str], Directive | SyntaxFault]
_FILLS: dict[Kind, _Fill] = {
    Kind.ALL: _nothing,
    Kind.INCLUDE: _domain,
    Kind.A: _domain_and_lengths,
    Kind.MX: _domain_and_lengths,
    Kind.PTR: _maybe_domain,
    Kind.IP4: _network4,
    Kind.IP6: _network6,
    Kind.EXISTS: _domain,
}
_READ: dict[str, tuple[Kind, _Fill]] = {kind.value: (kind, fill) for kind, fill in _FILLS.items()}
