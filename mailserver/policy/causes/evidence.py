"""What goes into a diagnosis and what comes out. Frozen values; nothing here decides anything."""

from dataclasses import dataclass, field
from enum import IntEnum

from mailserver.mail.outcome import Stage
from mailserver.policy.causes.names import Cause, Fact, Who


@dataclass(frozen=True, slots=True)
class Evidence:
    """`reply` as received: one line, a multi-line reply, or a whole bounce message; may be empty when there was none.

    `stage` is how far the attempt came, None when unknown.
    """

    reply: str = ""
    stage: Stage | None = None
    facts: frozenset[Fact] = field(default=frozenset())


class Weight(IntEnum):
    """How much a signal says, least first: the order in which the causes page weighs them."""

    STAGE = 0
    BASIC_CODE = 1
    FRAME = 2
    GENERIC_CODE = 3
    SPECIFIC_CODE = 4
    WORDING = 5
    TAG = 6
    FACT = 7

    @property
    def label(self) -> str:
        """For people: `specific code`."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that points at one cause. `found` are the words (or the code, or the fact) it was found in.

    `precision` orders signals of the same weight: 3 names the mechanism, 2 the matter, 1 only hints. `who` and
    `is_temporary` are set where this signal knows better than its class.
    """

    cause: Cause
    weight: Weight
    reason: str
    found: str
    precision: int = 2
    who: Who | None = None
    is_temporary: bool | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The answer. `temporary`: an unchanged retry can succeed with nobody acting, whatever the basic code says.

    `plain` is one sentence in the sender's words, `remedy` the one thing to do. `evidence` are the signals that
    decided, strongest first. `words` is the innermost text of the other side.
    """

    cause: Cause
    also: tuple[Cause, ...]
    temporary: bool
    who: Who
    remedy: str
    plain: str
    evidence: tuple[Signal, ...]
    words: str
