"""The keys that SCRAM-SHA-256 is checked with: what a server keeps instead of a password (RFC 5802 3, RFC 7677)."""

import hashlib
import hmac
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """StoredKey and ServerKey of one password, 32 octets each, with the salt and iteration count they were made with.

    Neither lets anybody log in; whoever has them can try passwords against them.
    """

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


def salted_keys(password: bytes, salt: bytes, iterations: int) -> ScramKeys:
    """The keys of a password that was prepared already (RFC 5802 3). Blocks for `iterations` rounds of HMAC."""
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return ScramKeys(
        salt, iterations, hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256")
    )
