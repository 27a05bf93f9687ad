"""The tree walk: where it looks, where it stops, and whose organization it finds."""

import pytest

from mailserver.mail.dns import CannotTell
from mailserver.policy.dmarc.record import parse_record
from mailserver.policy.dmarc.tree import DnsTree, Undecided, organizational_domain, walk_targets
from tests.fakes.awaiting import run
from tests.fakes.clock import FakeClock
from tests.policy.spf.zone import ZoneResolver


def records(zone):
    return {name: parse_record(f"v=DMARC1; {tags}") for name, tags in zone.items()}


def zone(published):
    return {f"_dmarc.{name}": [("TXT", f"v=DMARC1; {tags}")] for name, tags in published.items()}


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("com", ["com"]),
        ("example.com", ["example.com", "com"]),
        ("a.mail.example.com", ["a.mail.example.com", "mail.example.com", "example.com", "com"]),
        # The example of RFC 9989 4.10.
        (
            "a.b.c.d.e.f.g.h.i.j.mail.example.com",
            [
                "a.b.c.d.e.f.g.h.i.j.mail.example.com",
                "g.h.i.j.mail.example.com",
                "h.i.j.mail.example.com",
                "i.j.mail.example.com",
                "j.mail.example.com",
                "mail.example.com",
                "example.com",
                "com",
            ],
        ),
        ("1.2.3.4.5.6.7", ["1.2.3.4.5.6.7", "2.3.4.5.6.7", "3.4.5.6.7", "4.5.6.7", "5.6.7", "6.7", "7"]),
        ("0.1.2.3.4.5.6.7", ["0.1.2.3.4.5.6.7", *(".".join("1234567"[n:]) for n in range(7))]),
        ("9.0.1.2.3.4.5.6.7", ["9.0.1.2.3.4.5.6.7", *(".".join("1234567"[n:]) for n in range(7))]),
    ],
)
def test_where_a_walk_looks(domain, expected):
    assert list(walk_targets(domain)) == expected


@pytest.mark.parametrize(
    ("domain", "published", "expected"),
    [
        # The examples of RFC 9989 4.10.2.
        ("a.mail.example.com", {"mail.example.com": "", "example.com": ""}, "example.com"),
        ("a.mail.example.com", {"mail.example.com": "psd=n", "example.com": ""}, "mail.example.com"),
        ("a.mail.example.com", {"com": "psd=y"}, "example.com"),
        ("mail.example.com", {"example.com": "psd=y"}, "mail.example.com"),
        # And what they leave open.
        ("a.mail.example.com", {}, "a.mail.example.com"),
        ("example.com", {"example.com": ""}, "example.com"),
        ("example.com", {"example.com": "", "com": ""}, "com"),
        ("a.example.com", {"example.com": "", "com": "psd=y"}, "example.com"),
        ("a.b.example.com", {"a.b.example.com": "", "com": "psd=y"}, "example.com"),
        ("city.suffix.example", {"city.suffix.example": "psd=y", "example": "psd=y"}, "suffix.example"),
        ("suffix.example", {"suffix.example": "psd=y"}, "suffix.example"),
        ("a.b.c.d.e.f.g.h.i.suffix", {"suffix": "psd=y"}, "i.suffix"),
        ("a.b.c.d.e.f.g.h.i.suffix", {"d.e.f.g.h.i.suffix": "psd=y"}, "c.d.e.f.g.h.i.suffix"),
    ],
)
def test_whose_organization(domain, published, expected):
    assert organizational_domain(domain, records(published)) == expected


def test_a_walk_asks_eight_questions_at_most_and_none_twice():
    resolver = ZoneResolver({})
    tree = DnsTree(resolver, FakeClock(), 10.0)
    long = ".".join(f"l{number}" for number in range(40)) + ".example"
    assert run(tree.walk(long)) == {}
    assert len(resolver.questions) == 8
    run(tree.walk(long))
    run(tree.walk("other." + long.split(".", 35)[-1]))
    assert len(resolver.questions) == 9


@pytest.mark.parametrize(
    ("published", "asked"),
    [
        ({"a.b.example": "psd=n"}, 1),
        ({"a.b.example": "psd=y"}, 1),
        ({"b.example": "psd=n"}, 2),
        ({"b.example": "psd=u"}, 3),
        ({}, 3),
    ],
)
def test_where_a_walk_stops(published, asked):
    resolver = ZoneResolver(zone(published))
    found = run(DnsTree(resolver, FakeClock(), 10.0).walk("a.b.example"))
    assert set(found) == set(published)
    assert resolver.questions == [("TXT", f"_dmarc.{name}") for name in walk_targets("a.b.example")[:asked]]


def test_several_records_and_strange_ones_are_none():
    resolver = ZoneResolver(
        {
            "_dmarc.a.example": [("TXT", "v=DMARC1; psd=n"), ("TXT", "v=DMARC1; psd=n")],
            "_dmarc.example": [("TXT", "v=spf1 -all"), ("TXT", "v=DMARC1; p=none"), ("TXT", "p=reject")],
        }
    )
    assert set(run(DnsTree(resolver, FakeClock(), 10.0).walk("a.example"))) == {"example"}


def test_what_dns_cannot_tell():
    resolver = ZoneResolver({"_dmarc.a.example": ["TIMEOUT"]})
    with pytest.raises(Undecided, match=r"_dmarc\.a\.example: no answer"):
        run(DnsTree(resolver, FakeClock(), 10.0).organization("b.a.example"))


def test_time_that_is_over():
    class Slow(ZoneResolver):
        async def text(self, name):
            clock.advance(4.0)
            return await super().text(name)

    clock = FakeClock()
    resolver = Slow({})
    with pytest.raises(Undecided, match="too long"):
        run(DnsTree(resolver, clock, 10.0).walk("a.b.c.d.e.example"))
    assert len(resolver.questions) == 3


def test_which_names_exist():
    resolver = ZoneResolver({"empty.example": [], "_dmarc.held.example": [], "broken.example": ["TIMEOUT"]})
    tree = DnsTree(resolver, FakeClock(), 10.0)
    assert run(tree.record("held.example")) is None
    assert [run(tree.exists(f"{name}.example")) for name in ("held", "empty", "gone")] == [True, True, False]
    with pytest.raises(Undecided):
        run(tree.exists("broken.example"))
    assert isinstance(run(resolver.text("broken.example")), CannotTell)


def test_a_name_too_long_to_ask_for_has_no_record():
    resolver = ZoneResolver({})
    domain = ".".join(["x" * 60] * 4) + ".example"
    assert len(domain) == 251
    assert run(DnsTree(resolver, FakeClock(), 10.0).record(domain)) is None
    assert not resolver.questions
