"""What DMARC comes to for one message (RFC 9989 5.3), and what follows from that here."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from mailserver.policy.dmarc.record import DmarcRecord, Policy


class DmarcVerdict(Enum):
    """In the words of RFC 8601 2.7 and RFC 9989 9."""

    # Nobody publishes a record for the domain.
    NONE = "none"
    # A domain that answers for the message is in alignment with that in From.
    PASS = "pass"
    FAIL = "fail"
    # DNS could not be asked now.
    TEMPERROR = "temperror"
    # There is no From that can be read.
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class Authors:
    """The domains in From, canonical, each once; or in words why there are none.

    `is_suspect`: what cannot be read looks like an address to some reader.
    """

    domains: tuple[str, ...] = ()
    problem: str = ""
    is_suspect: bool = False


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """One author domain. `policy` is what is asked for in this very case, `t=y` and `sp`, `np` counted in.

    `domain` is empty when From cannot be read. `record_at` is the domain whose record it is, `identifier` what was in
    alignment. `problem` tells in our words what is wrong. `record` is the record that counts. `has_aligned_spf` and
    `has_aligned_dkim` tell both apart where that was asked for.
    """

    verdict: DmarcVerdict
    domain: str = ""
    policy: Policy = Policy.NONE
    record_at: str = ""
    identifier: str = ""
    is_testing: bool = False
    problem: str = ""
    record: DmarcRecord | None = field(default=None, compare=False, repr=False)
    has_aligned_spf: bool = field(default=False, compare=False)
    has_aligned_dkim: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        """`fail example.org reject`, as log and journal have it."""
        asked = self.policy.value if self.verdict in (DmarcVerdict.PASS, DmarcVerdict.FAIL) else ""
        said = " ".join(part for part in (self.verdict.value, self.domain, asked) if part)
        return f"{said} ({self.problem})" if self.problem else said


class Disposition(Enum):
    """What becomes of a message, from the mildest on."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


_DISPOSITIONS = {
    Policy.NONE: Disposition.NONE,
    Policy.QUARANTINE: Disposition.QUARANTINE,
    Policy.REJECT: Disposition.REJECT,
}


def disposition(result: DmarcResult, *, is_enforced: bool) -> Disposition:
    """What follows from a verdict. One that could not be reached refuses nothing: it would hit the innocent."""
    if not is_enforced or result.verdict not in (DmarcVerdict.FAIL, DmarcVerdict.PERMERROR):
        return Disposition.NONE
    return _DISPOSITIONS[result.policy]


def strictest(results: Iterable[DmarcResult]) -> DmarcResult:
    """The result that counts for a message with several author domains; at least one is needed.

    It passes only when all of them pass.
    """
    return max(results, key=_weight)


def _weight(result: DmarcResult) -> int:
    """What may end in a refusal comes first, then what could not be told, then what is only written down."""
    if result.verdict in (DmarcVerdict.FAIL, DmarcVerdict.PERMERROR):
        return {Policy.REJECT: 5, Policy.QUARANTINE: 4, Policy.NONE: 2}[result.policy]
    return {DmarcVerdict.TEMPERROR: 3, DmarcVerdict.NONE: 1, DmarcVerdict.PASS: 0}[result.verdict]
