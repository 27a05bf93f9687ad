"""What a check costs at most, and what the published suite does not ask (RFC 7208 4.6.4, 5, 6.2; RFC 8616)."""

import ipaddress

import pytest
from twisted.internet.defer import Deferred

from mailserver.mail.dns import CannotTell
from mailserver.policy.spf.evaluation import MAX_EXPLANATION_CHARS, SpfQuestion, check_host
from mailserver.policy.spf.result import SpfIdentity, SpfVerdict
from tests.fakes.awaiting import run, start
from tests.fakes.clock import FakeClock
from tests.policy.spf.zone import ZoneResolver

CLIENT = ipaddress.ip_address("192.0.2.1")
DOMAIN = "example.org"


def check(zone, *, client=CLIENT, domain=DOMAIN, local_part="alice", hello="mx.example.org", **more):
    resolver = ZoneResolver({name: [("TXT", one)] if isinstance(one, str) else one for name, one in zone.items()})
    question = SpfQuestion(client, domain, local_part, hello, "mail.here.example", **more)
    return run(check_host(question, resolver, FakeClock())), resolver


def test_the_result_names_what_decided():
    result, _ = check({DOMAIN: "v=spf1 ip4:198.51.100.0/24 -all"})
    assert (result.verdict, result.domain, result.mechanism) == (SpfVerdict.FAIL, DOMAIN, "-all")
    assert str(result) == "fail example.org -all"


def test_the_identity_stays_with_the_result():
    result, _ = check({DOMAIN: "v=spf1 +all"}, identity=SpfIdentity.HELO)
    assert (result.verdict, result.identity) == (SpfVerdict.PASS, SpfIdentity.HELO)


def test_an_ipv4_mapped_client_counts_as_ipv4():
    result, _ = check({DOMAIN: "v=spf1 ip4:192.0.2.1 -all"}, client=ipaddress.ip_address("::ffff:192.0.2.1"))
    assert result.verdict is SpfVerdict.PASS


def test_a_domain_in_another_script_is_asked_for_as_a_labels():
    result, resolver = check({"xn--bcher-kva.example": "v=spf1 ip4:192.0.2.1 -all"}, domain="b\u00fccher.example")
    assert result.verdict is SpfVerdict.PASS
    assert resolver.questions == [("TXT", "xn--bcher-kva.example")]


@pytest.mark.parametrize(
    "domain", ["", "localhost", "[192.0.2.1]", "a..example", "x" * 64 + ".example", "bad name.example"]
)
def test_what_is_no_domain_has_no_verdict_and_costs_no_question(domain):
    result, resolver = check({}, domain=domain)
    assert (result.verdict, resolver.questions) == (SpfVerdict.NONE, [])


def test_a_local_part_beyond_ascii_matches_no_mechanism_that_needs_it():
    """RFC 8616 4."""
    zone = {DOMAIN: "v=spf1 exists:%{l}.u.example.org exists:%{s}.u.example.org ~all"}
    result, resolver = check(zone, local_part="\u03b1")
    assert result.verdict is SpfVerdict.SOFTFAIL
    assert len(resolver.questions) == 1


def test_reverse_names_are_looked_up_once_and_at_most_ten():
    zone = {
        DOMAIN: "v=spf1 ptr:a.example ptr:b.example exists:%{p}.c.example exists:%{p}.d.example -all",
        "1.2.0.192.in-addr.arpa": [("PTR", f"h{number}.example.net") for number in range(40)],
    }
    zone |= {f"h{number}.example.net": [("A", "192.0.2.77")] for number in range(40)}
    result, resolver = check(zone)
    assert result.verdict is SpfVerdict.FAIL
    assert sum(kind == "PTR" for kind, _ in resolver.questions) == 1
    assert sum(name.endswith("example.net") for _, name in resolver.questions) == 10


def test_the_clients_reverse_names_do_not_count_as_void():
    zone = {DOMAIN: "v=spf1 a:gone.example a:gone2.example ptr -all"}
    result, _ = check(zone)
    assert result.verdict is SpfVerdict.FAIL


def test_no_record_makes_us_ask_without_end():
    """Ten terms, each with ten names: the most that a hostile zone can have of us."""
    zone = {DOMAIN: "v=spf1 " + " ".join(f"mx:m{number}.example" for number in range(12)) + " -all"}
    for number in range(12):
        zone[f"m{number}.example"] = [("MX", (1, f"h{number}-{one}.example")) for one in range(10)]
        zone |= {f"h{number}-{one}.example": [("A", "203.0.113.1")] for one in range(10)}
    result, resolver = check(zone)
    assert result.verdict is SpfVerdict.PERMERROR
    assert len(resolver.questions) == 1 + 10 * 11


def test_a_null_mx_is_no_name():
    result, resolver = check({DOMAIN: [("TXT", "v=spf1 mx -all"), ("MX", (0, "."))]})
    assert result.verdict is SpfVerdict.FAIL
    assert len(resolver.questions) == 2


def test_an_explanation_is_cut_and_printable():
    zone = {DOMAIN: "v=spf1 -all exp=why.example.org", "why.example.org": "%{c} at %{r} " + "x" * 1900}
    result, _ = check(zone)
    assert result.explanation.startswith("192.0.2.1 at mail.here.example xxx")
    assert len(result.explanation) == MAX_EXPLANATION_CHARS
    result, _ = check(
        {DOMAIN: "v=spf1 -all exp=why.example.org", "why.example.org": "you: %{l}\r\nX: y"},
        local_part="a\r\n\x1bb\u00e9",
    )
    assert result.explanation == "you: a???b???X: y"


@pytest.mark.parametrize("template", ["y" * 2001, "\u00e9", "%{x}"])
def test_an_explanation_that_is_wrong_is_none(template):
    result, _ = check({DOMAIN: "v=spf1 -all exp=why.example.org", "why.example.org": template})
    assert (result.verdict, result.explanation) == (SpfVerdict.FAIL, "")


def test_only_a_fail_is_explained():
    result, resolver = check({DOMAIN: "v=spf1 ~all exp=why.example.org", "why.example.org": "no"})
    assert (result.verdict, result.explanation) == (SpfVerdict.SOFTFAIL, "")
    assert ("TXT", "why.example.org") not in resolver.questions


def test_a_problem_holds_nothing_unprintable():
    result, _ = check({DOMAIN: "v=spf1 a:x\u00e9 -all"})
    assert result.verdict is SpfVerdict.PERMERROR
    assert result.problem.isascii() and result.problem.isprintable()


class SlowResolver(ZoneResolver):
    """Each answer takes `delay_s` of the clock."""

    def __init__(self, zone, clock, delay_s):
        super().__init__(zone)
        self._clock, self._delay_s = clock, delay_s

    async def text(self, name):
        await self._clock.sleep(self._delay_s)
        return await super().text(name)

    async def addresses(self, host, *, ipv4=True, ipv6=True):
        await self._clock.sleep(self._delay_s)
        return await super().addresses(host, ipv4=ipv4, ipv6=ipv6)


def test_slow_dns_ends_as_temperror_after_the_time_for_all():
    clock = FakeClock()
    zone = {DOMAIN: [("TXT", "v=spf1 " + " ".join(f"a:h{n}.example" for n in range(9)) + " -all")]}
    zone |= {f"h{n}.example": [("A", "203.0.113.1")] for n in range(9)}
    resolver = SlowResolver(zone, clock, 4.0)
    results = []
    waiting: Deferred = start(check_host(SpfQuestion(CLIENT, DOMAIN), resolver, clock))
    waiting.addCallback(results.append)
    while not results:
        clock.advance(1.0)
        assert clock.monotonic() < 30
    assert results[0].verdict is SpfVerdict.TEMPERROR
    assert clock.monotonic() == 20.0
    assert len(resolver.questions) == 5


def test_a_server_that_fails_is_not_a_name_that_does_not_exist():
    class Broken(ZoneResolver):
        async def text(self, name):
            return CannotTell("SERVFAIL")

    result = run(check_host(SpfQuestion(CLIENT, DOMAIN), Broken({}), FakeClock()))
    assert (result.verdict, result.problem) == (SpfVerdict.TEMPERROR, "example.org: SERVFAIL")
