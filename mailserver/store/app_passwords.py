"""App passwords: one for each device, made here and never chosen, so that a fast hash is enough to keep them by.

A line is `$app$<salt>$<digest>`: HMAC-SHA-256 of the password, keyed with the salt. A password has 98 random bits, and
whoever can try 10^12 a second needs longer than the age of the universe; the slowness of argon2id buys nothing then,
and would make each wrong login cost as much as the account has devices (docs/decisions/0007).
"""

import base64
import binascii
import hmac
import os
import re
import unicodedata
from dataclasses import dataclass, field

from mailserver.mail.scram import ScramKeys
from mailserver.ports import Use

_LEAD = "$app$"
_SALT_OCTETS = 16
# A device is part of a login name, of a log line and of a table's key.
_DEVICE = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?", re.ASCII)
DEVICE_RULE = "a device is named with 1 to 32 small letters, digits, - and _, such as phone or work-laptop"
MAX_DEVICES = 50


@dataclass(frozen=True, slots=True)
class Device:
    """One app password. `only`: what it is for, None for everything. `created` is seconds since the epoch."""

    name: str
    hash: str = field(repr=False)
    keys: ScramKeys | None = field(default=None, repr=False)
    only: Use | None = None
    created: float = 0.0

    def is_for(self, use: Use) -> bool:
        """Whether it may be used for this."""
        return self.only is None or self.only is use


def is_device(name: str) -> bool:
    """Whether this may be a device's name."""
    return _DEVICE.fullmatch(name) is not None


def hash_app_password(password: str) -> str:
    """The line for a generated password. Fast; never for a password that somebody chose."""
    salt = os.urandom(_SALT_OCTETS)
    return f"{_LEAD}{_text(salt)}${_text(_digest(salt, password))}"


def is_app_hash(stored: str) -> bool:
    """Whether this is such a line."""
    return _parts(stored) is not None


def fits(stored: str, password: str) -> bool:
    """Whether a password belongs to a line. Microseconds."""
    parts = _parts(stored)
    return parts is not None and hmac.compare_digest(parts[1], _digest(parts[0], password))


def _digest(salt: bytes, password: str) -> bytes:
    text = unicodedata.normalize("NFC", password) if not password.isascii() else password
    return hmac.digest(salt, text.encode("utf-8", "surrogatepass"), "sha256")


def _parts(stored: str) -> tuple[bytes, bytes] | None:
    if not stored.startswith(_LEAD):  # asked for each command of a session, mostly about another kind of hash
        return None
    salt_text, _, digest_text = stored.removeprefix(_LEAD).partition("$")
    try:
        salt, digest = (base64.b64decode(one, validate=True) for one in (salt_text, digest_text))
    except (binascii.Error, ValueError):
        return None
    return (salt, digest) if salt and len(digest) == 32 else None


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")
