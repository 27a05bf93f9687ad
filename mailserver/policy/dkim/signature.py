"""One signature field taken apart (RFC 6376 3.5, RFC 8617 4.1), before anything is asked of DNS."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256

from mailserver.mail.address import canonical_domain
from mailserver.mail.headers import HeaderField
from mailserver.policy.dkim.canonical import Form, canonical_field, forms
from mailserver.policy.dkim.result import DkimResult, DkimVerdict
from mailserver.policy.dkim.tags import Tag, Tags, from_base64, number, parse_tags, words

MAX_SIGNATURE_OCTETS = 16_384
ALGORITHMS = frozenset(("rsa-sha256", "ed25519-sha256"))
_WEAK = frozenset(("rsa-sha1",))
# `x=` is compared with a clock that is not the signer's.
_CLOCK_SLACK_S = 300
_START_CHARS = 8  # RFC 6008 3
_MAX_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that can be checked. `key_name` is where its key is in DNS, `names` the fields it covers.

    `without_b` is the field as it came with the value of `b=` removed and without its last CRLF (3.7). `limit` is the
    value of `l=`.
    """

    result: DkimResult  # who signed and how; its verdict is not known yet
    key_name: str
    header_form: Form
    body_form: Form
    limit: int | None
    names: tuple[bytes, ...]
    body_hash: bytes
    signature: bytes
    without_b: bytes
    is_for_subdomain: bool = False

    @property
    def algorithm(self) -> str:
        """`rsa-sha256` or `ed25519-sha256`."""
        return self.result.algorithm

    def header_digest(self, raw_fields: Iterable[bytes]) -> bytes:
        """The hash that was signed, over these fields and the signature's own."""
        hashed = sha256()
        for raw in raw_fields:
            hashed.update(canonical_field(raw, self.header_form))
        hashed.update(canonical_field(self.without_b + b"\r\n", self.header_form)[:-2])
        return hashed.digest()


class SignedFields:
    """The fields of a header by name, for choosing those that a signature covers."""

    def __init__(self, fields: Iterable[HeaderField]) -> None:
        self._by_name: dict[bytes, list[bytes]] = {}
        for field in fields:
            self._by_name.setdefault(field.name, []).append(field.raw)

    def chosen(self, names: Iterable[bytes]) -> list[bytes]:
        """One field for each name, from below, each field once; a name without a field left chooses none (5.4.2)."""
        found: list[bytes] = []
        taken: dict[bytes, int] = {}
        for name in names:
            pile = self._by_name.get(name, ())
            count = taken.get(name, 0) + 1
            if count <= len(pile):
                taken[name] = count
                found.append(pile[-count])
        return found

    def count(self, name: bytes) -> int:
        """How many fields have this name."""
        return len(self._by_name.get(name, ()))


def read_signature(field: HeaderField, now: float) -> Signature | DkimResult:
    """A DKIM-Signature field, or what it comes to without being checked. `now` is in seconds since the epoch."""
    if len(field.raw) > MAX_SIGNATURE_OCTETS:
        return DkimResult(DkimVerdict.POLICY, "the signature field is too long")
    octets = field.raw.partition(b":")[2]
    tags = parse_tags(octets)
    if isinstance(tags, str):
        return DkimResult(DkimVerdict.NEUTRAL, tags)
    result = described(tags)
    missing = [name for name in ("v", "a", "b", "bh", "d", "h", "s") if name not in tags]
    if missing:
        return judged(result, DkimVerdict.NEUTRAL, f"the tag {missing[0]}= is missing")
    if tags["v"].value != b"1":
        return judged(result, DkimVerdict.NEUTRAL, "another version of DKIM")
    fault = _not_acceptable(tags, now)
    if fault is not None:
        return judged(result, *fault)
    domain_of_i = _domain_of_identity(tags)
    if domain_of_i != result.domain and not domain_of_i.endswith("." + result.domain):
        return judged(result, DkimVerdict.PERMERROR, "i= is not within d=")
    if b"from" not in words(tags["h"].value):
        return judged(result, DkimVerdict.PERMERROR, "From is not signed")
    read = _checkable(field.raw, octets, tags, result)
    if isinstance(read, Signature) and domain_of_i != result.domain:
        return replace(read, is_for_subdomain=True)
    return read


def read_message_signature(field: HeaderField) -> Signature | str:
    """An ARC-Message-Signature: no `v=`, and `i=` is a number (RFC 8617 4.1.2). A text says what is wrong."""
    octets = field.raw.partition(b":")[2]
    tags = parse_tags(octets)
    if isinstance(tags, str):
        return tags
    for name in ("a", "b", "bh", "d", "h", "s"):
        if name not in tags:
            return f"the tag {name}= is missing"
    if b"arc-seal" in words(tags["h"].value):
        return "a seal is signed"
    read = _checkable(field.raw, octets, tags, described(tags))
    return read if isinstance(read, Signature) else read.reason


def read_seal(field: HeaderField, tags: Tags) -> Signature | str:
    """An ARC-Seal and its tags, whose header form is fixed and which has neither `h=` nor `bh=` (RFC 8617 4.1.3)."""
    for name in ("a", "b", "d", "s"):
        if name not in tags:
            return f"the tag {name}= is missing"
    if "h" in tags:
        return "h= in a seal"
    forced = dict(tags) | {"h": Tag(b"", 0, 0), "bh": Tag(b"", 0, 0), "c": Tag(b"relaxed/relaxed", 0, 0)}
    forced.pop("l", None)
    read = _checkable(field.raw, field.raw.partition(b":")[2], forced, described(tags))
    return read if isinstance(read, Signature) else read.reason


def described(tags: Tags) -> DkimResult:
    """Who says to have signed, for a result."""

    def text(name: str) -> str:
        return tags[name].text[:_MAX_SHOWN] if name in tags else ""

    start = b"".join(tags["b"].value.split())[:_START_CHARS] if "b" in tags else b""
    return DkimResult(
        DkimVerdict.NEUTRAL,
        domain=canonical_domain(tags["d"].text) or "" if "d" in tags else "",
        selector=canonical_domain(tags["s"].text) or "" if "s" in tags else "",
        algorithm=text("a").lower(),
        start=start.decode("ascii", "replace").replace("\ufffd", "?"),
    )


def judged(result: DkimResult, verdict: DkimVerdict, reason: str = "", *, is_testing: bool = False) -> DkimResult:
    """The result with its verdict."""
    return replace(result, verdict=verdict, reason=reason, is_testing=is_testing)


def _not_acceptable(tags: Tags, now: float) -> tuple[DkimVerdict, str] | None:
    if tags["a"].text.lower() in _WEAK:
        return DkimVerdict.POLICY, "SHA-1 proves nothing any more (RFC 8301)"
    if "q" in tags and not any(method == b"dns/txt" for method in words(tags["q"].value)):
        return DkimVerdict.PERMERROR, "the key is not in DNS"
    made, expires = (number(tags[name]) if name in tags else 0 for name in ("t", "x"))
    if made is None or expires is None:
        return DkimVerdict.NEUTRAL, "a time that is no number"
    if "x" in tags and made > expires:
        return DkimVerdict.NEUTRAL, "it expired before it was made"
    if "x" in tags and expires + _CLOCK_SLACK_S < now:
        return DkimVerdict.POLICY, "the signature has expired"
    return None


def _domain_of_identity(tags: Tags) -> str:
    """The domain in `i=`; without that tag it is `d=` (3.5). Empty when it is none."""
    text = tags["i"].text.rpartition("@")[2] if "i" in tags else tags["d"].text
    return canonical_domain(text) or ""


def _checkable(raw: bytes, octets: bytes, tags: Tags, result: DkimResult) -> Signature | DkimResult:
    if result.algorithm not in ALGORITHMS:
        return judged(result, DkimVerdict.NEUTRAL, "an unknown algorithm")
    key_name = canonical_domain(f"{result.selector}._domainkey.{result.domain}")
    if not result.domain or not result.selector or result.domain.startswith("[") or key_name is None:
        return judged(result, DkimVerdict.NEUTRAL, "d= or s= is no name")
    both = forms(tags["c"].value if "c" in tags else b"simple/simple")
    if both is None:
        return judged(result, DkimVerdict.NEUTRAL, "an unknown canonical form")
    limit = number(tags["l"], max_digits=76) if "l" in tags else None
    if "l" in tags and limit is None:
        return judged(result, DkimVerdict.NEUTRAL, "l= is no number")
    body_hash, signature = from_base64(tags["bh"].value), from_base64(tags["b"].value)
    if body_hash is None or not signature:
        return judged(result, DkimVerdict.NEUTRAL, "b= or bh= is no base64")
    place = len(raw) - len(octets)
    start, end = place + tags["b"].start, place + tags["b"].end
    without_b = raw[:start] + raw[end:]
    names = tuple(words(tags["h"].value)) if tags["h"].value else ()
    return Signature(
        result, key_name, both[0], both[1], limit, names, body_hash, signature, without_b.removesuffix(b"\r\n")
    )
