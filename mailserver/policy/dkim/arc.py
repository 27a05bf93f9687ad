"""The Authenticated Received Chain (RFC 8617): its sets, and whether the chain holds. Verifying only, no sealing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mailserver.mail.headers import HeaderField
from mailserver.policy.dkim.result import NO_ARC, ArcResult, ArcVerdict
from mailserver.policy.dkim.signature import MAX_SIGNATURE_OCTETS, Signature, read_message_signature, read_seal
from mailserver.policy.dkim.tags import Tags, number, parse_tags

_RESULTS, _MESSAGE_SIGNATURE, _SEAL = b"arc-authentication-results", b"arc-message-signature", b"arc-seal"
ARC_FIELDS = frozenset((_RESULTS, _MESSAGE_SIGNATURE, _SEAL))
# RFC 8617 4.2.1 has 50 for the instances, and at least 10 must work; each costs up to two look-ups.
MAX_SETS = 20


@dataclass(slots=True)
class _Set:
    """The three fields of one instance, by name."""

    fields: dict[bytes, HeaderField] = field(default_factory=dict)
    tags: dict[bytes, Tags] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArcChain:
    """A chain whose form is right. `seals` with what each covers, the first instance first."""

    message_signature: Signature
    seals: tuple[tuple[Signature, tuple[bytes, ...]], ...]

    @property
    def key_names(self) -> tuple[str, ...]:
        """Where the keys are."""
        return (self.message_signature.key_name, *(seal.key_name for seal, _ in self.seals))

    def result(self, fault_of: Callable[[Signature, Iterable[bytes]], str], newest: str) -> ArcResult:
        """What the chain is worth (5.2, steps 4 to 6).

        `fault_of` says what is wrong with a seal, empty for nothing; `newest` is the same of the newest message
        signature.
        """
        if newest:
            return _failed(f"the newest message signature: {newest}")
        for instance in range(len(self.seals), 0, -1):
            fault = fault_of(*self.seals[instance - 1])
            if fault:
                return _failed(f"seal {instance}: {fault}")
        return ArcResult(ArcVerdict.PASS, "", tuple(seal.result.domain for seal, _ in self.seals))


def read_chain(fields: Iterable[HeaderField]) -> ArcChain | ArcResult:
    """The chain in a header's ARC fields, or what it comes to without being checked (5.2, steps 1 to 3)."""
    sets: dict[int, _Set] = {}
    for one in fields:
        fault = _sort_in(sets, one)
        if fault:
            return _failed(fault)
    if not sets:
        return NO_ARC
    count = len(sets)
    if sorted(sets) != list(range(1, count + 1)):
        return _failed("an instance is missing")
    if any(len(one.fields) < len(ARC_FIELDS) for one in sets.values()):
        return _failed("a set is not complete")
    newest = sets[count].tags[_SEAL]
    if "cv" in newest and newest["cv"].value.lower() == b"fail":
        return _failed(f"seal {count} says that the chain was broken before")
    for instance, found in sets.items():
        validity = found.tags[_SEAL].get("cv")
        if validity is None or validity.value.lower() != (b"none" if instance == 1 else b"pass"):
            return _failed(f"seal {instance}: cv= is not what it has to be")
    return _chain(sets)


def _sort_in(sets: dict[int, _Set], one: HeaderField) -> str:
    if len(one.raw) > MAX_SIGNATURE_OCTETS and one.name != _RESULTS:
        return "a field is too long"
    octets = one.raw.partition(b":")[2]
    # Authentication-Results are no list of tags, but begin with one (4.1.1).
    tags = parse_tags(octets.partition(b";")[0] if one.name == _RESULTS else octets)
    if isinstance(tags, str):
        return tags
    instance = number(tags["i"], max_digits=2) if "i" in tags else None
    if not instance:
        return "a field without an instance"
    if instance > MAX_SETS:
        return f"more than {MAX_SETS} sets"
    found = sets.setdefault(instance, _Set())
    if one.name in found.fields:
        return f"two fields of one kind in set {instance}"
    found.fields[one.name], found.tags[one.name] = one, tags
    return ""


def _chain(sets: dict[int, _Set]) -> ArcChain | ArcResult:
    count = len(sets)
    message_signature = read_message_signature(sets[count].fields[_MESSAGE_SIGNATURE])
    if isinstance(message_signature, str):
        return _failed(f"the newest message signature: {message_signature}")
    seals: list[tuple[Signature, tuple[bytes, ...]]] = []
    covered: list[bytes] = []
    for instance in range(1, count + 1):
        one = sets[instance]
        seal = read_seal(one.fields[_SEAL], one.tags[_SEAL])
        if isinstance(seal, str):
            return _failed(f"seal {instance}: {seal}")
        covered += (one.fields[_RESULTS].raw, one.fields[_MESSAGE_SIGNATURE].raw)
        seals.append((seal, tuple(covered)))
        covered.append(one.fields[_SEAL].raw)
    return ArcChain(message_signature, tuple(seals))


def _failed(reason: str) -> ArcResult:
    return ArcResult(ArcVerdict.FAIL, reason)
