"""All records are looked up at once, and none is waited for too long."""

from dataclasses import replace

from twisted.internet.defer import Deferred

from mailserver.policy.records.findings import Verdict
from mailserver.policy.records.publish import records_for
from mailserver.survey.records import AT_ONCE, check_records
from tests.fakes.awaiting import run, start
from tests.fakes.clock import FakeClock
from tests.fakes.published import SITE, changed
from tests.fakes.zone import ZoneResolver, zone_of

RECORDS = records_for(SITE)


class Slow(ZoneResolver):
    """Names in `never` are never answered."""

    def __init__(self, zone, never):
        super().__init__(zone)
        self.never = never

    async def text(self, name):
        if name in self.never:
            self.questions.append((name, "TXT"))
            await Deferred()
        return await super().text(name)


def test_findings_come_in_the_order_of_the_records():
    findings = run(check_records(RECORDS, SITE, ZoneResolver(zone_of(RECORDS)), FakeClock()))
    assert tuple(one.record for one in findings) == RECORDS
    assert {one.verdict for one in findings} == {Verdict.RIGHT}


def test_what_takes_too_long_is_unknown_and_holds_nothing_up():
    clock = FakeClock()
    resolver = Slow(zone_of(RECORDS), {"_dmarc.example.org", "_mta-sts.example.org"})
    waiting = start(check_records(RECORDS, SITE, resolver, clock, limit_s=30.0))
    assert {name for name, _ in resolver.questions} >= {one.name for one in RECORDS}  # all at once
    clock.advance(29.0)
    assert not waiting.called
    clock.advance(1.5)
    found = {one.record.name: one for one in waiting.result}
    unknown = [name for name, one in found.items() if one.verdict is Verdict.UNKNOWN]
    assert unknown == ["_dmarc.example.org", "_mta-sts.example.org"]
    assert "DNS took too long" in found["_dmarc.example.org"].reason


def test_many_records_are_not_asked_for_all_at_once():
    clock = FakeClock()
    site = replace(SITE, domains=tuple(f"d{number}.example" for number in range(60)))
    records = records_for(site)
    assert len(records) > 400
    resolver = Slow({}, {one.name for one in records})
    waiting = start(check_records(records, site, resolver, clock, limit_s=30.0))
    assert len([name for name, kind in resolver.questions if kind == "TXT" and name in resolver.never]) <= AT_ONCE
    clock.advance(30.5)
    assert {one.verdict for one in waiting.result} <= {Verdict.UNKNOWN, Verdict.MISSING}
    assert len(waiting.result) == len(records)


# --- a second look where nothing is remembered ------------------------------------------------------------------------

ZONE = zone_of(RECORDS)


def looked(seen, there):
    findings = run(check_records(RECORDS, SITE, ZoneResolver(seen), FakeClock(), authority=ZoneResolver(there)))
    return {(one.record.name, one.record.kind): one for one in findings}


def test_what_only_a_cache_tells_is_right_and_said_to_be_seen_later():
    finding = looked(changed(ZONE, "_dmarc.example.org", gone=True), ZONE)["_dmarc.example.org", "TXT"]
    assert (finding.verdict, finding.publish) == (Verdict.RIGHT, "")
    assert "a cache still tells the old one" in finding.reason


def test_what_is_wrong_at_the_source_is_told_as_it_is_there():
    seen = changed(ZONE, "example.org", TXT=["v=spf1 include:old.example -all"])
    finding = looked(seen, changed(ZONE, "example.org", TXT=["v=spf1 +all"]))["example.org", "TXT"]
    assert finding.verdict is Verdict.WRONG
    assert "everybody" in finding.reason


def test_a_source_that_does_not_answer_changes_nothing():
    seen = changed(ZONE, "example.org", MX=None)
    finding = looked(seen, {"*": {"rcode": "SERVFAIL"}})["example.org", "MX"]
    assert finding.verdict is Verdict.MISSING


def test_what_is_right_is_not_asked_for_twice():
    authority = ZoneResolver(ZONE)
    run(check_records(RECORDS, SITE, ZoneResolver(ZONE), FakeClock(), authority=authority))
    assert authority.questions == []
