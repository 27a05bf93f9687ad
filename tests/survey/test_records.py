"""All records are looked up at once, and none is waited for too long."""

from twisted.internet.defer import Deferred

from mailserver.policy.records.findings import Verdict
from mailserver.policy.records.publish import records_for
from mailserver.survey.records import check_records
from tests.fakes.awaiting import run, start
from tests.fakes.clock import FakeClock
from tests.fakes.published import SITE
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
