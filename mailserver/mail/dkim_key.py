"""A DKIM key without its secret half, and where it is in its life.

waiting   made; its record has to be published, and it signs nothing yet
active    its record was seen in DNS; it signs
retiring  it signs no more; its record stays published until the last message it signed is delivered or given up
retired   its record can be removed from DNS
"""

from dataclasses import dataclass, replace
from enum import Enum

# What a record stays published for beyond the life of a queued message: receivers check late, caches keep it a day.
MARGIN_S = 2 * 86400.0


class KeyState(Enum):
    """See the module."""

    WAITING = "waiting"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class DkimKey:
    """One key without its secret half. Times are seconds since the epoch, 0.0 for never.

    `public` is the value of `p=`. `published_until`: a retiring key's record may be removed after that.
    """

    domain: str
    selector: str
    algorithm: str
    public: str
    created_at: float
    activated_at: float = 0.0
    retired_at: float = 0.0
    published_until: float = 0.0

    def state(self, now: float) -> KeyState:
        """Where in its life it is."""
        if self.retired_at:
            return KeyState.RETIRING if now < self.published_until else KeyState.RETIRED
        return KeyState.ACTIVE if self.activated_at else KeyState.WAITING

    @property
    def name(self) -> str:
        """Where its record is in DNS."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """Its record's text (RFC 6376 3.6.1)."""
        return f"v=DKIM1; k={self.algorithm.partition('-')[0]}; h=sha256; p={self.public}"

    def activated(self, now: float) -> "DkimKey":
        """The same key, signing from now on."""
        return replace(self, activated_at=now)

    def retiring(self, now: float, queue_life_s: float) -> "DkimKey":
        """The same key, signing no more. One that never signed has nothing to stay published for."""
        until = now + queue_life_s + MARGIN_S if self.activated_at else now
        return replace(self, retired_at=now, published_until=until)
