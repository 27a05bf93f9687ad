"""DKIM keys and our own MTA-STS policy, as the world sees them."""

from dataclasses import replace

import pytest

from mailserver.doctor.check import Verdict
from mailserver.doctor.dns import OwnPolicy, check_dkim, check_mta_sts, check_records
from mailserver.mail.dkim_key import DkimKey
from mailserver.mail.dns import CannotTell, MxRecord, NoRecords, NoSuchName
from mailserver.policy.records.findings import Finding
from mailserver.policy.records.findings import Verdict as Finds
from mailserver.policy.records.values import Need, Record, Topic

PASS, WARN, FAIL, UNKNOWN, SKIP = Verdict
NOW = 1_750_000_000.0
DAY = 86400.0
DOMAIN = "example.org"
RSA = DkimKey(DOMAIN, "r1", "rsa-sha256", "AAAA", NOW - 30 * DAY, NOW - 29 * DAY)
ED = DkimKey(DOMAIN, "e1", "ed25519-sha256", "BBBB", NOW - 30 * DAY, NOW - 29 * DAY)
WAITING = replace(RSA, selector="r2", activated_at=0.0)
RETIRING = replace(RSA, selector="r0", public="CCCC", retired_at=NOW - DAY, published_until=NOW + 6 * DAY)


def answers(*keys):
    return {key.name: (key.record,) for key in keys}


def worst(checks):
    order = [FAIL, WARN, UNKNOWN, PASS, SKIP]
    found = list(checks)
    assert len({check.key for check in found}) == len(found)
    assert all(check.remedy for check in found if check.verdict in (WARN, FAIL))
    return min(found, key=lambda check: order.index(check.verdict))


@pytest.mark.parametrize(
    ("keys", "seen", "verdict", "words"),
    [
        pytest.param([RSA, ED], answers(RSA, ED), PASS, "is signed (ed25519 and rsa)", id="both"),
        pytest.param([RSA], answers(RSA), PASS, "is signed (rsa)", id="one"),
        pytest.param([], {}, FAIL, "is not signed; many receivers", id="none"),
        pytest.param([WAITING], {}, WARN, "its new keys are not published yet", id="only new ones"),
        pytest.param([RSA, ED], {RSA.name: NoSuchName(), **answers(ED)}, FAIL, "r1._domainkey", id="not published"),
        pytest.param([RSA, ED], {**answers(ED), RSA.name: (ED.record,)}, FAIL, "another key", id="another key"),
        pytest.param([RSA, ED], answers(RSA), UNKNOWN, "cannot be looked up", id="cannot tell"),
        pytest.param([RSA, RETIRING], answers(RSA, RETIRING), PASS, "is signed", id="an overlap"),
        pytest.param(
            [RSA, RETIRING],
            answers(RSA) | {RETIRING.name: NoRecords()},
            FAIL,
            "still on its way",
            id="an overlap cut short",
        ),
        pytest.param([replace(RSA, activated_at=NOW - 400 * DAY)], answers(RSA), WARN, "in use for 400 days", id="old"),
        pytest.param(
            [RSA, replace(WAITING, created_at=NOW - 9 * DAY)], answers(RSA), WARN, "still not published", id="forgotten"
        ),
    ],
)
def test_dkim_keys(keys, seen, verdict, words):
    found = worst(check_dkim(DOMAIN, keys, seen, NOW))
    assert (found.verdict, words in found.finding) == (verdict, True), found


def test_a_smarthost_may_sign_by_itself():
    (found,) = check_dkim(DOMAIN, [], {}, NOW, is_direct=False)
    assert found.verdict is WARN


RECORD = ("v=STSv1; id=20250101",)
MX = (MxRecord(10, "mail.example.org"),)


def policy(mode="enforce", mx="mail.example.org"):
    return f"version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 604800\n".encode()


@pytest.mark.parametrize(
    ("found", "is_wanted", "verdict", "words"),
    [
        pytest.param(OwnPolicy(RECORD, policy(), MX), True, PASS, 'says "enforce" and names', id="right"),
        pytest.param(OwnPolicy(RECORD, policy(mx="*.example.org"), MX), True, PASS, "names its MX", id="a pattern"),
        pytest.param(
            OwnPolicy(RECORD, policy("testing", "mx.example.org"), MX), True, WARN, "does not name", id="testing"
        ),
        pytest.param(
            OwnPolicy(RECORD, policy(mx="mx.example.org"), MX), True, FAIL, "mail.example.org", id="other host"
        ),
        pytest.param(OwnPolicy(RECORD, policy("none"), MX), True, PASS, 'says "none"', id="none"),
        pytest.param(OwnPolicy(RECORD, "the connection was refused", MX), True, FAIL, "was refused", id="not served"),
        pytest.param(OwnPolicy(RECORD, b"<html>", MX), True, FAIL, "cannot be used", id="nonsense"),
        pytest.param(OwnPolicy(NoSuchName(), "", MX), False, PASS, "promises none", id="not wanted"),
        pytest.param(OwnPolicy(NoSuchName(), "", MX), True, WARN, "has no record", id="not published"),
        pytest.param(OwnPolicy(("v=spf1 -all",), "x", MX), True, WARN, "has no record", id="another record"),
        pytest.param(OwnPolicy(CannotTell("SERVFAIL"), "", MX), True, UNKNOWN, "SERVFAIL", id="cannot tell"),
        pytest.param(OwnPolicy(RECORD, policy(), CannotTell("x")), True, UNKNOWN, "MX records", id="no MX to compare"),
    ],
)
def test_our_own_policy(found, is_wanted, verdict, words):
    check = check_mta_sts(DOMAIN, found, is_wanted=is_wanted)
    assert (check.verdict, words in check.finding) == (verdict, True), check
    assert check.remedy or verdict in (PASS, UNKNOWN)


# --- records ----------------------------------------------------------------------------------------------------------


def finding(verdict, need, **more):
    record = Record("example.org", "MX", "10 mail.example.org.", "mail comes in by it", need, Topic.MX)
    publish = record.zone_line if verdict in (Finds.MISSING, Finds.WRONG) else ""
    return Finding(record, verdict, reason="a reason", **{"publish": publish, **more})


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (finding(Finds.RIGHT, Need.REQUIRED), PASS),
        (finding(Finds.UNKNOWN, Need.REQUIRED), UNKNOWN),
        (finding(Finds.MISSING, Need.REQUIRED), FAIL),
        (finding(Finds.WRONG, Need.REQUIRED), FAIL),
        (finding(Finds.MISSING, Need.ASK), FAIL),
        (finding(Finds.MISSING, Need.RECOMMENDED), WARN),
        (finding(Finds.WRONG, Need.RECOMMENDED), WARN),
        (finding(Finds.MISSING, Need.OPTIONAL), PASS),
        (finding(Finds.WRONG, Need.OPTIONAL), WARN),
        (finding(Finds.WRONG, Need.OPTIONAL, is_harmful=True), FAIL),
        (finding(Finds.MISSING, Need.OPTIONAL, is_harmful=True), FAIL),
        (finding(Finds.WRONG, Need.REQUIRED, publish=""), FAIL),
    ],
)
def test_records(found, verdict):
    (check,) = check_records([found])
    assert (check.verdict, check.about) == (verdict, "MX example.org")
    if verdict in (FAIL, WARN):
        assert check.remedy == (f"publish {found.publish}" if found.publish else "mailserver dns --check")


def test_two_records_of_one_name_are_two_findings():
    keys = [check.key for check in check_records([finding(Finds.RIGHT, Need.REQUIRED)] * 2)]
    assert keys == ["dns MX example.org", "dns MX example.org 2"]
