"""A DMARC policy record as a value (RFC 9989 4.7). Pure, and lenient as 4.7 wants it.

Unknown tags are ignored, and so are the `pct`, `rf` and `ri` of RFC 7489. A tag whose value cannot be read counts as
not there; but for the three policies, which make the record one that asks for nothing (RFC 9989 4.10.1).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

MAX_RECORD_CHARS = 16_384
_MAX_URIS = 10

# The version comes first, and only so written (RFC 9989 4.8).
_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)", re.IGNORECASE)
_VERSION_VALUE = "DMARC1"
_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_MAILTO = re.compile(r"mailto:[^@\s,!]+@[A-Za-z0-9._-]+(?:\?\S*)?\Z", re.IGNORECASE)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+\Z")
# An obsolete limit to a report's size, which is not part of the address.
_SIZE = re.compile(r"![0-9]+[kmgt]?\Z", re.IGNORECASE)


class Policy(Enum):
    """What the owner of a domain asks for when a message fails, from the mildest on."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"

    @property
    def lowered(self) -> "Policy":
        """One step milder, as for a domain that only tries DMARC out (`t=y`)."""
        return Policy.QUARANTINE if self is Policy.REJECT else Policy.NONE


_Word = TypeVar("_Word", bound=Enum)


class Alignment(Enum):
    """How much of two domains must agree (RFC 9989 4.4)."""

    RELAXED = "r"
    STRICT = "s"


class PublicSuffix(Enum):
    """What a domain says of itself: one below which others register (RFC 9989 4.7, `psd`)."""

    YES = "y"
    NO = "n"
    UNSAID = "u"


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """One record. `subdomains` (`sp`) and `nonexistent` (`np`) are None where they are not said.

    `is_void`: its policies cannot be read and nobody asked for reports, so that it asks for nothing at all.
    """

    policy: Policy = Policy.NONE
    subdomains: Policy | None = None
    nonexistent: Policy | None = None
    public_suffix: PublicSuffix = PublicSuffix.UNSAID
    is_testing: bool = False
    dkim: Alignment = Alignment.RELAXED
    spf: Alignment = Alignment.RELAXED
    reports_to: tuple[str, ...] = ()
    failures_to: tuple[str, ...] = ()
    failure_options: tuple[str, ...] = ("0",)
    is_void: bool = False

    @property
    def below(self) -> Policy:
        """For a name below that exists."""
        return self.policy if self.subdomains is None else self.subdomains

    @property
    def below_nonexistent(self) -> Policy:
        """For a name below that does not exist."""
        return self.below if self.nonexistent is None else self.nonexistent


def is_dmarc(text: str) -> bool:
    """Whether a TXT record is a DMARC record of version 1."""
    found = _VERSION.match(text)
    return found is not None and _VERSION_VALUE in found.group()


def only_record(texts: Iterable[str]) -> DmarcRecord | None:
    """The record among the TXT records of one name; None when there is none, or more than one (RFC 9989 4.10)."""
    records = [text for text in texts if is_dmarc(text)]
    return parse_record(records[0]) if len(records) == 1 else None


def parse_record(text: str) -> DmarcRecord:
    """Read a record for which `is_dmarc` holds. Of a tag that stands there twice, the first counts."""
    tags: dict[str, str] = {}
    for part in text[:MAX_RECORD_CHARS].split(";"):
        name, equals, value = part.partition("=")
        name = name.strip(" \t").lower()
        if equals and _TAG_NAME.match(name):
            tags.setdefault(name, value.strip(" \t"))
    record = DmarcRecord(
        public_suffix=_one_of(PublicSuffix, tags.get("psd")) or PublicSuffix.UNSAID,
        is_testing=tags.get("t", "").lower() == "y",
        dkim=_one_of(Alignment, tags.get("adkim")) or Alignment.RELAXED,
        spf=_one_of(Alignment, tags.get("aspf")) or Alignment.RELAXED,
        reports_to=_uris(tags.get("rua", "")),
        failures_to=_uris(tags.get("ruf", "")),
        failure_options=_options(tags.get("fo", "")),
    )
    return _with_policies(record, tags)


def _with_policies(record: DmarcRecord, tags: Mapping[str, str]) -> DmarcRecord:
    """RFC 9989 4.10.1: one policy that cannot be read makes all of them *none*."""
    said = {name: _one_of(Policy, tags[name]) for name in ("p", "sp", "np") if name in tags}
    if None in said.values():
        return replace(record, is_void=not record.reports_to)
    return replace(record, policy=said.get("p") or Policy.NONE, subdomains=said.get("sp"), nonexistent=said.get("np"))


def _one_of(kind: type[_Word], text: str | None) -> _Word | None:
    return next((one for one in kind if text is not None and one.value == text.lower()), None)


def _uris(text: str) -> tuple[str, ...]:
    """The addresses that can be read, without the size that some still carry."""
    found: list[str] = []
    for part in text.split(","):
        uri = _SIZE.sub("", part.strip(" \t"))
        rule = _MAILTO if uri[:7].lower() == "mailto:" else _URI
        if rule.match(uri):
            found.append(uri)
    return tuple(found[:_MAX_URIS])


def _options(text: str) -> tuple[str, ...]:
    known = tuple(part for word in text.split(":") if (part := word.strip(" \t").lower()) in ("0", "1", "d", "s"))
    return known or ("0",)
