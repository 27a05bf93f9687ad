"""The DNS lists that are asked about an address (RFC 5782), and what their answers mean.

Only answers in 127.0.0.0/8 count. A list that answers 127.255.255.x, or 127.0.0.1, says that it was asked the wrong
way (through a public resolver, too often): that is no listing.
"""

import ipaddress

from mailserver.mail.dns import AddressAnswer, CannotTell, IpAddress
from mailserver.survey.values import BlockList, Marks

# Lists that large receivers look at, and that may be asked by a small server without a contract.
DEFAULT_LISTS = (
    BlockList(
        "zen.spamhaus.org",
        special=(("127.0.0.10", Marks.RESIDENTIAL), ("127.0.0.11", Marks.RESIDENTIAL)),
        explained_at="https://check.spamhaus.org/",
    ),
    BlockList("bl.spamcop.net", explained_at="https://www.spamcop.net/bl.shtml"),
    BlockList("psbl.surriel.com", explained_at="https://psbl.org/"),
)
_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
_ERRORS = ipaddress.ip_network("127.255.255.0/24")
_TEST_ANSWER = ipaddress.ip_address("127.0.0.1")


def question(address: IpAddress, zone: str) -> str:
    """The name to look up, such as `4.2.0.192.zen.example.net`."""
    reverse = address.reverse_pointer
    return f"{reverse.removesuffix('.in-addr.arpa').removesuffix('.ip6.arpa')}.{zone}"


def verdict(answer: AddressAnswer, blocklist: BlockList) -> frozenset[Marks] | None:
    """What a list says of an address: nothing, one mark, or both. None: it could not be asked."""
    if isinstance(answer, CannotTell):
        return None
    if not isinstance(answer, tuple):
        return frozenset()
    said = [one for one in answer if one in _LOOPBACK and one not in _ERRORS and one != _TEST_ANSWER]
    if not said:
        return None
    special = dict(blocklist.special)
    return frozenset(special.get(str(one), blocklist.marks) for one in said)


def list_named(zone: str) -> BlockList:
    """What is known of a list; one that nobody here knows is taken for one of senders of spam."""
    return next((one for one in DEFAULT_LISTS if one.zone == zone), BlockList(zone))
