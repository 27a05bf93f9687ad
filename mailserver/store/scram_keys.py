"""SCRAM keys as `accounts.toml` has them, and the preparation of passwords for them (RFC 5802, RFC 7677, RFC 4013).

A line is `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, as RFC 5803 and other programs write it. Keys
of an account's own password have a third part, which tells of which password hash they are: a hash that is replaced by
hand makes the old keys worth nothing.
"""

import base64
import binascii
import hashlib
import os
import unicodedata

from mailserver.mail.scram import ScramKeys, salted_keys

# RFC 7677 4 wants 4,096 at least. The client pays for these, at each login: 30,000 are 10 ms on a desktop and 50 ms on
# an old telephone, which may ask for mail each minute. A thief of the file has it seven times as hard as with the
# usual 4,096, and still easier than with the argon2id hash beside it: docs/decisions/0007.
ITERATIONS = 30_000
_MAX_ITERATIONS = 10_000_000
SALT_OCTETS = 16
_KIND = "SCRAM-SHA-256"
_DIGEST_OCTETS = 32


def make_keys(password: str, salt: bytes | None = None) -> ScramKeys | None:
    """New keys (blocks for some 10 ms). None for a password that no client could prepare as we do.

    `salt` of other keys of the same account: all of them have one, so that a client that logs in with the account's
    name may use any of its passwords.
    """
    octets = prepare(password)
    return None if octets is None else salted_keys(octets, salt or os.urandom(SALT_OCTETS), ITERATIONS)


def keys_text(keys: ScramKeys, of: str = "") -> str:
    """The line in the file. `of`: the stored password hash that these keys stand beside."""
    salt, stored, server = (
        base64.b64encode(part).decode("ascii") for part in (keys.salt, keys.stored_key, keys.server_key)
    )
    text = f"{_KIND}${keys.iterations}:{salt}${stored}:{server}"
    return f"{text}${_tag(of)}" if of else text


def scram_line(password: str, stored: str, salt: bytes | None = None) -> str:
    """The line for a password beside its hash `stored`; empty when there can be none. Blocks for some 10 ms."""
    keys = make_keys(password, salt)
    return "" if keys is None else keys_text(keys, stored)


def read_keys(text: str, of: str = "") -> ScramKeys | None:
    """The keys in a line; None when it is no such line, or of another password hash than `of`."""
    parts = text.split("$")
    if len(parts) != (4 if of else 3) or parts[0] != _KIND or (of and parts[3] != _tag(of)):
        return None
    count, _, salt_text = parts[1].partition(":")
    stored_text, _, server_text = parts[2].partition(":")
    try:
        salt, stored, server = (base64.b64decode(one, validate=True) for one in (salt_text, stored_text, server_text))
    except (binascii.Error, ValueError):
        return None
    is_count = count.isascii() and count.isdigit() and len(count) < 9 and 0 < int(count) <= _MAX_ITERATIONS
    if not is_count or not salt or len(stored) != _DIGEST_OCTETS or len(server) != _DIGEST_OCTETS:
        return None
    return ScramKeys(salt, int(count), stored, server)


def salt_of(text: str) -> bytes | None:
    """The salt in a line, of whatever password; None when it is no such line."""
    keys = read_keys("$".join(text.split("$")[:3]))
    return None if keys is None else keys.salt


def is_keys_text(text: str) -> bool:
    """Whether this is a line of ours, of whatever password."""
    parts = text.split("$")
    return len(parts) in (3, 4) and read_keys("$".join(parts[:3])) is not None


def _tag(stored: str) -> str:
    return hashlib.sha256(stored.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def prepare(password: str) -> bytes | None:
    """The octets that clients make of a password: SASLprep (RFC 4013) where it can be, UTF-8 of NFC (RFC 8265) else.

    For ASCII both are the text itself. None when it is empty, has a NUL, or is no text.
    """
    text = password if password.isascii() else _saslprep(password)
    try:
        octets = text.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return octets if octets and b"\0" not in octets else None


def _saslprep(text: str) -> str:
    """RFC 4013 for a stored string. What it forbids stays as it is, in NFC: clients send that, too."""
    import stringprep

    mapped = "".join(" " if stringprep.in_table_c12(one) else one for one in text if not stringprep.in_table_b1(one))
    prepared = unicodedata.normalize("NFKC", mapped)
    forbidden = (
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    is_allowed = bool(prepared) and not any(test(one) for one in prepared for test in forbidden)
    if not is_allowed or not _is_of_one_direction(prepared):
        return unicodedata.normalize("NFC", text)
    return prepared


def _is_of_one_direction(text: str) -> bool:
    """RFC 3454 6."""
    import stringprep

    if not any(map(stringprep.in_table_d1, text)):
        return True
    is_mixed = any(map(stringprep.in_table_d2, text))
    return not is_mixed and stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
