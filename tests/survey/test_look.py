"""The survey over a made-up machine and world."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from mailserver.mail.dns import CannotTell
from mailserver.survey.doors import Page
from mailserver.survey.look import DNS_S, behind_what, look, public_addresses
from mailserver.survey.values import Behind, BlockList, Marks, Port25, TakenPort, Wishes
from tests.fakes.awaiting import run, start
from tests.fakes.clock import EPOCH, FakeClock
from tests.fakes.stream import BREAK, EOF, SILENCE
from tests.fakes.world import FakeMachine, WorldResolver, ip, world

HOST = "mail.example.org"
V4, V6, OTHER = "203.0.114.7", "2a00:1:2::25", "203.0.114.99"
DAY6 = "2a00:1:2::aaaa:bbbb"
WISHES = Wishes(HOST)
PUBLIC = FakeMachine(addresses=("127.0.0.1", V4, "::1", V6, "fe80::1"), sources=(V4, V6))


def named(**more):
    tables = {"addresses": {HOST: [V4, V6]}, "pointers": {V4: [HOST], V6: [HOST]}, **more}
    return WorldResolver(**tables)


def test_a_server_with_all_names_right():
    found = run(look(world(machine=PUBLIC, resolver=named()), WISHES))
    assert [one.address for one in found.addresses] == [ip(V4), ip(V6)]
    assert all(one.is_on_this_machine and one.is_confirmed and one.matches_hostname for one in found.addresses)
    assert found.behind is Behind.NOTHING
    assert found.hostname_addresses == (ip(V4), ip(V6))
    assert (found.hostname_trouble, found.notes, found.is_told_outside) == ("", (), False)
    assert found.address(6).address == ip(V6)


def test_where_mail_is_configured_to_come_from_counts_and_not_what_the_kernel_would_take():
    machine = FakeMachine((V4, OTHER, V6), (V4, DAY6))
    found = run(look(world(machine=machine, resolver=named()), WISHES))
    assert [str(one.address) for one in found.addresses] == [V4, DAY6, V6]
    assert found.address(6).is_on_this_machine
    found = run(look(world(machine=machine, resolver=named()), replace(WISHES, sources=(ip(OTHER), ip(V6)))))
    assert [str(one.address) for one in found.addresses] == [OTHER, V4, V6]


@pytest.mark.parametrize(
    ("names", "forward", "is_confirmed", "matches"),
    [
        pytest.param([], {}, False, False, id="none"),
        pytest.param(["host-7.isp.example"], {}, False, False, id="a name that does not exist"),
        pytest.param(["host-7.isp.example"], {"host-7.isp.example": [V4]}, True, False, id="the provider's, right"),
        pytest.param(["host-7.isp.example"], {"host-7.isp.example": [OTHER]}, False, False, id="leads elsewhere"),
        pytest.param(["a.example", HOST], {}, True, True, id="one of two"),
        pytest.param(["MAIL.example.org"], {"MAIL.example.org": [V4]}, True, True, id="another case"),
    ],
)
def test_a_reverse_name_counts_when_it_leads_back(names, forward, is_confirmed, matches):
    resolver = WorldResolver(addresses={HOST: [V4], **forward}, pointers={V4: names} if names else {})
    (one,) = run(look(world(machine=FakeMachine(("127.0.0.1", V4), (V4,)), resolver=resolver), WISHES)).addresses
    assert (one.reverse_names, one.is_confirmed, one.matches_hostname) == (tuple(names), is_confirmed, matches)


def test_a_reverse_name_that_cannot_be_looked_up_is_not_missing():
    resolver = named(pointers={V4: CannotTell("SERVFAIL"), V6: [HOST]})
    found = run(look(world(machine=PUBLIC, resolver=resolver), WISHES))
    assert (found.address(4).reverse_trouble, found.address(6).reverse_trouble) == ("SERVFAIL", "")


def test_a_reverse_name_whose_addresses_cannot_be_looked_up_is_not_called_wrong():
    resolver = WorldResolver(addresses={HOST: CannotTell("SERVFAIL")}, pointers={V4: [HOST, "other.example"]})
    (one,) = run(look(world(machine=FakeMachine(("127.0.0.1", V4), (V4,)), resolver=resolver), WISHES)).addresses
    assert (one.is_confirmed, one.reverse_trouble) == (False, "SERVFAIL")


@pytest.mark.parametrize(
    ("own", "sources", "behind"),
    [
        ((V4,), (V4,), Behind.NOTHING),
        (("192.168.1.7",), ("192.168.1.7",), Behind.NAT),
        (("100.64.3.4",), ("100.64.3.4",), Behind.CARRIER_NAT),
        (("100.128.0.1",), ("100.128.0.1",), Behind.NOTHING),
        # A machine with a public and a private interface is not behind anything.
        ((V4, "10.0.0.2"), ("10.0.0.2",), Behind.NOTHING),
        ((V6,), (V6,), Behind.NOTHING),
        (("127.0.0.1",), (), Behind.NOTHING),
        # Without a route, what is on the interfaces tells.
        (("10.0.0.2",), (), Behind.NAT),
    ],
)
def test_what_stands_before_ipv4(own, sources, behind):
    assert behind_what(map(ip, own), map(ip, sources)) is behind


@pytest.mark.parametrize(
    ("told", "own", "sources", "names", "outside", "expected"),
    [
        pytest.param([], [V4, V6], [V4, V6], [], None, [V4, V6], id="where it sends from"),
        pytest.param([], [V4, OTHER], [V4], [OTHER], None, [V4, OTHER], id="and what it is called"),
        pytest.param([], [V4, OTHER], [], [], None, [V4, OTHER], id="all, without a route"),
        pytest.param([], [V4], [V4], [OTHER], None, [V4], id="a name that leads elsewhere is not ours"),
        pytest.param([], ["10.0.0.2"], ["10.0.0.2"], [V4], None, [V4], id="behind NAT: what DNS says"),
        pytest.param([], ["10.0.0.2"], ["10.0.0.2"], [V4], OTHER, [OTHER], id="or what a helper told"),
        pytest.param([], ["10.0.0.2"], ["10.0.0.2"], ["192.168.1.1"], None, [], id="never a private one"),
        pytest.param([OTHER], [V4, V6], [V4, V6], [], None, [OTHER, V6], id="the operator knows best, by family"),
        pytest.param(["127.0.0.1"], ["127.0.0.1"], [], [], None, ["127.0.0.1"], id="in a lab"),
        pytest.param([V6, V4], [], [], [], None, [V4, V6], id="IPv4 first"),
        pytest.param(
            [], [V4, V6], [V4, DAY6], [V6], None, [V4, DAY6, V6], id="an address for a day that mail comes from"
        ),
    ],
)
def test_which_addresses_are_public(told, own, sources, names, outside, expected):
    found = public_addresses(
        map(ip, told), map(ip, own), list(map(ip, sources)), list(map(ip, names)), ip(outside) if outside else None
    )
    assert list(map(str, found)) == expected


def test_behind_nat_a_helper_is_asked_only_when_it_is_named():
    machine = FakeMachine(("127.0.0.1", "192.168.1.7"), ("192.168.1.7",))
    doors = world(machine=machine, pages={"https://ip.example/": Page(f" {V4}\n")})
    found = run(look(doors, WISHES))
    assert (found.addresses, found.is_told_outside, doors.web.asked) == ((), False, [])
    assert found.notes == ("the IPv4 address that the world sees cannot be told from here",)
    found = run(look(doors, replace(WISHES, ask_url="https://ip.example/")))
    assert [one.address for one in found.addresses] == [ip(V4)]
    assert (found.is_told_outside, found.address(4).is_on_this_machine, found.notes) == (True, False, ())


@pytest.mark.parametrize("page", ["no answer within 10 s", Page("<html>")])
def test_a_helper_that_does_not_tell_is_noted(page):
    machine = FakeMachine(("127.0.0.1", "192.168.1.7"), ("192.168.1.7",))
    doors = world(machine=machine, pages={"https://ip.example/": page})
    found = run(look(doors, replace(WISHES, ask_url="https://ip.example/")))
    assert found.addresses == ()
    assert found.notes[0].startswith("https://ip.example/ did not tell the address that the world sees: ")


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        ({HOST: CannotTell("SERVFAIL")}, f"DNS could not tell the addresses of {HOST}: SERVFAIL"),
        ({}, f"DNS does not know {HOST}"),
        ({HOST: []}, f"DNS knows no address of {HOST}"),
    ],
)
def test_a_host_name_without_addresses(answer, trouble):
    found = run(look(world(resolver=WorldResolver(addresses=answer)), WISHES))
    assert (found.hostname_addresses, found.hostname_trouble) == ((), trouble)


def test_lists_tell_abuse_from_home_connections_and_errors_from_listings():
    lists = (
        BlockList("zen.example", special=(("127.0.0.10", Marks.RESIDENTIAL),)),
        BlockList("bl.example"),
        BlockList("clean.example"),
        BlockList("refuses.example"),
        BlockList("down.example"),
        BlockList("parked.example"),
    )
    answers = {
        "7.114.0.203.zen.example": ["127.0.0.10"],
        "7.114.0.203.bl.example": ["127.0.0.2"],
        "7.114.0.203.refuses.example": ["127.255.255.254"],
        "7.114.0.203.down.example": CannotTell("no answer"),
        # Somebody has bought the domain and answers everything.
        "7.114.0.203.parked.example": ["198.51.100.1"],
    }
    resolver = WorldResolver(addresses=answers)
    machine = FakeMachine((V4,), (V4,))
    (one,) = run(look(world(machine=machine, resolver=resolver), replace(WISHES, lists=lists))).addresses
    assert one.listed_on == ("bl.example",)
    assert one.residential_on == ("zen.example",)
    assert one.unanswered_lists == ("refuses.example", "down.example", "parked.example")


def test_an_ipv6_address_is_asked_for_nibble_by_nibble():
    resolver = WorldResolver(addresses={})
    machine = FakeMachine((V6,), (V6,))
    run(look(world(machine=machine, resolver=resolver), replace(WISHES, lists=(BlockList("bl.example"),))))
    assert ("A", "5.2.0.0" + ".0" * 16 + ".2.0.0.0.1.0.0.0.0.0.a.2.bl.example") in resolver.questions


def test_the_first_name_server_that_validates_is_told():
    servers = (("192.0.2.53", 53), ("127.0.0.1", 53), ("::1", 53))
    wishes = replace(WISHES, name_servers=servers)
    assert run(look(world(validating=servers[1:]), wishes)).validating_resolver == ("127.0.0.1", 53)
    assert run(look(world(), wishes)).validating_resolver is None


def test_taken_ports_are_told():
    machine = FakeMachine(taken=(TakenPort(25, "exim4 (process 812)"), TakenPort(80)))
    assert run(look(world(machine=machine), replace(WISHES, ports=(25, 110)))).taken == (machine.taken[0],)


# --- port 25 ----------------------------------------------------------------------------------------------------------

MX4, MX6 = "203.0.114.25", "2a00:3::25"


def outward(hosts, *, sources=(V4,), domains=("big.example",), addresses=(MX4, MX6), mx=None):
    resolver = WorldResolver(
        mx={"big.example": mx or [(20, "b.big.example"), (10, "a.big.example")]},
        addresses={"a.big.example": list(addresses)},
    )
    doors = world(machine=FakeMachine(sources, sources), resolver=resolver, hosts=hosts)
    wishes = replace(WISHES, port25_domains=domains)
    return run(look(doors, wishes)).outward, doors.dialer


@pytest.mark.parametrize(
    ("connection", "state", "words"),
    [
        ((b"220 mx\r\n", EOF), Port25.OPEN, "220 mx"),
        ((b"22", b"0 mx ready\r\n", EOF), Port25.OPEN, "220 mx ready"),
        # Who refuses us in words has been reached.
        ((b"554 5.7.1 you are on a list\r\n", EOF), Port25.OPEN, "554 5.7.1 you are on a list"),
        ((EOF,), Port25.BLOCKED, "it took the connection and did not greet"),
        ((BREAK,), Port25.BLOCKED, "it took the connection and did not greet"),
        ("no connection within 10 s", Port25.BLOCKED, "no connection within 10 s"),
    ],
)
def test_port_25_is_open_when_somebody_greets(connection, state, words):
    found, dialer = outward({MX4: [connection]})
    assert (found.ipv4, found.ipv6, found.port25) == (state, Port25.UNKNOWN, state)
    assert found.words == (f"a.big.example[{MX4}]: {words}",)
    assert dialer.dialed == [(MX4, 25)]
    assert all(stream.ending for stream in dialer.streams)


def test_each_family_with_a_way_out_is_tried():
    found, dialer = outward({MX4: [(b"220 mx\r\n", EOF)], MX6: ["no route"]}, sources=(V4, V6))
    assert (found.ipv4, found.ipv6, found.port25) == (Port25.OPEN, Port25.BLOCKED, Port25.OPEN)
    assert dialer.dialed == [(MX4, 25), (MX6, 25)]


def test_nobody_is_dialed_unless_a_domain_is_named():
    found, dialer = outward({MX4: [(b"220 mx\r\n", EOF)]}, domains=())
    assert (found.port25, found.words, dialer.dialed) == (Port25.UNKNOWN, (), [])


def test_a_domain_that_cannot_be_looked_up_says_nothing_about_port_25():
    found, _ = outward({}, mx=CannotTell("no answer"))
    assert (found.port25, found.words) == (Port25.UNKNOWN, ("big.example: its mail hosts could not be looked up",))


def test_a_host_without_ipv6_says_nothing_about_ipv6():
    found, _ = outward({MX4: [(b"220 mx\r\n", EOF)]}, sources=(V4, V6), addresses=(MX4,))
    assert (found.ipv4, found.ipv6, len(found.words)) == (Port25.OPEN, Port25.UNKNOWN, 1)


def test_a_silent_host_is_waited_for_a_bounded_time():
    clock = FakeClock()
    resolver = WorldResolver(addresses={"big.example": [MX4]})
    doors = world(machine=FakeMachine((V4,), (V4,)), resolver=resolver, hosts={MX4: [(SILENCE,)]}, clock=clock)
    resolver.mx_table = {}
    looking = start(look(doors, replace(WISHES, port25_domains=("big.example",))))
    clock.advance(60)
    assert looking.called
    assert looking.result.outward.ipv4 is Port25.BLOCKED


# --- the clock --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_kept", "page", "is_right", "words"),
    [
        (True, None, True, "a time service keeps it right"),
        (False, None, None, "no time service keeps it right"),
        (None, None, None, "nothing here says whether it is right"),
        (False, Page("", EPOCH + 20), True, "it agrees with http://t.example/; no time service keeps it right"),
        (True, Page("", EPOCH - 7200), False, "it is 2 hours ahead"),
        (True, Page("", EPOCH + 300), False, "it is 5 minutes behind"),
        (True, Page("", EPOCH + 4 * 86400), False, "it is 4 days behind"),
        (None, Page(""), None, "http://t.example/ does not say how late it is"),
        (None, "no answer within 10 s", None, "http://t.example/ could not be asked: no answer within 10 s"),
    ],
)
def test_the_clock(is_kept, page, is_right, words):
    url = "http://t.example/"
    doors = world(machine=FakeMachine(is_kept=is_kept), pages={url: page} if page else {})
    found = run(look(doors, replace(WISHES, clock_url=url if page else ""))).time
    assert (found.is_right, found.words, found.is_kept) == (is_right, words, is_kept)


# --- time -------------------------------------------------------------------------------------------------------------


class SilentResolver(WorldResolver):
    async def addresses(self, host, *, ipv4=True, ipv6=True):
        return await Deferred()

    async def pointer(self, address):
        return await Deferred()


def test_silent_name_servers_cost_a_bounded_time_and_nothing_is_called_wrong():
    clock = FakeClock()
    doors = world(machine=PUBLIC, resolver=SilentResolver(), clock=clock)
    looking = start(look(doors, replace(WISHES, lists=(BlockList("bl.example"),))))
    assert not looking.called
    for _ in range(4):
        clock.advance(DNS_S)
    found = looking.result
    assert found.hostname_trouble == f"DNS could not tell the addresses of {HOST}: no answer in time"
    assert [one.reverse_trouble for one in found.addresses] == ["no answer in time"] * 2
    assert [one.unanswered_lists for one in found.addresses] == [("bl.example",)] * 2
