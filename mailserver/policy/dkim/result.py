"""What a check of signatures comes to, in the words of RFC 8601."""

from dataclasses import dataclass
from enum import Enum


class DkimVerdict(Enum):
    """RFC 8601 2.7.1; *none* is an empty tuple of results."""

    PASS = "pass"
    # Acceptable in form, but header or body are not what was signed.
    FAIL = "fail"
    # Cannot be understood, or a signature that its domain only tries out does not fit.
    NEUTRAL = "neutral"
    # The key could not be had now.
    TEMPERROR = "temperror"
    # The signature can never be verified: no key, no From in it, ...
    PERMERROR = "permerror"
    # It would fit or could be checked, and we do not accept such: too weak, expired, one too many, ...
    POLICY = "policy"


@dataclass(frozen=True, slots=True)
class DkimResult:
    """One signature. Only `PASS` says anything about who sent the message: then `domain` answers for it.

    `domain` (`d=`) is in the one form domains are compared in, and like the others empty where the signature does not
    tell. `start` are the first characters of the signature, which tell two of a domain apart (RFC 6008). `is_testing`:
    the key's domain says that it only tries DKIM out. `reason` is in words, for people.
    """

    verdict: DkimVerdict
    reason: str = ""
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    start: str = ""
    is_testing: bool = False

    def __str__(self) -> str:
        """`pass example.org s1 rsa-sha256`, as log and journal have it."""
        said = " ".join(part for part in (self.verdict.value, self.domain, self.selector, self.algorithm) if part)
        return f"{said} ({self.reason})" if self.reason else said


class ArcVerdict(Enum):
    """RFC 8617 4.4."""

    NONE = "none"
    PASS = "pass"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class ArcResult:
    """The chain as a whole. `sealers`, only of one that passed, are the domains of its seals, the first one first."""

    verdict: ArcVerdict
    reason: str = ""
    sealers: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`pass lists.example.org`, as log and journal have it."""
        said = " ".join((self.verdict.value, *self.sealers))
        return f"{said} ({self.reason})" if self.reason else said


NO_ARC = ArcResult(ArcVerdict.NONE)


@dataclass(frozen=True, slots=True)
class SignatureResults:
    """Everything that was checked in one message."""

    dkim: tuple[DkimResult, ...] = ()
    arc: ArcResult = NO_ARC

    @property
    def passed_domains(self) -> frozenset[str]:
        """The domains that answer for the message, for DMARC's alignment."""
        return frozenset(one.domain for one in self.dkim if one.verdict is DkimVerdict.PASS)


NOTHING_SIGNED = SignatureResults()
