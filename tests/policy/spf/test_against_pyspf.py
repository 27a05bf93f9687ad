"""Random zones and records, judged by us and by pyspf.

Left out of what is made, because pyspf is stricter there than RFC 7208: an unknown modifier that is there twice, and an
`include` of the very domain whose record it stands in, behind a term that matches; and more than one MX record, because
pyspf asks for the addresses of all before it compares the first.
"""

import ipaddress
import random

import pytest
import spf as pyspf

from mailserver.policy.spf.evaluation import SpfQuestion, check_host
from tests.fakes.awaiting import run
from tests.fakes.clock import FakeClock
from tests.policy.spf.zone import ZoneResolver

DOMAINS = [f"{name}.example.com" for name in ("a", "b", "c", "d", "mail")] + ["example.org", "mx.example.org"]
MISSING = ["gone.example.com", "nowhere.example.org"]
ADDRESSES = ["192.0.2.1", "192.0.2.200", "198.51.100.7", "2001:db8::1", "2001:db8:1::2"]
MACROS = ["%{d}", "%{i}", "%{ir}", "%{l}", "%{l1r-}", "%{o}", "%{h}", "%{v}", "%{d2}", "%{dr}", "%%", "%_", "%{D1r}"]
BROKEN = [
    "moo",
    "a:",
    "ip4:1.2.3",
    "ip4:1.2.3.4/33",
    "all:x",
    "ptr/0",
    "include",
    "exists",
    "%x",
    "a:%{q}",
    "=x",
    "a//129",
]
ROUNDS = 40
ZONES_EACH = 20


class Maker:
    """Makes zones; all chance comes from one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, items):
        return self.random.choice(items)

    def domain(self):
        return self.pick(DOMAINS + MISSING[: self.random.randrange(3)])

    def spec(self, owner=""):
        if self.random.random() < 0.25:
            return f"{self.pick(MACROS)}.{self.pick(DOMAINS)}"
        found = self.domain()
        return self.spec(owner) if found == owner else found

    def network(self, version):
        address = self.pick([one for one in ADDRESSES if (":" in one) == (version == 6)])
        lengths = [0, 8, 24, 25, 32] if version == 4 else [0, 16, 48, 64, 128]
        return address + self.pick(["", f"/{self.pick(lengths)}"])

    def lengths(self):
        return self.pick(["", "", "/24", "//48", "/16//32", "/0", "//0"])

    def term(self, owner, number):
        qualifier = self.pick(["", "", "+", "-", "~", "?"])
        kind = self.pick(["a", "mx", "ip4", "ip6", "include", "exists", "all", "redirect", "other"])
        match kind:
            case "a" | "mx":
                domain = self.pick(["", f":{self.spec()}"])
                return f"{qualifier}{self.pick([kind, kind.upper()])}{domain}{self.lengths()}"
            case "ip4" | "ip6":
                return f"{qualifier}{kind}:{self.network(int(kind[2]))}"
            case "include" | "exists":
                return f"{qualifier}{kind}:{self.spec(owner)}"
            case "all":
                return f"{qualifier}all" if self.random.random() < 0.4 else "ip4:203.0.113.9"
            case "redirect":
                return f"redirect={self.spec()}" if self.random.random() < 0.3 else f"unknown.{number}=%{{d}}"
        return self.pick(BROKEN) if self.random.random() < 0.1 else f"exists:{self.spec()}"

    def record(self, owner):
        return "v=spf1 " + " ".join(self.term(owner, number) for number in range(self.random.randrange(0, 7)))

    def entries(self, owner):
        entries = []
        for _ in range(self.pick([0, 1, 1, 1, 1, 1, 2])):
            entries.append(("TXT", self.record(owner) if self.random.random() < 0.9 else "something else"))
        for _ in range(self.random.randrange(3)):
            address = self.pick(ADDRESSES)
            entries.append(("AAAA" if ":" in address else "A", address))
        if self.random.random() < 0.6:
            entries.append(("MX", (self.random.randrange(20), self.pick(DOMAINS))))
        if self.random.random() < 0.03:
            entries.append("TIMEOUT")
        return entries or [("A", "203.0.113.1")]

    def zone(self):
        return {name: self.entries(name) for name in DOMAINS}


def theirs(monkeypatch, zone, client, sender, hello):
    def look_up(name, kind, strict=True, timeout=None, level=0):
        found = False
        for entry in zone.get(name.lower(), ()):
            if entry == "TIMEOUT":
                if not found:
                    raise pyspf.TempError("no answer")
            elif entry[0] == kind:
                found = True
                value = entry[1]
                if kind == "TXT":
                    value = (value.encode("latin-1"),)
                elif kind == "AAAA":
                    value = ipaddress.ip_address(value).packed
                yield (name, kind), value

    monkeypatch.setattr(pyspf, "DNSLookup", look_up)
    query = pyspf.query(i=client, s=sender, h=hello, strict=True, querytime=0)
    return query.check()[0]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_both_come_to_the_same_verdict(monkeypatch, seed):
    maker = Maker(seed)
    for _ in range(ZONES_EACH):
        zone, client = maker.zone(), maker.pick(ADDRESSES)
        domain, hello = maker.pick(DOMAINS), maker.pick(DOMAINS)
        local_part = maker.pick(["alice", "a-b-c", "x.y"])
        question = SpfQuestion(ipaddress.ip_address(client), domain, local_part, hello)
        ours = run(check_host(question, ZoneResolver(zone), FakeClock()))
        assert ours.verdict.value == theirs(monkeypatch, zone, client, f"{local_part}@{domain}", hello), (
            zone,
            question,
            ours,
        )
