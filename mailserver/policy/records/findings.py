"""What a look into DNS says about one record, as a value."""

from dataclasses import dataclass
from enum import Enum

from mailserver.policy.records.values import Need, Record


class Verdict(Enum):
    """RIGHT also when it is written differently and means the same."""

    RIGHT = "right"
    MISSING = "missing"
    WRONG = "wrong"
    UNKNOWN = "unknown"  # it could not be looked up, which says nothing about the record


@dataclass(frozen=True, slots=True)
class Finding:
    """One record, as the world sees it.

    `found` is what stands there, in zone-file form. `reason` is one plain line: what is wrong, or something worth
    knowing about a record that is right; it may be empty then. `publish` is the exact line to publish, in zone-file
    form; empty when nothing is to be done. It differs from the record's own where what is there can be kept, as other
    senders in an SPF record. `is_harmful`: what is there does harm, though the record itself could be left out.
    """

    record: Record
    verdict: Verdict
    found: tuple[str, ...] = ()
    reason: str = ""
    publish: str = ""
    is_harmful: bool = False

    @property
    def is_trouble(self) -> bool:
        """Whether something is to be done."""
        return self.verdict in (Verdict.MISSING, Verdict.WRONG)

    @property
    def is_failure(self) -> bool:
        """Whether mail suffers from it: something required is not there, or what is there does harm."""
        return self.is_trouble and (self.is_harmful or self.record.need in (Need.REQUIRED, Need.ASK))
