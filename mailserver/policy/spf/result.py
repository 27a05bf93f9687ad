"""What an SPF check comes to (RFC 7208 2.6, 9.1)."""

from dataclasses import dataclass
from enum import Enum


class SpfVerdict(Enum):
    """RFC 7208 2.6, and in the same words RFC 8601 2.7.2."""

    # No domain to ask about, or one that publishes nothing.
    NONE = "none"
    # The domain says nothing of this client.
    NEUTRAL = "neutral"
    PASS = "pass"
    # The domain says that this client may not send in its name.
    FAIL = "fail"
    # The same, less surely said.
    SOFTFAIL = "softfail"
    # DNS could not be asked now.
    TEMPERROR = "temperror"
    # What the domain publishes cannot be understood, or costs too many questions.
    PERMERROR = "permerror"


class SpfIdentity(Enum):
    """What was checked (RFC 7208 2.3, 2.4)."""

    HELO = "helo"
    MAIL_FROM = "mailfrom"


@dataclass(frozen=True, slots=True)
class SpfResult:
    """One check of one identity.

    `domain` is the one that was asked about, canonical; empty when there was none. `mechanism` is the directive that
    decided, as it is published, `default` when none matched, and empty when none was looked at. `explanation` is the
    domain's own text for those it refuses, printable ASCII; it is a stranger's text. `problem` tells in our words what
    is wrong, for *temperror* and *permerror*.
    """

    verdict: SpfVerdict
    identity: SpfIdentity = SpfIdentity.MAIL_FROM
    domain: str = ""
    mechanism: str = ""
    explanation: str = ""
    problem: str = ""

    def __str__(self) -> str:
        """`fail example.org -all`, as log and journal have it."""
        said = " ".join(part for part in (self.verdict.value, self.domain, self.mechanism) if part)
        return f"{said} ({self.problem})" if self.problem else said
