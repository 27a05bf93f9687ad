"""Signing (RFC 6376 5, RFC 8463): the signature fields of one message, relaxed/relaxed, one for each key.

The fields are as long before the body is known as after, so that a message too large for memory can be written behind
a place kept free for them. The private operations are those of `cryptography`: they leave the interpreter's lock and
take the same time whatever the key.
"""

import base64
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from mailserver.mail.headers import fields
from mailserver.policy.dkim.canonical import BodyHash, Form, canonical_field
from mailserver.policy.dkim.signature import SignedFields

# Signed once more than they are there, so that nobody can add another one above (5.4, 8.15): what a reader is shown,
# what says how the body is to be read, and where an answer goes.
OVERSIGNED = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"reply-to",
    b"message-id",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
)
# Signed as often as they are there: RFC 6376 5.4.1, RFC 8058 4 and what mail programs act on.
IF_THERE = (
    b"sender",
    b"in-reply-to",
    b"references",
    b"content-id",
    b"content-description",
    b"content-disposition",
    b"resent-date",
    b"resent-from",
    b"resent-sender",
    b"resent-to",
    b"resent-cc",
    b"resent-message-id",
    b"list-id",
    b"list-help",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"list-subscribe",
    b"list-post",
    b"list-owner",
    b"list-archive",
    b"autocrypt",
    b"auto-submitted",
)
# A header with more fields of one name than that is nobody's; the rest is left unsigned, and so can be removed.
_MAX_OF_ONE_NAME = 20
_LINE_CHARS = 76
_DIGEST = b"\0" * 32


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, and under which name its other half is in DNS."""

    domain: str
    selector: str
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        """The `a=` tag."""
        return "rsa-sha256" if isinstance(self.key, rsa.RSAPrivateKey) else "ed25519-sha256"

    @property
    def signature_octets(self) -> int:
        """How long its signatures are."""
        return self.key.key_size // 8 if isinstance(self.key, rsa.RSAPrivateKey) else 64

    def sign(self, digest: bytes) -> bytes:
        """A signature over what has this SHA-256. Takes about a millisecond."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        return self.key.sign(digest)


class Signing:
    """The signatures of one message. `section` is its header as it will be sent, `now` in seconds since the epoch."""

    def __init__(self, section: bytes, keys: tuple[SigningKey, ...], now: float) -> None:
        self._keys = keys
        self._time = int(now)
        self._body = BodyHash(Form.RELAXED)
        header = SignedFields(fields(section))
        counts = Counter(field.name for field in fields(section))
        self._names: list[bytes] = []
        for name in OVERSIGNED:
            self._names += [name] * (min(counts[name], _MAX_OF_ONE_NAME) + 1)
        for name in IF_THERE:
            self._names += [name] * min(counts[name], _MAX_OF_ONE_NAME)
        self._covered = sha256()
        for raw in header.chosen(self._names):
            self._covered.update(canonical_field(raw, Form.RELAXED))

    def body(self, piece: bytes) -> None:
        """The next octets of the body, CRLF line ends, cut anywhere."""
        self._body.update(piece)

    def room(self) -> bytes:
        """Fields exactly as long as those of `fields` will be, without a signature in them."""
        return b"".join(self._field(key, _DIGEST) + self._folded(b"\0" * key.signature_octets) for key in self._keys)

    def fields(self) -> bytes:
        """The signature fields with CRLF line ends, when the body is at its end. Blocks for some milliseconds."""
        self._body.finish()
        signed: list[bytes] = []
        for key in self._keys:
            field = self._field(key, self._body.digest())
            digest = self._covered.copy()
            digest.update(canonical_field(field + b"\r\n", Form.RELAXED)[:-2])
            signed.append(field + self._folded(key.sign(digest.digest())))
        return b"".join(signed)

    def _field(self, key: SigningKey, body_hash: bytes) -> bytes:
        """The field up to and with `b=`."""
        lines = [
            f"DKIM-Signature: v=1; a={key.algorithm}; c=relaxed/relaxed;",
            f"\td={key.domain};",
            f"\ts={key.selector}; t={self._time};",
            *self._names_folded(),
            f"\tbh={base64.b64encode(body_hash).decode()};",
            "\tb=",
        ]
        return "\r\n".join(lines).encode("ascii")

    def _names_folded(self) -> list[str]:
        lines = ["\th="]
        for index, name in enumerate(self._names):
            text = name.decode("ascii") + (":" if index + 1 < len(self._names) else ";")
            if len(lines[-1]) + len(text) > _LINE_CHARS:
                lines.append("\t ")
            lines[-1] += text
        return lines

    def _folded(self, signature: bytes) -> bytes:
        """The value of `b=` with the field's end; folds in it are not signed."""
        text = base64.b64encode(signature)
        parts = [text[start : start + _LINE_CHARS] for start in range(0, len(text), _LINE_CHARS)]
        return b"\r\n\t".join(parts) + b"\r\n"
