"""What the server does with DMARC, as configured for all domains in From, or for some."""

from enum import Enum


class DmarcUse(Enum):
    """How far a verdict reaches."""

    OFF = "off"  # nothing is asked
    CHECK = "check"  # the verdict is written down
    ENFORCE = "enforce"  # what the owner of the domain asks for is done


class DmarcQuarantine(Enum):
    """What becomes of a message whose owner asks for quarantine."""

    JUNK = "junk"  # it is filed as junk
    MARK = "mark"  # it is filed as any other, and says so in its header
    REFUSE = "refuse"
