"""What a stranger wrote into a report, as values that can be kept and shown."""

import ipaddress
import re

from mailserver.mail.address import canonical_domain
from mailserver.mail.reply import printable

MAX_TEXT_CHARS = 250
# More messages, or a later day, than anything honest says.
MAX_COUNT = 10**12
_MAX_TIME = 253_370_764_800
_DIGITS = re.compile(r"[0-9]{1,15}\Z", re.ASCII)


def text(written: str) -> str:
    """Printable, on one line, cut."""
    return printable(" ".join(written[: 4 * MAX_TEXT_CHARS].split()))[:MAX_TEXT_CHARS]


def domain(written: str) -> str:
    """Canonical; empty for what is no domain. Reports have A-labels; others cost too much time where there are many."""
    written = written.strip().rstrip(".")
    return (canonical_domain(written[: MAX_TEXT_CHARS + 10]) or "") if written.isascii() else ""


def address(written: str) -> str:
    """An IP address in its shortest spelling; empty for what is none."""
    try:
        found = ipaddress.ip_address(written.strip().strip("[]")[:64])
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def count(written: str) -> int | None:
    """A number of messages or sessions; None for anything else."""
    return _whole(written, MAX_COUNT)


def moment(written: str) -> int | None:
    """Seconds since the epoch; None for anything else."""
    return _whole(written, _MAX_TIME)


def _whole(written: str, most: int) -> int | None:
    written = written.strip()
    return int(written) if _DIGITS.match(written) and int(written) <= most else None
