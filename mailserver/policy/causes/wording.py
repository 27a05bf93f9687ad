"""Reads the prepared words by rules: certain kinds of words near each other mean a certain cause."""

from dataclasses import dataclass

from mailserver.policy.causes.evidence import Signal, Weight
from mailserver.policy.causes.names import Cause, Who
from mailserver.policy.causes.vocabulary import stems
from mailserver.policy.causes.words import Words

_MAX_SPANS = 24
_MAX_FOUND = 160


@dataclass(frozen=True, slots=True)
class Rule:
    """One word of each of `groups` (names in the vocabulary) within `within` characters means `cause`, for `reason`.

    `ordered`: in that order. `unless`: none of these groups within 40 characters. The rest as in `Signal`.
    """

    cause: Cause
    reason: str
    groups: tuple[str, ...]
    within: int = 60
    ordered: bool = False
    unless: tuple[str, ...] = ()
    precision: int = 2
    weight: Weight = Weight.WORDING
    who: Who | None = None
    is_temporary: bool | None = None


class Reading:
    """The words of one reply, with the places of each group looked up once."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self._places: dict[str, list[tuple[int, int]]] = {}

    def places(self, group: str) -> list[tuple[int, int]]:
        """Where words of `group` stand; the first two dozen."""
        if group not in self._places:
            found = []
            for match in stems(group).finditer(self.words.text):
                found.append(match.span())
                if len(found) == _MAX_SPANS:
                    break
            self._places[group] = found
        return self._places[group]

    def match(self, rule: Rule) -> Signal | None:
        """The signal, when the rule's words are there; what is shown is where they stand closest."""
        first, *others = rule.groups
        spans = [self._with_others(start, end, others, rule) for start, end in self.places(first)]
        fitting = [span for span in spans if span is not None and not self._is_near(span, rule.unless)]
        if not fitting:
            return None
        low, high = min(fitting, key=lambda span: span[1] - span[0])
        found = self.words.text[low:high].strip()[:_MAX_FOUND]
        return Signal(rule.cause, rule.weight, rule.reason, found, rule.precision, rule.who, rule.is_temporary)

    def _with_others(self, start: int, end: int, others: list[str], rule: Rule) -> tuple[int, int] | None:
        """The span from the first group's word over one word of each other group, None when one is missing."""
        low, high = start, end
        for group in others:
            fitting = [
                (max(begin - high, low - finish, 0), begin, finish)
                for begin, finish in self.places(group)
                if begin >= high or not rule.ordered
            ]
            distance, begin, finish = min(fitting, default=(rule.within + 1, 0, 0))
            if distance > rule.within:
                return None
            low, high = min(low, begin), max(high, finish)
        return low, high

    def _is_near(self, span: tuple[int, int], groups: tuple[str, ...]) -> bool:
        return any(
            begin - span[1] <= 40 and span[0] - finish <= 40 for group in groups for begin, finish in self.places(group)
        )


def read(words: Words, rules: tuple[Rule, ...]) -> list[Signal]:
    """One signal for each rule that finds its words."""
    reading = Reading(words)
    return [signal for rule in rules if (signal := reading.match(rule)) is not None]
