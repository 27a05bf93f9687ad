"""TLS on the way out: what a next hop must prove, and whether it used to do better. Pure.

`tls_requirement` is the one place that decides how a conversation is protected. What a domain publishes about its hosts
(MTA-STS, RFC 8461; DANE, RFC 7672) comes in as `must_verify` once somebody asks for it.
"""

from dataclasses import dataclass, replace

from mailserver.mail.route import Route, SmarthostRoute, SmarthostTls
from mailserver.ports import PeerTls, TlsRequirement, TlsUse

TOLD_AGAIN_AFTER_S = 86400.0
# A host that has been without TLS for so long has given it up, and is compared with that from then on.
GIVEN_UP_AFTER_S = 14 * 86400.0
# What changes nothing is noted once in so long, so that the file is not written for nothing.
_NOTED_EACH_S = 86400.0

_SMARTHOST_USE = {
    SmarthostTls.STARTTLS: TlsUse.REQUIRED,
    SmarthostTls.TLS: TlsUse.IMPLICIT,
    SmarthostTls.NONE: TlsUse.NEVER,
}


def tls_requirement(route: Route, host: str, *, must_verify: bool = False) -> tuple[TlsUse, TlsRequirement]:
    """How to protect a conversation with `host` (a host name of this route; empty for an address without one).

    A smarthost: as configured, chain and name verified. Others: encrypt when they offer it and verify nothing (RFC
    7435), unless `must_verify`; then without a valid certificate for `host` there is no conversation.
    """
    if isinstance(route, SmarthostRoute):
        verify = "" if route.tls is SmarthostTls.NONE else route.host
        return _SMARTHOST_USE[route.tls], TlsRequirement(host, verify, route.ca_file)
    if must_verify:
        assert host, "nobody publishes a policy for a host without a name"
        return TlsUse.REQUIRED, TlsRequirement(host, host)
    return TlsUse.OPPORTUNISTIC, TlsRequirement(host)


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
