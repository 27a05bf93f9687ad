"""The published test suite for RFC 7208, whole (tests/data/spf)."""

import ipaddress
import json
from pathlib import Path

import pytest

from mailserver.policy.spf.evaluation import SpfQuestion, check_host
from tests.fakes.awaiting import run
from tests.fakes.clock import FakeClock
from tests.policy.spf.zone import ZoneResolver, zone_from

SUITE = Path(__file__).parents[2] / "data" / "spf" / "rfc7208-tests.json"
SCENARIOS = json.loads(SUITE.read_text())
CASES = [
    pytest.param(scenario["zonedata"], test, id=f"{scenario['description']}: {name}")
    for scenario in SCENARIOS
    for name, test in scenario["tests"].items()
]


def test_the_suite_is_whole():
    assert len(SCENARIOS) == 16
    assert len(CASES) == 203


@pytest.mark.parametrize(("zone", "case"), CASES)
def test_result_and_explanation_are_those_of_the_suite(zone, case):
    sender = case["mailfrom"]
    local_part, _, domain = sender.rpartition("@") if sender else ("postmaster", "@", case["helo"])
    question = SpfQuestion(ipaddress.ip_address(case["host"]), domain, local_part, case["helo"])
    result = run(check_host(question, ZoneResolver(zone_from(zone)), FakeClock()))
    wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert result.verdict.value in wanted, (case, result)
    explanation = case.get("explanation")
    if explanation is not None:
        assert result.explanation == ("" if explanation == "DEFAULT" else explanation)
    if result.verdict.value in ("permerror", "temperror"):
        assert result.problem.isascii() and result.problem.isprintable()
