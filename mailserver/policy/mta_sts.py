"""MTA-STS on the sending side (RFC 8461): its record and its policy read, and which hosts a policy covers. Pure."""

import re
from collections.abc import Iterable

from mailserver.mail.address import canonical_domain
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.mta_sts import StsMode, StsPolicy

MAX_POLICY_OCTETS = 64 * 1024
MAX_AGE_S = 31557600  # RFC 8461 3.2: about a year
_MAX_HOSTS = 1000

_VERSION = "STSv1"
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_RECORD_START = re.compile(r"v=STSv1[ \t]*;")


def policy_id(texts: Iterable[str]) -> str | None:
    """The `id` in the TXT records of `_mta-sts.<domain>`; None unless exactly one is a record (RFC 8461 3.1)."""
    records = [text for text in texts if _RECORD_START.match(text)]
    if len(records) != 1:
        return None
    fields = [field.strip(" \t") for field in records[0].split(";")]
    ids = [field[3:] for field in fields[1:] if field.startswith("id=")]
    return ids[0] if ids and _ID.fullmatch(ids[0]) else None


def parse_policy(octets: bytes) -> StsPolicy | SyntaxFault:
    """The body of `/.well-known/mta-sts.txt` (RFC 8461 3.2). Unknown fields are passed over; of known ones that must
    stand once, the first counts."""
    if len(octets) > MAX_POLICY_OCTETS:
        return SyntaxFault("the policy is longer than 64 KiB")
    fields: dict[str, str] = {}
    hosts: list[str] = []
    for line in octets.decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        key, value = key.strip(" \t"), value.strip(" \t")
        if colon and key == "mx":
            hosts.append(value)
        elif colon:
            fields.setdefault(key, value)
    if fields.get("version") != _VERSION:
        return SyntaxFault("the policy has no version that we know")
    try:
        mode = StsMode(fields.get("mode", ""))
    except ValueError:
        return SyntaxFault("the policy has no mode that we know")
    age = fields.get("max_age", "")
    if not age.isascii() or not age.isdigit() or len(age) > 10:
        return SyntaxFault("the policy has no max_age")
    patterns = [pattern for host in hosts[:_MAX_HOSTS] if (pattern := _pattern(host)) is not None]
    if not patterns and mode is not StsMode.NONE:
        return SyntaxFault("the policy names no host")
    return StsPolicy(mode, tuple(patterns), min(int(age), MAX_AGE_S))


def covers(policy: StsPolicy, host: str) -> bool:
    """Whether a canonical host name is one of the policy's; `*` stands for exactly one label (RFC 8461 4.1)."""
    parent = "*." + host.partition(".")[2]
    return any(pattern in (host, parent) for pattern in policy.hosts)


def _pattern(text: str) -> str | None:
    """A canonical pattern, None for what is none."""
    star = "*." if text.startswith("*.") else ""
    name = canonical_domain(text[len(star) :].rstrip("."))
    return None if name is None else star + name
