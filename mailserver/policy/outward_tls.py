"""TLS on the way out: whether a host used to do better. Pure. What it must prove is decided in `transport`."""

from dataclasses import dataclass, replace

from mailserver.ports import PeerTls

TOLD_AGAIN_AFTER_S = 86400.0
# A host that has been without TLS for so long has given it up, and is compared with that from then on.
GIVEN_UP_AFTER_S = 14 * 86400.0
# What changes nothing is noted once in so long, so that the file is not written for nothing.
_NOTED_EACH_S = 86400.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What follows from one conversation: what to remember (None: nothing new), and the TLS that is missing now.

    `missing` is the version that the host had before, empty if nothing is worse; `is_told`: it is time to say so.
    """

    remember: PeerTls | None
    missing: str = ""
    is_told: bool = False


def after_conversation(before: PeerTls | None, version: str, now: float) -> Seen:
    """A conversation with a host was protected by `version` (empty: by nothing). `now` in seconds since the epoch."""
    if version:
        is_news = before is None or before.version != version or before.clear_since != 0.0
        is_old = before is not None and abs(now - before.seen_at) >= _NOTED_EACH_S
        return Seen(PeerTls(version, now) if is_news or is_old else None)
    if before is None:
        return Seen(PeerTls("", now))
    if not before.version:
        return Seen(PeerTls("", now) if abs(now - before.seen_at) >= _NOTED_EACH_S else None)
    since = before.clear_since or now
    if now - since >= GIVEN_UP_AFTER_S:
        return Seen(PeerTls("", now))
    is_told = abs(now - before.told_at) >= TOLD_AGAIN_AFTER_S
    changed = replace(before, clear_since=since, told_at=now if is_told else before.told_at)
    return Seen(changed if changed != before else None, before.version, is_told)
