"""Questions go to the name servers of the zone that a name is in, and to the usual resolver for the rest."""

from ipaddress import ip_address

import pytest

from mailserver.mail.dns import CannotTell, MxRecord, NoSuchName
from mailserver.net.authority import AuthoritativeResolver
from tests.fakes.awaiting import run
from tests.fakes.zone import ZoneResolver

OLD = {
    "example.org": {"NS": ["ns1.host.example.", "ns2.host.example."], "TXT": ["old"], "MX": [[10, "old.example.org"]]},
    "sub.example.org": {"NS": ["ns.sub.example.org."]},
    "ns1.host.example": {"A": ["192.0.2.53"], "AAAA": ["2001:db8::53"]},
    "ns2.host.example": {"rcode": "SERVFAIL"},
    "ns.sub.example.org": {"A": ["192.0.2.54"]},
    "plain.example": {"TXT": ["plain"]},
    "alias.example": {"CNAME": ["example.org"], "TXT": None},
    "2.0.192.in-addr.arpa": {"NS": ["ns1.host.example."]},
    "away.example.org": {"CNAME": ["plain.example"]},
    "lame.example": {"NS": ["nowhere.example."], "TXT": ["lame"]},
}
NEW = {
    "example.org": {"TXT": ["new"], "MX": [[10, "new.example.org"]]},
    "new.example.org": {"A": ["192.0.2.7"]},
    "7.2.0.192.in-addr.arpa": {"PTR": ["new.example.org"]},
    "away.example.org": {"rcode": "REFUSED"},
    "silent.example.org": {"silent": True},
}


@pytest.fixture
def asked():
    """An AuthoritativeResolver; `asked.servers` are those that it made a resolver for."""
    servers = []

    def make(those):
        servers.append(tuple(those))
        return ZoneResolver(NEW)

    resolver = AuthoritativeResolver(ZoneResolver(OLD), make)
    resolver.servers = servers
    return resolver


def test_the_servers_of_a_zone_know_better(asked):
    assert run(asked.text("example.org")) == ("new",)
    assert run(asked.mx("example.org")) == (MxRecord(10, "new.example.org"),)
    assert run(asked.addresses("new.example.org")) == (ip_address("192.0.2.7"),)
    assert run(asked.records("example.org", "TXT")).answer == ('"new"',)
    assert run(asked.text("gone.example.org")) == NoSuchName()
    assert asked.servers == [(("192.0.2.53", 53),)]  # found once, IPv4 first, the broken one left out


def test_the_nearest_zone_counts(asked):
    run(asked.text("a.sub.example.org"))
    assert asked.servers == [(("192.0.2.54", 53),)]


def test_reverse_names_have_zones_too(asked):
    assert run(asked.pointer(ip_address("192.0.2.7"))) == ("new.example.org",)


@pytest.mark.parametrize("name", ["plain.example", "away.example.org", "lame.example"])
def test_what_they_cannot_tell_the_usual_resolver_tells(asked, name):
    expected = ("plain",) if name != "lame.example" else ("lame",)
    assert run(asked.text(name)) == expected
    assert run(asked.records(name, "TXT")).answer == (f'"{expected[0]}"',)


def test_what_nobody_can_tell_stays_so():
    resolver = AuthoritativeResolver(
        ZoneResolver({**OLD, "silent.example.org": {"silent": True}}), lambda _: ZoneResolver(NEW)
    )
    assert run(resolver.text("silent.example.org")) == CannotTell("no answer")
