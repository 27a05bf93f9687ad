"""The life of a domain's DKIM keys (`mail.dkim_key` tells its stages): rules, nothing of disk, DNS or time of day.

A rotation makes new keys (waiting); when the server sees their records they become active, and the old ones retiring.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from mailserver.mail.dkim_key import DkimKey, KeyState
from mailserver.mail.dns import CannotTell, TextAnswer
from mailserver.policy.dkim.tags import from_base64, parse_tags

# RSA for everybody, Ed25519 (RFC 8463) for those who know it.
ALGORITHMS = ("rsa-sha256", "ed25519-sha256")
REMIND_AFTER_S = 365 * 86400.0
# A key that waits this long was forgotten.
FORGOTTEN_AFTER_S = 7 * 86400.0
# One string of a TXT record (RFC 1035 3.3.14); shorter, for lines that a person can read.
_STRING_OCTETS = 200


class Published(Enum):
    """What DNS says about a key."""

    YES = "published"
    NO = "not published"
    DIFFERENT = "another key is published"
    UNKNOWN = "cannot be looked up"


def published(key: DkimKey, answer: TextAnswer) -> Published:
    """Whether the record that others see holds this key."""
    if not isinstance(answer, tuple):
        return Published.UNKNOWN if isinstance(answer, CannotTell) else Published.NO
    ours = from_base64(key.public.encode("ascii"))
    for text in answer:
        tags = parse_tags(text.encode("latin-1", "replace"))
        if isinstance(tags, str) or "p" not in tags:
            continue
        kind = tags["k"].text if "k" in tags else "rsa"
        if from_base64(tags["p"].value) == ours and kind == key.algorithm.partition("-")[0] and len(answer) == 1:
            return Published.YES
        return Published.DIFFERENT
    return Published.DIFFERENT if answer else Published.NO


def after_look(keys: Iterable[DkimKey], seen: frozenset[str], now: float, queue_life_s: float) -> tuple[DkimKey, ...]:
    """The keys of one domain that change when the records of the selectors in `seen` were found published.

    Waiting keys begin to sign together, when all that were made together are published: one half alone would sign less
    than before. Those they take over from retire with that.
    """
    keys = tuple(keys)
    waiting = [key for key in keys if key.state(now) is KeyState.WAITING]
    if not waiting or not all(key.selector in seen for key in waiting):
        return ()
    algorithms = {key.algorithm for key in waiting}
    old = [key for key in keys if key.state(now) is KeyState.ACTIVE and key.algorithm in algorithms]
    return (*(key.activated(now) for key in waiting), *(key.retiring(now, queue_life_s) for key in old))


def new_selectors(taken: Iterable[str], now: float) -> dict[str, str]:
    """Names for new keys by algorithm: `r202611`, `e202611`; with a letter behind when the month has had some."""
    used = frozenset(taken)
    month = datetime.fromtimestamp(now, UTC).strftime("%Y%m")
    for letter in ("", *"bcdefghijklmnopqrstuvwxyz"):
        names = {algorithm: f"{algorithm[0]}{month}{letter}" for algorithm in ALGORITHMS}
        if used.isdisjoint(names.values()):
            return names
    raise ValueError("no selector is left for this month")


@dataclass(frozen=True, slots=True)
class KeyRemark:
    """Something that the operator should do about a key. `remedy` is what."""

    key: DkimKey
    finding: str
    remedy: str


def remarks(keys: Iterable[DkimKey], now: float) -> tuple[KeyRemark, ...]:
    """What is due: keys in use for over a year, new ones that nobody published, records that can go."""
    found: list[KeyRemark] = []
    for key in keys:
        state = key.state(now)
        if state is KeyState.ACTIVE and now - key.activated_at > REMIND_AFTER_S:
            days = int((now - key.activated_at) // 86400)
            found.append(KeyRemark(key, f"in use for {days} days", f"mailserver dkim rotate {key.domain}"))
        elif state is KeyState.WAITING and now - key.created_at > FORGOTTEN_AFTER_S:
            days = int((now - key.created_at) // 86400)
            remedy = f"publish what `mailserver dkim show {key.domain}` prints"
            found.append(KeyRemark(key, f"made {days} days ago and still not published", remedy))
        elif state is KeyState.RETIRED:
            remedy = f"remove {key.name} from DNS, then mailserver dkim retire {key.domain} {key.selector}"
            found.append(KeyRemark(key, "no mail needs its record any more", remedy))
    return tuple(found)


def strings(text: str) -> tuple[str, ...]:
    """The strings of a TXT record that holds this text: none may be over 255 octets (RFC 1035 3.3.14)."""
    return tuple(text[start : start + _STRING_OCTETS] for start in range(0, len(text), _STRING_OCTETS))


def zone_line(name: str, text: str, ttl_s: int = 3600) -> str:
    """A TXT record in zone-file form (RFC 1035 5.1), over several lines when it needs several strings."""
    quoted = ['"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in strings(text)]
    head = f"{name}. {ttl_s} IN TXT"
    if len(quoted) == 1:
        return f"{head} {quoted[0]}"
    return "\n".join([f"{head} (", *(f"    {part}" for part in quoted), ")"])
