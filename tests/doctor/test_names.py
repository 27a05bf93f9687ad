"""How the world sees the machine: each check with what passes, warns, fails and cannot be known."""

from dataclasses import replace

import pytest

from mailserver.doctor.check import Verdict
from mailserver.doctor.names import (
    check_clock,
    check_hostname,
    check_lists,
    check_names,
    check_port25,
    check_resolver,
)
from mailserver.survey.values import Behind, Outward, Port25, PublicAddress, Survey, Time
from tests.doctor.configs import plain
from tests.fakes.world import ip

PASS, WARN, FAIL, UNKNOWN, SKIP = Verdict
HOST = "mail.example.org"
V4, V6, OTHER = "203.0.114.7", "2a00:1:2::25", "203.0.114.99"
SMART = '[relay]\nsmarthost = "smtp.isp.example:587"\n'
ONLY4 = '[relay]\naddress_family = "ipv4"\n'


def good(address, **more):
    return PublicAddress(ip(address), True, (HOST,), True, True, **more)


BASE = Survey(
    addresses=(good(V4), good(V6)),
    private=(),
    behind=Behind.NOTHING,
    hostname_addresses=(ip(V4), ip(V6)),
    hostname_trouble="",
    validating_resolver=("127.0.0.1", 53),
    outward=Outward(Port25.OPEN, Port25.OPEN, ("mx.example.net[203.0.114.1]: 220 mx",)),
    taken=(),
    time=Time(True, "a time service keeps it right", True),
)


def one(checks):
    """The worst of them, with all told apart."""
    found = list(checks)
    assert len({check.key for check in found}) == len(found), "each finding has a key of its own"
    for check in found:
        assert "\n" not in check.finding + check.remedy
        assert check.remedy or check.verdict in (PASS, SKIP, UNKNOWN), check
    order = [FAIL, WARN, UNKNOWN, PASS, SKIP]
    return min(found, key=lambda check: order.index(check.verdict))


@pytest.mark.parametrize(
    ("about", "verdict", "words"),
    [
        pytest.param({}, PASS, "leads here: 203.0.114.7, 2a00:1:2::25", id="right"),
        pytest.param({"hostname_addresses": (ip(V4),)}, PASS, "leads here", id="one family is enough"),
        pytest.param(
            {"hostname_addresses": (), "hostname_trouble": f"DNS does not know {HOST}"},
            FAIL,
            "does not know",
            id="none",
        ),
        pytest.param(
            {"hostname_addresses": (), "hostname_trouble": f"DNS could not tell the addresses of {HOST}: SERVFAIL"},
            UNKNOWN,
            "SERVFAIL",
            id="cannot tell",
        ),
        pytest.param(
            {"hostname_addresses": (ip(OTHER),)}, FAIL, f"leads to {OTHER}, and this machine is", id="elsewhere"
        ),
        pytest.param(
            {"hostname_addresses": (ip(V4), ip(OTHER))}, FAIL, f"leads to {OTHER} too", id="elsewhere as well"
        ),
        pytest.param({"addresses": ()}, UNKNOWN, "cannot be told from here", id="no address is known"),
        pytest.param(
            {"addresses": (good(V4),), "hostname_addresses": (ip(V4),), "behind": Behind.NAT},
            UNKNOWN,
            "whether that is this network cannot be told",
            id="behind NAT, by DNS alone",
        ),
        pytest.param(
            {"addresses": (good(V4),), "hostname_addresses": (ip(V4),), "behind": Behind.NAT, "is_told_outside": True},
            PASS,
            "leads here",
            id="behind NAT, and told",
        ),
        pytest.param({"addresses": (good(V4),)}, FAIL, f"leads to {V6} too", id="an AAAA of a machine without IPv6"),
    ],
)
def test_the_host_name_leads_here(about, verdict, words):
    found = one(check_hostname(plain(), replace(BASE, **about)))
    assert (found.verdict, words in found.finding) == (verdict, True), found


NAMELESS6 = PublicAddress(ip(V6), True)
ISP = PublicAddress(ip(V4), True, ("host-7.isp.example",), True)


@pytest.mark.parametrize(
    ("text", "addresses", "verdict", "words"),
    [
        pytest.param("", (good(V4), good(V6)), PASS, "lead to each other", id="right"),
        pytest.param("", (ISP,), WARN, "is called host-7.isp.example, which leads back to it", id="another name"),
        pytest.param('[relay]\nhelo = "host-7.isp.example"\n', (ISP,), PASS, "lead to each other", id="as it is said"),
        pytest.param("", (replace(ISP, is_confirmed=False),), FAIL, "that name does not lead back", id="a lie"),
        pytest.param("", (PublicAddress(ip(V4), True),), FAIL, "has no reverse name", id="none"),
        pytest.param("", (good(V4), NAMELESS6), FAIL, f"{V6} has no reverse name", id="none by IPv6"),
        pytest.param(ONLY4, (good(V4), NAMELESS6), PASS, "lead to each other", id="none by IPv6, which is off"),
        pytest.param(SMART, (PublicAddress(ip(V4), True),), PASS, "nothing is sent by IPv4", id="behind a smarthost"),
        pytest.param(
            "", (PublicAddress(ip(V4), True, reverse_trouble="SERVFAIL"),), UNKNOWN, "SERVFAIL", id="cannot tell"
        ),
        pytest.param("", (), UNKNOWN, "public address is not known", id="no address"),
    ],
)
def test_addresses_have_names(text, addresses, verdict, words):
    found = one(check_names(plain(text), replace(BASE, addresses=addresses)))
    if verdict is PASS:
        found = next(iter(check_names(plain(text), replace(BASE, addresses=addresses))))
    assert (found.verdict, words in found.finding) == (verdict, True), found


def test_the_remedy_for_ipv6_without_a_name_is_to_leave_it():
    found = one(check_names(plain(), replace(BASE, addresses=(NAMELESS6,))))
    assert 'relay.address_family = "ipv4"' in found.remedy


ALL = ("zen.spamhaus.org", "bl.spamcop.net", "psbl.surriel.com")


@pytest.mark.parametrize(
    ("text", "about", "verdict", "words"),
    [
        pytest.param("", {}, PASS, "is on no list", id="clean"),
        pytest.param(
            "", {"unanswered_lists": ALL[:1]}, UNKNOWN, "zen.spamhaus.org did not answer; no other", id="one is silent"
        ),
        pytest.param("", {"unanswered_lists": ALL}, UNKNOWN, "no list could be asked", id="all are silent"),
        pytest.param("", {"listed_on": ALL[:1]}, FAIL, "is on the block list zen.spamhaus.org", id="listed"),
        pytest.param(SMART, {"listed_on": ALL[:1]}, WARN, "is on the block list", id="listed, behind a smarthost"),
        pytest.param("", {"residential_on": ALL[:1]}, FAIL, "a list of home connections", id="at home"),
        pytest.param(SMART, {"residential_on": ALL[:1]}, PASS, "does not matter", id="at home, behind a smarthost"),
        pytest.param("[doctor]\nlists = []\n", {}, SKIP, "doctor.lists is empty", id="off"),
    ],
)
def test_lists(text, about, verdict, words):
    found = one(check_lists(plain(text), replace(BASE, addresses=(good(V4, **about),))))
    assert (found.verdict, words in found.finding) == (verdict, True), found


def test_lists_of_no_address():
    assert one(check_lists(plain(), replace(BASE, addresses=()))).verdict is UNKNOWN


def test_two_lists_are_two_findings():
    found = list(check_lists(plain(), replace(BASE, addresses=(good(V4, listed_on=ALL[:2]),))))
    assert [check.key for check in found] == [f"lists {V4} {zone}" for zone in ALL[:2]]


@pytest.mark.parametrize(
    ("text", "outward", "verdict", "words"),
    [
        ("", Outward(Port25.OPEN, Port25.OPEN, ("a: 220",)), PASS, "is open to the outside"),
        ("", Outward(Port25.OPEN, Port25.UNKNOWN, ("a: 220",)), PASS, "is open to the outside"),
        ("", Outward(Port25.BLOCKED, Port25.UNKNOWN, ("a: late",)), FAIL, "nobody can be reached on port 25: a: late"),
        ("", Outward(Port25.OPEN, Port25.BLOCKED), WARN, "open by IPv4 and blocked by IPv6"),
        (ONLY4, Outward(Port25.OPEN, Port25.BLOCKED), PASS, "is open to the outside"),
        ("", Outward(Port25.BLOCKED, Port25.OPEN), WARN, "open by IPv6 and blocked by IPv4"),
        ("", Outward(), UNKNOWN, "nobody was tried"),
        (SMART, Outward(Port25.BLOCKED), SKIP, "through the smarthost"),
    ],
)
def test_port_25(text, outward, verdict, words):
    found = one(check_port25(plain(text), replace(BASE, outward=outward)))
    assert (found.verdict, words in found.finding) == (verdict, True), found


DNS = '[dns]\nservers = ["192.0.2.53"]\n'
NO_DANE = '[relay]\ndane = "off"\n'


@pytest.mark.parametrize(
    ("text", "validating", "answers", "verdict", "words"),
    [
        ("", ("127.0.0.1", 53), True, PASS, "127.0.0.1 validates"),
        ("", None, True, WARN, "none on this machine validates"),
        (NO_DANE, None, True, PASS, "relay.dane is off"),
        (DNS, ("127.0.0.1", 53), True, WARN, "dns.servers names others"),
        (DNS + NO_DANE, ("127.0.0.1", 53), True, PASS, "validates"),
        (DNS, None, False, FAIL, "192.0.2.53: no answer"),
        ("", ("127.0.0.1", 53), False, FAIL, "the system's name servers: no answer"),
    ],
)
def test_the_resolver(text, validating, answers, verdict, words):
    survey = replace(BASE, validating_resolver=validating)
    found = one(check_resolver(plain(text), survey, answers))
    assert (found.verdict, words in found.finding) == (verdict, True), found


@pytest.mark.parametrize(
    ("time", "verdict"),
    [
        (Time(True, "a time service keeps it right", True), PASS),
        (Time(True, "it agrees with http://t.example/", None, 1.0), PASS),
        (Time(True, "it agrees with http://t.example/", False, 1.0), WARN),
        (Time(None, "no time service keeps it right", False), WARN),
        (Time(False, "it is 2 hours ahead", True, 7200.0), FAIL),
        (Time(None, "nothing here says whether it is right"), UNKNOWN),
    ],
)
def test_the_clock(time, verdict):
    found = one(check_clock(time))
    assert found.verdict is verdict
    assert time.words in found.finding
