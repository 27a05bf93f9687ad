"""Block lists: what is asked, and which answers count (RFC 5782)."""

import ipaddress
from ipaddress import IPv4Address

import pytest

from mailserver.mail.dns import CannotTell, NoRecords, NoSuchName
from mailserver.mail.peer import peer_from
from mailserver.policy.dnsbl import (
    AddressRange,
    BlockList,
    Hit,
    Listing,
    LooksAt,
    client_name,
    domain_name,
    explanation_of,
    is_listed,
    is_stranger_to_lists,
    what_is_wrong,
)
from mailserver.policy.junk import is_always_reachable
from tests.fakes.directory import box

ANY = BlockList("bl.example", "bl")
SOME = BlockList("bl.example", "bl", answers=(AddressRange(IPv4Address("127.0.0.2"), IPv4Address("127.0.0.11")),))


def codes(*texts):
    return tuple(ipaddress.ip_address(text) for text in texts)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.7", "7.2.0.192.bl.example"),
        ("2001:db8::1", "1." + "0." * 23 + "8.b.d.0.1.0.0.2.bl.example"),
    ],
)
def test_an_address_is_asked_about_backwards(address, name):
    assert client_name(ipaddress.ip_address(address), "bl.example") == name


@pytest.mark.parametrize(
    ("domain", "name"),
    [
        ("Shop.Example", "shop.example.dbl.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example.dbl.example"),
        ("", None),
        ("localhost", None),
        ("192.0.2.7", None),
        ("[192.0.2.7]", None),
        ("a..b", None),
        ("a b.example", None),
        ("bücher.example", None),
        (("a" * 60 + ".") * 4 + "example", None),
        ("a" * 64 + ".example", None),
    ],
)
def test_only_a_domain_is_asked_about_as_one(domain, name):
    assert domain_name(domain, "dbl.example") == name


@pytest.mark.parametrize(
    ("answer", "any_counts", "some_counts", "is_wrong"),
    [
        (codes("127.0.0.2"), True, True, False),
        (codes("127.0.0.11", "127.0.0.10"), True, True, False),
        (codes("127.0.0.12"), True, False, False),
        (codes("127.0.0.12", "127.0.0.4"), True, True, False),
        (codes("127.0.1.2"), True, False, False),
        # What says that something is wrong with the question.
        (codes("127.255.255.252"), False, False, True),
        (codes("127.255.255.254"), False, False, True),
        (codes("127.0.1.255"), False, False, True),
        (codes("127.0.0.1"), False, False, True),
        # A dead list whose name was bought.
        (codes("203.0.113.9"), False, False, True),
        (codes("2001:db8::1"), False, False, True),
        (NoSuchName(), False, False, False),
        (NoRecords(), False, False, False),
        (CannotTell("REFUSED"), False, False, False),
        ((), False, False, False),
        # Thousands of records: the first few are looked at.
        (codes(*(["127.0.0.12"] * 5000), "127.0.0.2"), True, False, False),
    ],
)
def test_which_answers_count(answer, any_counts, some_counts, is_wrong):
    assert is_listed(ANY, answer) is any_counts
    assert is_listed(SOME, answer) is some_counts
    assert bool(what_is_wrong(answer)) is is_wrong


@pytest.mark.parametrize(
    ("address", "is_asked"),
    [
        ("192.0.2.7", True),
        ("2001:db8::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("10.1.2.3", False),
        ("172.31.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.1.1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("198.51.100.9", False),  # exempt
    ],
)
def test_who_is_asked_about(address, is_asked):
    exempt = (ipaddress.ip_network("198.51.100.0/24"),)
    assert is_stranger_to_lists(peer_from(address, 1), exempt, asks_inside=False) is is_asked
    assert is_stranger_to_lists(peer_from(address, 1), exempt, asks_inside=True) is (address != "198.51.100.9")


def test_weights_add_up_and_good_ones_take_away():
    hits = tuple(Hit(BlockList(f"{weight}.example", f"w{weight}", weight), "192.0.2.7") for weight in (1, 3, -2))
    listing = Listing(hits)
    assert listing.weight == 2
    assert [hit.listed_by.name for hit in listing.against] == ["w3", "w1"]
    assert [str(hit) for hit in hits] == ["w1 192.0.2.7 +1", "w3 192.0.2.7 +3", "w-2 192.0.2.7 -2"]


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        ((), ""),
        (("See https://bl.example/?ip=192.0.2.7",), "See https://bl.example/?ip=192.0.2.7"),
        (("a\r\n250 Ok\r\n",), "a 250 Ok"),
        (("\x1b[31mred\x00\xff\u2028",), "?[31mred???"),
        (("x" * 10_000,), "x" * 200),
        (("  a   b ", "second"), "a b"),
    ],
)
def test_a_lists_own_words_are_one_harmless_line(texts, shown):
    assert explanation_of(texts) == shown


def test_what_no_list_may_hold():
    assert ANY.test_name == "1.0.0.127.bl.example"
    assert BlockList("dbl.example", "dbl", looks_at=LooksAt.DOMAIN).test_name == "invalid.dbl.example"


@pytest.mark.parametrize(
    ("address", "is_reachable"),
    [
        ("postmaster@a.example", True),
        ("Abuse@a.example", True),
        ("alice@a.example", False),
        ("abuse.x@a.example", False),
    ],
)
def test_who_is_always_reachable(address, is_reachable):
    assert is_always_reachable(box(address)) is is_reachable
