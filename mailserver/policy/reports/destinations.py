"""Where reports about a domain are to be sent, and whether those who would get them want them. Async over a door.

DMARC: the `rua` of the record at the domain, verified where it leads outside (RFC 9990 4). TLSRPT: the `rua` of
`_smtp._tls` (RFC 8460 3), where `https:` is served as well.

Deviation: RFC 9989 4.8 calls a limit such as `!10m` obsolete, to be ignored. Who still writes one means it, and a
report that is too large would only be refused, so it is kept.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mailserver.mail.address import Mailbox, canonical_domain, is_dot_string, parse_mailbox
from mailserver.mail.dns import CannotTell
from mailserver.policy.dmarc.record import is_dmarc
from mailserver.policy.dmarc.tree import DnsTree, Undecided
from mailserver.ports import Clock, Resolver

MAX_DESTINATIONS = 4
_LIMIT_S = 30.0
_MAX_NAME_OCTETS = 253
_SIZE = re.compile(r"!([0-9]{1,12})([kmgt]?)\Z", re.IGNORECASE)
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_WEB_ADDRESS = re.compile(r"https://[!-~]{1,500}\Z", re.IGNORECASE)
_TLSRPT = re.compile(r"v=TLSRPTv1[ \t]*;")


@dataclass(frozen=True, slots=True)
class ReportTo:
    """A mailbox that wants reports; `max_octets` is the largest message, 0 for any."""

    mailbox: Mailbox
    max_octets: int = 0

    def takes(self, octets: int) -> bool:
        """Whether a message of this size may be sent there."""
        return not self.max_octets or octets <= self.max_octets


@dataclass(frozen=True, slots=True)
class PostTo:
    """A web address that takes reports about TLS (RFC 8460 5.4)."""

    url: str


class AskAgain(Exception):
    """DNS cannot tell now; the text says what."""


async def dmarc_destinations(domain: str, resolver: Resolver, clock: Clock) -> tuple[ReportTo, ...]:
    """Who gets the reports about the record at `_dmarc.<domain>`; empty for nobody. Raises `AskAgain`."""
    texts = [text for text in await _texts(resolver, f"_dmarc.{domain}") if is_dmarc(text)]
    if len(texts) != 1:
        return ()
    tree = DnsTree(resolver, clock, _LIMIT_S)
    found: list[ReportTo] = []
    for uri in _uris(_tag(texts[0], "rua")):
        to = _report_to(uri)
        if to is not None:
            found += await _verified(domain, to, resolver, tree)
    return _each_once(found)


async def tls_destinations(domain: str, resolver: Resolver) -> tuple[ReportTo | PostTo, ...]:
    """Who gets the reports about TLS to a domain's mail hosts. Raises `AskAgain`."""
    texts = [text for text in await _texts(resolver, f"_smtp._tls.{domain}") if _TLSRPT.match(text)]
    if len(texts) != 1:  # RFC 8460 3: several are none
        return ()
    uris = _uris(_tag(texts[0], "rua"))
    posts = dict.fromkeys(PostTo(uri) for uri in uris if _is_web_address(uri))
    return (*_each_once(to for uri in uris if (to := _report_to(uri)) is not None), *posts)


async def _verified(domain: str, to: ReportTo, resolver: Resolver, tree: DnsTree) -> tuple[ReportTo, ...]:
    """RFC 9990 4: who gets reports about somebody else's domain has to have said so."""
    host = to.mailbox.domain
    try:
        if await tree.organization(host) == await tree.organization(domain):
            return (to,)
    except Undecided as undecided:
        raise AskAgain(str(undecided)) from undecided
    name = f"{domain}._report._dmarc.{host}"
    if len(name) > _MAX_NAME_OCTETS:
        return ()
    texts = [text for text in await _texts(resolver, name) if is_dmarc(text)]
    others = [_report_to(uri) for text in texts for uri in _uris(_tag(text, "rua"))]
    if not others:
        return (to,) if texts else ()
    # A destination may name another mailbox of its own, and nobody else's: then neither gets anything.
    if any(one is None or one.mailbox.domain != host for one in others):
        return ()
    return tuple(one for one in others if one is not None)


def _report_to(uri: str) -> ReportTo | None:
    size = _SIZE.search(uri)
    limit = int(size[1]) * _UNITS[size[2].lower()] if size else 0
    address = uri[: size.start()] if size else uri
    if address[:7].lower() != "mailto:":
        return None
    mailbox = parse_mailbox(unquote(address[7:].partition("?")[0]))
    if not isinstance(mailbox, Mailbox) or canonical_domain(mailbox.domain) is None or mailbox.domain.startswith("["):
        return None
    if not mailbox.is_ascii or not is_dot_string(mailbox.local_part):
        return None  # nobody has a mailbox of that kind for reports
    return ReportTo(mailbox, limit)


def _is_web_address(uri: str) -> bool:
    """`https:` with a host name, and nothing that a program might take for something else."""
    if not _WEB_ADDRESS.match(uri):
        return False
    try:
        split = urlsplit(uri)
        host, port = split.hostname or "", split.port
    except ValueError:
        return False
    return port != 0 and not split.username and "." in host and canonical_domain(host) == host


def _tag(text: str, wanted: str) -> str:
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals and name.strip().lower() == wanted:
            return value.strip()
    return ""


def _uris(value: str) -> list[str]:
    return [uri for part in value.split(",") if (uri := part.strip())][:MAX_DESTINATIONS]


def _each_once(found: Iterable[ReportTo]) -> tuple[ReportTo, ...]:
    kept: dict[str, ReportTo] = {}
    for one in found:
        kept.setdefault(one.mailbox.folded, one)
    return tuple(kept.values())[:MAX_DESTINATIONS]


async def _texts(resolver: Resolver, name: str) -> tuple[str, ...]:
    if len(name) > _MAX_NAME_OCTETS:
        return ()
    answer = await resolver.text(name)
    if isinstance(answer, CannotTell):
        raise AskAgain(f"{name}: {answer.reason}")
    return answer if isinstance(answer, tuple) else ()
