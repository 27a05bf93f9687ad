"""Block lists in DNS (RFC 5782): what is asked, and what counts as an answer. Pure.

A list answers with addresses out of 127.0.0.0/8 that say why. Some answers mean that something is wrong with the
question or with whoever asks it (a public resolver, too many questions); they never count, or one day a list refuses
everybody's mail. Nor do answers outside of 127.0.0.0/8: those come from whoever bought the name of a dead list.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network

from mailserver.mail.dns import AddressAnswer, IpAddress
from mailserver.mail.peer import IpNetwork, Peer

_LISTS = IPv4Network("127.0.0.0/8")
# Spamhaus, SURBL and others: typing error, public resolver, too many questions; and what RFC 5782 5 says is never
# listed.
_ERRORS = (IPv4Network("127.255.255.0/24"), IPv4Network("127.0.1.255/32"), IPv4Network("127.0.0.1/32"))
# No list knows them, and who comes from there is no stranger.
_INSIDE: tuple[IpNetwork, ...] = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8")
) + tuple(ipaddress.ip_network(text) for text in ("::1/128", "fc00::/7", "fe80::/10"))
# More than any list gives, and few enough to look at.
_MAX_ANSWERS = 64
_MAX_NAME_OCTETS = 253
_MAX_EXPLANATION_CHARS = 200


class LooksAt(Enum):
    """What a list knows about."""

    CLIENT = "client"  # addresses
    DOMAIN = "domain"  # domains: of the reverse-path, and of HELO


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Answers from `first` to `last`, both included."""

    first: IPv4Address
    last: IPv4Address

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last


@dataclass(frozen=True, slots=True)
class BlockList:
    """One list. `name` is shown to others (a zone may hold a key of the owner's); `answers` empty: all that count.

    `weight` may be below 0 for a list of good ones.
    """

    zone: str
    name: str
    weight: int = 1
    answers: tuple[AddressRange, ...] = ()
    looks_at: LooksAt = LooksAt.CLIENT

    @property
    def test_name(self) -> str:
        """What no list may hold (RFC 5782 5): a list that does lists everything."""
        return f"1.0.0.127.{self.zone}" if self.looks_at is LooksAt.CLIENT else f"invalid.{self.zone}"


@dataclass(frozen=True, slots=True)
class Hit:
    """Something is on a list: `subject` is the address or domain, `explanation` the list's own words, made safe."""

    listed_by: BlockList
    subject: str
    explanation: str = ""

    def __str__(self) -> str:
        """`zen.example 192.0.2.7 +1`, as log and journal have it."""
        return f"{self.listed_by.name} {self.subject} {self.listed_by.weight:+d}"


@dataclass(frozen=True, slots=True)
class Listing:
    """All that lists say about a client and its message."""

    hits: tuple[Hit, ...] = ()

    @property
    def weight(self) -> int:
        """The sum of all weights."""
        return sum(hit.listed_by.weight for hit in self.hits)

    @property
    def against(self) -> tuple[Hit, ...]:
        """What speaks against it, the heaviest first."""
        return tuple(
            sorted((hit for hit in self.hits if hit.listed_by.weight > 0), key=lambda hit: -hit.listed_by.weight)
        )


NOT_LISTED = Listing()


def is_stranger_to_lists(peer: Peer, exempt: tuple[IpNetwork, ...], *, asks_inside: bool) -> bool:
    """Whether lists are asked about this client. `asks_inside`: for labs, private addresses are looked up, too."""
    if peer.address is None or peer.is_in(exempt):
        return False
    return asks_inside or not peer.is_in(_INSIDE)


def client_name(address: IpAddress, zone: str) -> str:
    """What is asked about an address: `7.2.0.192.zone`, or each hex digit of an IPv6 address (RFC 5782 2.1, 2.4)."""
    return f"{address.reverse_pointer.rpartition('.in-addr.arpa' if address.version == 4 else '.ip6.arpa')[0]}.{zone}"


def domain_name(domain: str, zone: str) -> str | None:
    """What is asked about a domain; None for what is none, an address too: lists of domains want none of these."""
    labels = domain.lower().split(".")
    is_domain = len(labels) > 1 and not labels[-1].isdigit() and all(_is_label(label) for label in labels)
    name = f"{domain.lower()}.{zone}"
    return name if is_domain and len(name) <= _MAX_NAME_OCTETS else None


def _is_label(label: str) -> bool:
    return 0 < len(label) < 64 and label.isascii() and label.replace("-", "").replace("_", "").isalnum()


def is_listed(block_list: BlockList, answer: AddressAnswer) -> bool:
    """Whether this answer says that it is listed."""
    if not isinstance(answer, tuple):
        return False
    codes = [code for code in answer[:_MAX_ANSWERS] if _counts(code)]
    if not block_list.answers:
        return bool(codes)
    return any(code in one for code in codes for one in block_list.answers if isinstance(code, IPv4Address))


def _counts(code: IpAddress) -> bool:
    return code in _LISTS and not any(code in network for network in _ERRORS)


def what_is_wrong(answer: AddressAnswer) -> str:
    """What an answer tells about a list that does not work for us; empty for nothing."""
    if not isinstance(answer, tuple):
        return ""
    for code in answer[:_MAX_ANSWERS]:
        if any(code in network for network in _ERRORS):
            return f"it answers {code}, which says that it does not take our questions"
        if code not in _LISTS:
            return f"it answers {code}, which no list does"
    return ""


def explanation_of(texts: Iterable[str]) -> str:
    """A list's own words: one line of printable ASCII, bounded."""
    text = next(iter(texts), "")[: 2 * _MAX_EXPLANATION_CHARS]
    plain = "".join(char if " " <= char <= "~" else " " if char in "\r\n\t" else "?" for char in text)
    return " ".join(plain.split())[:_MAX_EXPLANATION_CHARS]
