"""What has changed since the last look: what is new, what is mended. Pure.

Only what changed is worth a mail. *Unknown* is no change until it has lasted: name servers are away for an hour, and
that is no news. The last thing that was known stays in force until then.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mailserver.doctor.check import Check, Verdict

# So many looks in a row it must be unknown to be told.
LASTING = 3
_BADNESS = {Verdict.SKIP: 0, Verdict.PASS: 0, Verdict.WARN: 1, Verdict.FAIL: 2}


@dataclass(frozen=True, slots=True)
class Known:
    """The last that was known of one finding, and how many looks in a row it was unknown since. `is_told`: that it
    stayed unknown has been told."""

    check: Check
    unknown: int = 0
    is_told: bool = False


Remembered = Mapping[str, Known]  # by `Check.key`


@dataclass(frozen=True, slots=True)
class Changes:
    """`worse` and `mended` are what is to be told; `lost` stayed unknown. `remembered` is for the next time."""

    worse: tuple[Check, ...]
    mended: tuple[Check, ...]
    lost: tuple[Check, ...]
    remembered: dict[str, Known]

    @property
    def is_news(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.worse or self.mended or self.lost)


def compare(before: Remembered | None, now: Iterable[Check]) -> Changes:
    """Set the findings of today beside those remembered; None: it is the first look, which tells only failures.

    A finding that is not there any more (a domain that left, a list that is no longer named) is mended when the check
    it belongs to could look at everything today.
    """
    findings = {one.key: one for one in now}
    worse: list[Check] = []
    mended: list[Check] = []
    lost: list[Check] = []
    remembered: dict[str, Known] = {}
    for key, check in findings.items():
        known = None if before is None else before.get(key)
        if check.verdict is Verdict.UNKNOWN:
            remembered[key] = _longer(known, check)
            if before is not None and remembered[key].is_told and not (known and known.is_told):
                lost.append(check)
            continue
        remembered[key] = Known(check)
        was = 0 if known is None else _BADNESS.get(known.check.verdict, 0)
        badness = _BADNESS[check.verdict]
        if before is None:
            if check.verdict is Verdict.FAIL:
                worse.append(check)
        elif badness > was:
            worse.append(check)
        elif badness < was or (known is not None and known.is_told and not badness):
            mended.append(check)
    gone = _gone(before or {}, findings)
    mended += [replace(one.check, verdict=Verdict.PASS) for one in gone if _BADNESS.get(one.check.verdict, 0)]
    for key, kept in _kept(before or {}, findings):
        if kept.is_told and not (before or {})[key].is_told:
            today = [one for one in findings.values() if one.name == kept.check.name and one.verdict is Verdict.UNKNOWN]
            lost += [one for one in today if not remembered[one.key].is_told and one not in lost]
        remembered[key] = kept
    return Changes(tuple(worse), tuple(mended), tuple(lost), remembered)


def _longer(known: Known | None, check: Check) -> Known:
    """Unknown once more. What was never known is nothing that could be lost."""
    if known is None:
        return Known(check)
    if known.check.verdict is Verdict.UNKNOWN:
        return known
    times = known.unknown + 1
    return replace(known, unknown=times, is_told=known.is_told or times >= LASTING)


def _has_spoken(name: str, findings: Mapping[str, Check]) -> bool:
    """Whether a check found everything out today: what is missing may be hidden by what it could not look at."""
    said = [one.verdict for one in findings.values() if one.name == name]
    return bool(said) and Verdict.UNKNOWN not in said


def _gone(before: Remembered, findings: Mapping[str, Check]) -> list[Known]:
    return [one for key, one in before.items() if key not in findings and _has_spoken(one.check.name, findings)]


def _kept(before: Remembered, findings: Mapping[str, Check]) -> list[tuple[str, Known]]:
    """Findings that are not there today, of checks that could not look at everything: they count as unknown once more.

    When that has lasted, what the check says today is told: these findings themselves are of an earlier day.
    """
    found = []
    for key, one in before.items():
        if key in findings or _has_spoken(one.check.name, findings):
            continue
        found.append((key, _longer(one, one.check) if one.check.verdict is not Verdict.UNKNOWN else one))
    return found
