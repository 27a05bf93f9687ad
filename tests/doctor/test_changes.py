"""What counts as news, over days."""

import pytest

from mailserver.doctor.changes import LASTING, compare
from mailserver.doctor.check import Check, Verdict

PASS, WARN, FAIL, UNKNOWN, SKIP = Verdict


def check(verdict, name="disk", about=""):
    return Check(name, verdict, f"{name} {about} {verdict.value}", "mend it" if verdict in (WARN, FAIL) else "", about)


def days(*looks):
    """What each look tells: the words of worse, mended and lost. A look is a verdict or a list of checks."""
    before, told = None, []
    for look in looks:
        changes = compare(before, [check(look)] if isinstance(look, Verdict) else look)
        before = changes.remembered
        words = [("worse", changes.worse), ("mended", changes.mended), ("lost", changes.lost)]
        told.append(" ".join(word for word, found in words if found))
        assert changes.is_news is bool(told[-1])
    return told


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([PASS, PASS], ["", ""]),
        # The first look tells only what does not work.
        ([WARN, WARN], ["", ""]),
        ([FAIL, FAIL], ["worse", ""]),
        ([SKIP, PASS, SKIP], ["", "", ""]),
        ([PASS, WARN, WARN, PASS], ["", "worse", "", "mended"]),
        ([PASS, WARN, FAIL, WARN, PASS], ["", "worse", "worse", "mended", "mended"]),
        ([SKIP, FAIL, SKIP], ["", "worse", "mended"]),
        # Unknown is no change: what was known before stays in force.
        ([PASS, UNKNOWN, PASS], ["", "", ""]),
        ([FAIL, UNKNOWN, FAIL], ["worse", "", ""]),
        ([FAIL, UNKNOWN, PASS], ["worse", "", "mended"]),
        ([PASS, UNKNOWN, FAIL], ["", "", "worse"]),
        # It is one when it lasts, once; and that it can be checked again is told as well.
        ([PASS, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, PASS], ["", "", "", "lost", "", "mended"]),
        ([PASS, UNKNOWN, UNKNOWN, PASS, UNKNOWN, UNKNOWN], ["", "", "", "", "", ""]),
        ([FAIL, UNKNOWN, UNKNOWN, UNKNOWN, FAIL], ["worse", "", "", "lost", ""]),
        # What was never known cannot be lost.
        ([UNKNOWN] * 6, [""] * 6),
        ([UNKNOWN, FAIL], ["", "worse"]),
        ([UNKNOWN, PASS], ["", ""]),
    ],
)
def test_news_over_days(looks, told):
    assert LASTING == 3
    assert days(*looks) == told


def test_a_new_finding_that_is_not_well_is_news():
    assert days([check(PASS)], [check(PASS), check(WARN, "dns", "MX a")]) == ["", "worse"]
    assert days([check(PASS)], [check(PASS), check(PASS, "dns", "MX a")]) == ["", ""]


def test_a_finding_that_is_gone_is_mended_when_its_check_has_spoken():
    both = [check(FAIL, "lists", "192.0.2.1 bl.example"), check(PASS, "lists", "x")]
    assert days(both, [check(PASS, "lists", "x")]) == ["worse", "mended"]


def test_a_finding_is_not_gone_when_its_check_could_not_look():
    seen = [check(FAIL, "dns", "MX a"), check(PASS, "dns", "TXT a")]
    lost = [check(UNKNOWN, "dns")]
    assert days(seen, lost, lost, seen) == ["worse", "", "", ""]


def test_a_mended_finding_of_a_gone_one_counts_as_well():
    (mended,) = compare(
        compare(None, [check(FAIL, "dns", "MX a"), check(PASS, "dns")]).remembered, [check(PASS, "dns")]
    ).mended
    assert (mended.verdict, mended.about) == (PASS, "MX a")


def test_a_check_that_finds_nothing_out_for_long_is_told_once_and_so_is_its_end():
    """Its findings of earlier days are not there any more; what it says today is told."""
    seen = [check(PASS, "names", "192.0.2.7"), check(PASS, "names", "2001:db8::7")]
    nothing = [check(UNKNOWN, "names")]
    assert days(seen, nothing, nothing, seen) == ["", "", "", ""]
    assert days(seen, *[nothing] * 5, seen, seen) == ["", "", "", "lost", "", "", "mended", ""]
    before = compare(None, seen).remembered
    for _ in range(LASTING):
        changes = compare(before, nothing)
        before = changes.remembered
    assert changes.lost == tuple(nothing)


def test_what_one_silent_part_may_hide_is_not_mended():
    """A list that does not answer today says nothing about what it said yesterday."""
    listed = [check(FAIL, "lists", "192.0.2.7 zen"), check(PASS, "lists", "2001:db8::7")]
    silent = [check(UNKNOWN, "lists", "192.0.2.7"), check(PASS, "lists", "2001:db8::7")]
    clean = [check(PASS, "lists", "192.0.2.7"), check(PASS, "lists", "2001:db8::7")]
    assert days(listed, silent, listed, silent, clean) == ["worse", "", "", "", "mended"]
    assert days(listed, *[silent] * 6, clean) == ["worse", "", "", "lost", "", "", "", "mended"]
