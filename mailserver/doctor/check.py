"""What a check finds: a verdict, the finding in one line, and the remedy in one line."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How it stands."""

    PASS = "pass"
    WARN = "warn"  # works, and somebody should do something about it
    FAIL = "fail"  # mail is lost, refused or late because of it, or will be soon
    UNKNOWN = "unknown"  # could not be found out now
    SKIP = "skip"  # makes no sense with this configuration


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `name` is the check's, `about` what of several things it is about; empty for its only one.

    `finding` and `remedy` are one line each, without a full stop; `remedy` is empty when there is nothing to do.
    """

    name: str
    verdict: Verdict
    finding: str
    remedy: str = ""
    about: str = ""

    @property
    def key(self) -> str:
        """What is the same from day to day: `dns`, or `dns MX example.org`."""
        return f"{self.name} {self.about}" if self.about else self.name


def passed(name: str, finding: str, about: str = "") -> Check:
    """All is well."""
    return Check(name, Verdict.PASS, finding, about=about)


def warned(name: str, finding: str, remedy: str, about: str = "") -> Check:
    """It works, and something is to be done."""
    return Check(name, Verdict.WARN, finding, remedy, about)


def failed(name: str, finding: str, remedy: str, about: str = "") -> Check:
    """It does not work, or will not soon."""
    return Check(name, Verdict.FAIL, finding, remedy, about)


def unknown(name: str, finding: str, remedy: str = "", about: str = "") -> Check:
    """It could not be found out; nothing is said about how it stands."""
    return Check(name, Verdict.UNKNOWN, finding, remedy, about)


def skipped(name: str, why: str, about: str = "") -> Check:
    """It makes no sense here."""
    return Check(name, Verdict.SKIP, why, about=about)
