"""Password hashes: ours (argon2id), and those from elsewhere, which are verified and replaced at the next login.

A stored hash may carry Dovecot's `{SCHEME}` before it. Everything here blocks for as long as a slow hash takes (about
25 ms for ours), so it runs in the `PASSWORDS` lane or on the command line.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import argon2

from mailserver.mail.address import Mailbox

# OWASP's choice for argon2id: 19 MiB, two passes, one lane. The small memory matters: two run at once (design section
# 8), on machines of 512 MiB too, and a stranger decides when.
MEMORY_KIB = 19456
PASSES = 2

# Longer ones are nobody's password, and SHA-crypt takes time in proportion.
MAX_PASSWORD_OCTETS = 1000
# bcrypt has never looked further; its library refuses what is longer instead of leaving the rest out.
_BCRYPT_OCTETS = 72

# Letters and digits that nobody mistakes for another when they are read aloud or copied from paper.
_GENERATED_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_GENERATED_GROUPS = 4
_GENERATED_GROUP_LENGTH = 5

_SHORT = 10
_FIRST_TRIED = (
    "password passw0rd password1 password12 password123 qwertyuiop qwerty1234 1234567890 0987654321 1q2w3e4r5t "
    "1qaz2wsx3edc iloveyou12 letmein123 welcome123 changeme123 administrator mailserver postmaster secretsecret "
    "abcdefghij abcdefghijkl 123456789a qwerty12345 passwordpassword 12345678910 123456789012 asdfghjkl1 hello12345"
)
_COMMON = frozenset(_FIRST_TRIED.split())

_PREFIX = re.compile(r"\{([A-Za-z0-9-]+)(?:\.(?:b64|hex))?\}", re.ASCII | re.IGNORECASE)
_HEX = re.compile(r"[0-9A-Fa-f]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password fits a stored hash; `should_upgrade` when it fits and the hash is not of our present kind.

    `trouble` tells why a hash could not be checked at all (then `is_right` is False); it never holds password or hash.
    """

    is_right: bool
    should_upgrade: bool = False
    trouble: str = ""


class Passwords:
    """Hashes and verifies. The cost is an argument so that tests need not wait."""

    def __init__(self, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._hasher = argon2.PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)

    def hash(self, password: str) -> str:
        """A new argon2id hash. Blocks. Raises `ValueError` for an empty password and one over `MAX_PASSWORD_OCTETS`."""
        octets = _octets(password)
        if octets is None or not octets:
            raise ValueError(f"a password has from 1 to {MAX_PASSWORD_OCTETS} octets")
        return self._hasher.hash(octets)

    def check(self, stored: str, password: str) -> Verdict:
        """Whether `password` fits `stored`. Blocks; never raises: what a verifier raises is a wrong password."""
        octets = _octets(password)
        if octets is None:
            # Takes as long as any other wrong password.
            octets, is_possible = b"", False
        else:
            is_possible = True
        verify = _verifier(stored)
        if verify is None:
            return Verdict(False, trouble="this kind of password hash is not known here")
        try:
            fits = verify(_without_prefix(stored), octets)
        except Exception as error:  # noqa: BLE001 - told to the operator; a damaged hash must not stop a session
            return Verdict(False, trouble=f"the stored password hash cannot be checked: {type(error).__name__}")
        if not (fits and is_possible):
            return Verdict(False)
        return Verdict(True, should_upgrade=self._is_outdated(stored))

    def decoy(self) -> str:
        """A hash of our kind that no password fits, for logins that do not exist. Costs nothing to make."""
        salt, digest = (base64.b64encode(os.urandom(size)).rstrip(b"=").decode() for size in (16, 32))
        cost = f"m={self._hasher.memory_cost},t={self._hasher.time_cost},p={self._hasher.parallelism}"
        return f"$argon2id$v=19${cost}${salt}${digest}"

    def _is_outdated(self, stored: str) -> bool:
        inner = _without_prefix(stored)
        return not inner.startswith("$argon2id$") or self._hasher.check_needs_rehash(inner)


def is_known_hash(stored: str) -> bool:
    """Whether `check` knows this kind of hash."""
    return _verifier(stored) is not None


def generate_password() -> str:
    """A random password of 99 bits that can be typed on a telephone: `k7dmq-3xwzp-9fhtr-b2vns`."""
    return "-".join(
        "".join(secrets.choice(_GENERATED_ALPHABET) for _ in range(_GENERATED_GROUP_LENGTH))
        for _ in range(_GENERATED_GROUPS)
    )


def weakness(password: str, mailbox: Mailbox) -> str | None:
    """Why a password is easily guessed, or None. For a warning; nothing is refused for it."""
    folded = password.lower()
    if len(password) < _SHORT:
        return f"it is short: {len(password)} characters; {_SHORT} or more are better"
    if folded in _COMMON or len(set(folded)) <= 3:
        return "it is one of the first that are tried"
    names = [mailbox.local_part.lower(), *(label for label in mailbox.domain.split(".") if len(label) > 3)]
    if any(len(name) > 2 and name in folded and len(folded) - len(name) < _SHORT for name in names):
        return "it is little more than the address"
    return None


# --- the kinds --------------------------------------------------------------------------------------------------------

_Verify = Callable[[str, bytes], bool]


def _octets(password: str) -> bytes | None:
    """The octets that are hashed: UTF-8 of the NFC form (RFC 8265 4.2.2). None when no stored password can be this."""
    if not password.isascii():
        password = unicodedata.normalize("NFC", password)
    try:
        octets = password.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return octets if len(octets) <= MAX_PASSWORD_OCTETS and b"\0" not in octets else None


def _without_prefix(stored: str) -> str:
    """Dovecot's `{SCHEME}` is taken off where the hash itself tells its kind."""
    found = _PREFIX.match(stored)
    return stored[found.end() :] if found and stored[found.end() :].startswith("$") else stored


def _verifier(stored: str) -> _Verify | None:
    inner = _without_prefix(stored)
    if inner.startswith("$"):
        if inner.startswith("$1$") and stored.upper().startswith("{PBKDF2}"):
            return _pbkdf2_of_dovecot
        return next((verify for lead, verify in _BY_LEAD if inner.startswith(lead)), None)
    found = _PREFIX.match(stored)
    return _BY_SCHEME.get(found[1].upper()) if found else None


def _argon2(stored: str, octets: bytes) -> bool:
    try:
        return argon2.PasswordHasher().verify(stored, octets)
    except argon2.exceptions.VerifyMismatchError:
        return False


def _bcrypt(stored: str, octets: bytes) -> bool:
    import bcrypt

    # $2y$ is what PHP and htpasswd write for the same thing.
    return bcrypt.checkpw(octets[:_BCRYPT_OCTETS], stored.replace("$2y$", "$2b$", 1).encode("ascii"))


def _by_libpass(name: str) -> _Verify:
    def verify(stored: str, octets: bytes) -> bool:
        from passlib import hash as kinds  # type: ignore[import-untyped]

        return bool(getattr(kinds, name).verify(octets, stored))

    return verify


def _salted_digest(algorithm: str) -> _Verify:
    """{SSHA} and its kin: digest of password and salt, then the salt (OpenLDAP, Dovecot); salts of any length."""
    digest_size = hashlib.new(algorithm).digest_size

    def verify(stored: str, octets: bytes) -> bool:
        text = stored[stored.index("}") + 1 :]
        raw = bytes.fromhex(text) if _is_hex(stored, text) else base64.b64decode(text, validate=True)
        if len(raw) < digest_size:
            raise binascii.Error("too short")
        computed = hashlib.new(algorithm, octets + raw[digest_size:]).digest()
        return hmac.compare_digest(computed, raw[:digest_size])

    return verify


def _is_hex(stored: str, text: str) -> bool:
    return stored[: stored.index("}")].lower().endswith(".hex") and bool(_HEX.fullmatch(text))


def _pbkdf2_of_dovecot(stored: str, octets: bytes) -> bool:
    """`{PBKDF2}$1$salt$rounds$hex`: HMAC-SHA-1, the salt as it is written."""
    _, _, salt, rounds, digest = stored.split("$")
    expected = bytes.fromhex(digest)
    computed = hashlib.pbkdf2_hmac("sha1", octets, salt.encode("ascii"), int(rounds), len(expected))
    return hmac.compare_digest(computed, expected)


_BY_LEAD: tuple[tuple[str, _Verify], ...] = (
    ("$argon2", _argon2),
    ("$2a$", _bcrypt),
    ("$2b$", _bcrypt),
    ("$2y$", _bcrypt),
    ("$6$", _by_libpass("sha512_crypt")),
    ("$5$", _by_libpass("sha256_crypt")),
    ("$1$", _by_libpass("md5_crypt")),
    ("$pbkdf2-sha512$", _by_libpass("pbkdf2_sha512")),
    ("$pbkdf2-sha256$", _by_libpass("pbkdf2_sha256")),
    ("$pbkdf2$", _by_libpass("pbkdf2_sha1")),
)
_BY_SCHEME: dict[str, _Verify] = {
    "SSHA": _salted_digest("sha1"),
    "SSHA256": _salted_digest("sha256"),
    "SSHA512": _salted_digest("sha512"),
    "PBKDF2": _by_libpass("ldap_pbkdf2_sha1"),
    "PBKDF2-SHA256": _by_libpass("ldap_pbkdf2_sha256"),
    "PBKDF2-SHA512": _by_libpass("ldap_pbkdf2_sha512"),
}
