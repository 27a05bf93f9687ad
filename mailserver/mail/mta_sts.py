"""What a domain publishes about its mail hosts (MTA-STS, RFC 8461), as values."""

from dataclasses import dataclass
from enum import Enum


class StsMode(Enum):
    """RFC 8461 5: what becomes of mail when a host does not meet the policy."""

    ENFORCE = "enforce"  # it is not sent to that host
    TESTING = "testing"  # it is sent, and the trouble told
    NONE = "none"  # there is no policy any more


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """RFC 8461 3.2. `hosts` are canonical names, or `*.` and one; `max_age_s` is how long it may be remembered."""

    mode: StsMode
    hosts: tuple[str, ...]
    max_age_s: int


@dataclass(frozen=True, slots=True)
class NoStsPolicy:
    """None is known; `reason` in plain words."""

    reason: str


StsAnswer = StsPolicy | NoStsPolicy
