"""Public keys from DNS (RFC 6376 3.6.1, RFC 8463 4) and what they verify."""

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mailserver.mail.dns import CannotTell, NoRecords, NoSuchName, TextAnswer
from mailserver.policy.dkim.result import DkimVerdict
from mailserver.policy.dkim.tags import Tags, from_base64, parse_tags, words

# RFC 8301 3.2.
MIN_RSA_BITS = 1024
# RFC 8301 asks for 4096; checking a larger one takes long and nobody has one.
MAX_RSA_BITS = 4096
_MAX_EXPONENT = 1 << 32
_MAX_RECORD_CHARS = 4096
# Several records under one name are a mistake (RFC 6376 3.6.2.2); so many are looked at.
_MAX_RECORDS = 5
_SHA256 = Prehashed(hashes.SHA256())


@dataclass(frozen=True, slots=True)
class KeyFault:
    """Why there is no key to verify with."""

    verdict: DkimVerdict
    reason: str


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key that may be used for one algorithm. `is_strict` (`t=s`): `i=` may not name a subdomain."""

    key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    is_testing: bool
    is_strict: bool

    def fits(self, signature: bytes, digest: bytes) -> bool:
        """Whether `signature` was made with the other half of this key over what has this SHA-256. Takes up to 1 ms."""
        try:
            if isinstance(self.key, rsa.RSAPublicKey):
                self.key.verify(signature, digest, padding.PKCS1v15(), _SHA256)
            else:
                self.key.verify(signature, digest)  # RFC 8463 3: over the hash
        except InvalidSignature:
            return False
        return True


def find_key(answer: TextAnswer, algorithm: str) -> VerifyingKey | KeyFault:
    """The key for `rsa-sha256` or `ed25519-sha256` in what DNS said."""
    match answer:
        case CannotTell(reason):
            return KeyFault(DkimVerdict.TEMPERROR, f"the key could not be looked up: {reason}")
        case NoSuchName() | NoRecords():
            return _permanent("there is no key")
    fault = _permanent("there is no key")
    for record in answer[:_MAX_RECORDS]:
        found = _read(record, algorithm)
        if isinstance(found, VerifyingKey):
            return found
        fault = found
    return fault


def _read(record: str, algorithm: str) -> VerifyingKey | KeyFault:
    if len(record) > _MAX_RECORD_CHARS:
        return _permanent("the key record is too long")
    tags = parse_tags(record.encode("latin-1", "replace"))
    if isinstance(tags, str):
        return _permanent(f"the key record is unreadable: {tags}")
    fault = _unsuitable(tags, algorithm)
    if fault:
        return _permanent(fault)
    octets = from_base64(tags["p"].value)
    key = None if octets is None else _loaded(octets, algorithm)
    if key is None:
        return _permanent("the key is unreadable")
    if isinstance(key, KeyFault):
        return key
    flags = words(tags["t"].value) if "t" in tags else []
    return VerifyingKey(key, b"y" in flags, b"s" in flags)


def _unsuitable(tags: Tags, algorithm: str) -> str:
    """What is wrong with a record before its key is looked at; empty for nothing. `g=` is history (RFC 6376 C.1)."""
    kind, _, hash_name = algorithm.partition("-")
    if "v" in tags and (tags["v"].value != b"DKIM1" or next(iter(tags)) != "v"):
        return "the key record has another version"
    if "p" not in tags:
        return "the key record has no key"
    if not tags["p"].value:
        return "the key was revoked"
    if (tags["k"].text.lower() if "k" in tags else "rsa") != kind:
        return "the key is for another algorithm"
    if "h" in tags and hash_name.encode() not in words(tags["h"].value):
        return "the key is not for this hash"
    if "s" in tags and not {b"*", b"email"} & set(words(tags["s"].value)):
        return "the key is not for mail"
    return ""


def _loaded(octets: bytes, algorithm: str) -> rsa.RSAPublicKey | ed25519.Ed25519PublicKey | KeyFault | None:
    if algorithm.startswith("ed25519"):
        try:
            return ed25519.Ed25519PublicKey.from_public_bytes(octets)
        except ValueError:
            return None
    try:
        key = load_der_public_key(octets)  # takes a SubjectPublicKeyInfo and the bare RSAPublicKey of RFC 6376's text
    except (ValueError, UnsupportedAlgorithm):
        return _too_short() if len(octets) < MIN_RSA_BITS // 8 and octets[:1] == b"\x30" else None
    if not isinstance(key, rsa.RSAPublicKey):
        return None
    if key.key_size < MIN_RSA_BITS:
        return _too_short()
    if key.key_size > MAX_RSA_BITS or key.public_numbers().e > _MAX_EXPONENT:
        return KeyFault(DkimVerdict.POLICY, f"an RSA key over {MAX_RSA_BITS} bits")
    return key


def _too_short() -> KeyFault:
    return KeyFault(DkimVerdict.POLICY, f"an RSA key under {MIN_RSA_BITS} bits (RFC 8301)")


def _permanent(reason: str) -> KeyFault:
    return KeyFault(DkimVerdict.PERMERROR, reason)
