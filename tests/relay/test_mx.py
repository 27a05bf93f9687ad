"""Which hosts and addresses are tried, in which order, and when there is nothing to try."""

import random
from ipaddress import ip_address

import pytest

from mailserver.mail.dns import CannotTell, MxRecord, NoRecords, NoSuchName
from mailserver.mail.outcome import Bounced, Deferred, Stage
from mailserver.mail.route import AddressFamily
from mailserver.relay.mx import (
    MxHost,
    MxRules,
    Target,
    fixed_targets,
    hosts_for,
    literal_address,
    literal_plan,
    own_addresses,
    plan,
)

DOMAIN = "example.net"
V4, V4B, V6, V6B = map(ip_address, ("198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"))


def names(hosts):
    return [host.name for host in hosts]


def mx(*records):
    return tuple(MxRecord(*record) for record in records)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (mx((20, "b"), (10, "a"), (30, "c")), ["a", "b", "c"]),
        (mx((10, "a"), (20, "a")), ["a"]),  # named twice: the better place
        (mx((0, ""), (10, "a")), ["a"]),  # RFC 7505 3 forbids a null MX beside others
        (mx((65535, "a"), (0, "b")), ["b", "a"]),
        (NoRecords(), [DOMAIN]),  # RFC 5321 5.1: the implicit MX
    ],
)
def test_hosts_come_in_order_of_preference(answer, expected):
    assert names(hosts_for(DOMAIN, answer, random.Random(1), 10)) == expected


@pytest.mark.parametrize(
    ("answer", "kind", "enhanced"),
    [
        (NoSuchName(), Bounced, "5.1.2"),
        (mx((0, "")), Bounced, "5.1.10"),
        (mx((10, "")), Bounced, "5.1.10"),
        (CannotTell("SERVFAIL"), Deferred, None),
        (CannotTell("no answer"), Deferred, None),
    ],
)
def test_what_dns_says_may_be_the_end_of_it(answer, kind, enhanced):
    verdict = hosts_for(DOMAIN, answer, random.Random(1), 10)
    assert isinstance(verdict, kind)
    assert verdict.stage is Stage.DNS
    assert getattr(verdict, "enhanced", None) == enhanced


def test_hosts_of_equal_preference_are_shuffled_and_others_are_not():
    answer = mx(*((10, f"a{n}") for n in range(5)), *((20, f"b{n}") for n in range(5)))
    orders = {tuple(names(hosts_for(DOMAIN, answer, random.Random(seed), 10))) for seed in range(20)}
    assert len(orders) > 10
    assert all(order[:5] == tuple(sorted(order[:5], key=order.index)) and order[4][0] == "a" for order in orders)
    assert all({name[0] for name in order[:5]} == {"a"} for order in orders)


def test_the_number_of_hosts_is_bounded():
    answer = mx(*((n, f"mx{n}") for n in range(500)))
    assert names(hosts_for(DOMAIN, answer, random.Random(1), 10)) == [f"mx{n}" for n in range(10)]


def made(hosts, addresses, **rules):
    return plan(DOMAIN, [MxHost(*host) for host in hosts], addresses, MxRules(**rules), random.Random(1))


def shown(result):
    return [(target.host, str(target.address)) for target in result.targets]


TWO = (("a", 10), ("b", 20))


@pytest.mark.parametrize(
    ("hosts", "addresses", "rules", "expected"),
    [
        (TWO, {"a": (V4,), "b": (V4B,)}, {}, [("a", str(V4)), ("b", str(V4B))]),
        # A host without address is passed over.
        (TWO, {"a": NoSuchName(), "b": (V4B,)}, {}, [("b", str(V4B))]),
        (TWO, {"a": NoRecords(), "b": (V4B,)}, {}, [("b", str(V4B))]),
        (TWO, {"a": CannotTell("x"), "b": (V4B,)}, {}, [("b", str(V4B))]),
        # Families.
        ((("a", 1),), {"a": (V4, V6)}, {}, [("a", str(V6)), ("a", str(V4))]),
        ((("a", 1),), {"a": (V4, V6)}, {"family": AddressFamily.IPV4}, [("a", str(V4))]),
        ((("a", 1),), {"a": (V4, V6)}, {"family": AddressFamily.IPV6}, [("a", str(V6))]),
        # Ourselves, by name and by address, with all that come after (RFC 5321 5.1).
        (TWO, {"a": (V4,), "b": (V4B,)}, {"own_names": frozenset({"b"})}, [("a", str(V4))]),
        (TWO, {"a": (V4,), "b": (V4B,)}, {"own_addresses": frozenset({V4B})}, [("a", str(V4))]),
        ((("a", 1), ("b", 2), ("c", 2), ("d", 3)), {"a": (V4,), "b": (V4B,), "c": (V4,), "d": (V4,)},
         {"own_names": frozenset({"c"})}, [("a", str(V4))]),
        (TWO, {"a": (V4,), "b": (ip_address(f"::ffff:{V4B}"),)}, {"own_addresses": frozenset({V4B})}, [("a", str(V4))]),
        # Another loopback address than ours is not us.
        ((("a", 1),), {"a": (ip_address("127.0.0.3"),)},
         {"own_addresses": frozenset({ip_address("127.0.0.1")}), "allow_private": True}, [("a", "127.0.0.3")]),
        # Private ranges.
        (TWO, {"a": (ip_address("10.0.0.1"),), "b": (V4B,)}, {}, [("b", str(V4B))]),
        ((("a", 1),), {"a": (ip_address("10.0.0.1"), V4)}, {}, [("a", str(V4))]),
        ((("a", 1),), {"a": (ip_address("10.0.0.1"),)}, {"allow_private": True}, [("a", "10.0.0.1")]),
        # A mapped address is dialed as what it is.
        ((("a", 1),), {"a": (ip_address(f"::ffff:{V4}"),)}, {}, [("a", str(V4))]),
        ((("a", 1),), {"a": (V4, V4)}, {}, [("a", str(V4))]),
    ],
)  # fmt: skip
def test_targets(hosts, addresses, rules, expected):
    assert shown(made(hosts, addresses, **rules)) == expected


@pytest.mark.parametrize(
    ("hosts", "addresses", "rules", "kind", "enhanced"),
    [
        (TWO, {"a": (V4,), "b": (V4B,)}, {"own_names": frozenset({"a"})}, Bounced, "5.4.6"),
        (TWO, {"a": (V4,), "b": (V4B,)}, {"own_addresses": frozenset({V4})}, Bounced, "5.4.6"),
        (TWO, {"a": NoSuchName(), "b": NoRecords()}, {}, Bounced, "5.4.4"),
        (TWO, {"a": NoSuchName(), "b": CannotTell("SERVFAIL")}, {}, Deferred, None),
        (((DOMAIN, 0),), {DOMAIN: NoRecords()}, {}, Bounced, "5.1.2"),
        (((DOMAIN, 0),), {DOMAIN: NoSuchName()}, {}, Bounced, "5.1.2"),
        (((DOMAIN, 0),), {DOMAIN: CannotTell("x")}, {}, Deferred, None),
        (((DOMAIN, 0),), {DOMAIN: (V4,)}, {"own_addresses": frozenset({V4})}, Bounced, "5.4.6"),
        ((("a", 1),), {"a": (ip_address("127.0.0.1"),)}, {}, Bounced, "5.4.4"),
        ((("a", 1),), {"a": (ip_address("224.0.0.1"),)}, {"allow_private": True}, Bounced, "5.4.4"),
        ((("a", 1),), {"a": (ip_address("0.0.0.0"),)}, {"allow_private": True}, Bounced, "5.4.4"),
        # Only our own setting stands in the way: not the domain's fault, so not final.
        ((("a", 1),), {"a": (V6,)}, {"family": AddressFamily.IPV4}, Deferred, None),
    ],
)
def test_nothing_to_try(hosts, addresses, rules, kind, enhanced):
    result = made(hosts, addresses, **rules)
    assert not result.targets
    assert isinstance(result.verdict, kind)
    assert getattr(result.verdict, "enhanced", None) == enhanced


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1", "100.64.0.1",
     "0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1",
     "::ffff:127.0.0.1", "::ffff:10.0.0.1", "192.0.0.8", "198.18.0.1",
     "64:ff9b::127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1"],  # what gateways make IPv4 of
)  # fmt: skip
def test_addresses_that_no_host_of_the_internet_has_are_refused(text):
    assert not made((("a", 1),), {"a": (ip_address(text),)}).targets


def test_the_families_take_turns_and_the_number_is_bounded():
    six = tuple(ip_address(f"2001:db8::{n:x}") for n in range(1, 40))
    four = tuple(ip_address(f"198.51.100.{n}") for n in range(1, 40))
    result = made((("a", 1),), {"a": six + four})
    assert [target.address.version for target in result.targets] == [6, 4] * 5


@pytest.mark.parametrize(
    ("domain", "rules", "expected"),
    [
        ("[198.51.100.1]", {}, [("[198.51.100.1]", "198.51.100.1")]),
        ("[IPv6:2001:db8::1]", {}, [("[IPv6:2001:db8::1]", "2001:db8::1")]),
        ("[127.0.0.1]", {"allow_private": True}, [("[127.0.0.1]", "127.0.0.1")]),
        ("[127.0.0.1]", {}, "5.4.4"),
        ("[198.51.100.1]", {"own_addresses": frozenset({V4})}, "5.4.6"),
    ],
)
def test_address_literals_need_no_dns(domain, rules, expected):
    result = literal_plan(domain, MxRules(**rules))
    assert (shown(result) or result.verdict.enhanced) == expected


def test_what_is_a_literal():
    assert literal_address("example.net") is None
    assert literal_address("[192.0.2.1]") == ip_address("192.0.2.1")


def test_a_fixed_host_may_be_private_and_is_dialed_by_name_if_dns_does_not_know_it():
    rules, rng = MxRules(own_addresses=frozenset({ip_address("127.0.0.1")})), random.Random(1)
    assert fixed_targets("h", (ip_address("127.0.0.1"),), rules, rng) == (Target("h", ip_address("127.0.0.1")),)
    assert fixed_targets("localhost", NoSuchName(), rules, rng) == (Target("localhost", None),)
    assert fixed_targets("h", CannotTell("x"), rules, rng) == (Target("h", None),)


def test_a_target_is_shown_with_name_and_address():
    assert str(Target("mx", V4)) == "mx[198.51.100.1]"
    assert str(Target("localhost", None)) == "localhost"
    assert str(Target("[198.51.100.1]", V4)) == "[198.51.100.1]"
    assert str(Target("198.51.100.1", V4)) == "198.51.100.1"


@pytest.mark.parametrize(
    ("listening", "port", "allow_private", "expected"),
    [
        ([("198.51.100.1", 25)], 25, False, {"198.51.100.1"}),
        ([("198.51.100.1", 2525)], 25, False, {"198.51.100.1"}),  # port 25 is forwarded to it
        ([("198.51.100.1", 2525)], 25, True, {"198.51.100.1"}),
        ([("10.0.0.5", 2525), ("2001:db8::1", 25)], 25, True, {"10.0.0.5", "2001:db8::1"}),
        ([("::ffff:198.51.100.1", 25)], 25, False, {"198.51.100.1"}),
        ([("0.0.0.0", 25), ("::", 25)], 25, False, set()),  # everywhere says nothing
        ([("127.0.0.1", 25)], 25, False, {"127.0.0.1"}),
        ([("127.0.0.1", 2525)], 25, False, {"127.0.0.1"}),
        ([("127.0.0.1", 25)], 25, True, {"127.0.0.1"}),  # a lab, and it would be this very listener
        ([("127.0.0.1", 2525)], 25, True, set()),  # a lab: another server answers on port 25
        ([("::1", 2525), ("127.0.0.2", 25)], 25, True, {"127.0.0.2"}),
    ],
)
def test_which_addresses_are_ours(listening, port, allow_private, expected):
    pairs = [(ip_address(address), at) for address, at in listening]
    ours = own_addresses(pairs, port=port, allow_private=allow_private)
    assert ours == {ip_address(address) for address in expected}


def test_all_hosts_are_tried_beyond_the_tenth_and_each_gets_its_turn():
    records = mx(*((number, f"mx{number}.test") for number in range(30)))
    hosts = hosts_for(DOMAIN, records, random.Random(1), MxRules().max_hosts)
    assert [host.name for host in hosts] == [f"mx{number}.test" for number in range(30)]
    many = {host.name: tuple(ip_address(f"198.51.{n}.{k}") for k in range(1, 90)) for n, host in enumerate(hosts)}
    tried = plan(DOMAIN, hosts[:5], many, MxRules(), random.Random(1)).targets
    assert [target.host for target in tried] == [host.name for host in hosts[:5] for _ in range(10)]


def test_ipv4_first_is_within_each_host():
    hosts = (MxHost("a.test", 10), MxHost("b.test", 20))
    addresses = {
        "a.test": (ip_address("2001:db8::1"), ip_address("198.51.100.1")),
        "b.test": (ip_address("2001:db8::2"),),
    }
    targets = plan(DOMAIN, hosts, addresses, MxRules(is_ipv4_first=True), random.Random(1)).targets
    assert [str(target.address) for target in targets] == ["198.51.100.1", "2001:db8::1", "2001:db8::2"]
