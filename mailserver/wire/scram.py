"""The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS as a machine (RFC 5802, RFC 7677).

    client  n,,n=alice,r=NONCE                      -> `ScramHello`; answered with `challenge`
    server  r=NONCE+OURS,s=SALT,i=ITERATIONS
    client  c=BINDING,r=NONCE+OURS,p=PROOF          -> `ScramProof`; asked with `binds_to` and `is_proved_by`
    server  v=SIGNATURE                             `signature`, as one more challenge (RFC 4954 4, RFC 5034 4)
    client  an empty response                       -> `ScramDone`: only now somebody is logged in

Keys, the nonce and what binds to the TLS channel come from outside; nothing here knows who exists. What does not follow
the grammar of RFC 5802 7 is a fault; what does and proves nothing is for the caller to refuse.
"""

import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from mailserver.mail.scram import ScramKeys

# A name of 1,000 octets and a nonce of 512 fit; nothing honest comes near.
MAX_MESSAGE_OCTETS = 4_096
_MAX_NONCE_OCTETS = 512
_DIGEST_OCTETS = 32


class Binding(Enum):
    """What a client says of channel binding (RFC 5802 6)."""

    NOT_SUPPORTED = "n"
    # It could, and believes that we cannot: where we can, somebody has changed the list of mechanisms.
    NOT_OFFERED = "y"
    USED = "p"


@dataclass(frozen=True, slots=True)
class ScramFault:
    """A message that does not follow the grammar; `reason` may be said to the peer."""

    reason: str


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The client's first message. `authzid` is empty when they act as themselves. `binding_name` with `p` only."""

    authzid: str
    login: str
    binding: Binding
    binding_name: str
    nonce: str
    # The messages as they came, which the proof is over.
    gs2_header: bytes
    bare: bytes


class ScramMachine:
    """One exchange. `hello` with the first message, `challenge`, `proof` with the second; then the questions."""

    __slots__ = ("_auth_message", "_binding", "_hello", "_nonce", "_proof", "_server_first")

    def __init__(self) -> None:
        self._hello: ClientHello | None = None
        self._nonce = b""
        self._server_first = b""
        self._binding = b""
        self._proof = b""
        self._auth_message = b""

    def hello(self, message: bytes) -> ClientHello | ScramFault:
        """Read the client's first message."""
        parsed = parse_client_first(message)
        if isinstance(parsed, ClientHello):
            self._hello = parsed
        return parsed

    def challenge(self, salt: bytes, iterations: int, nonce: str) -> bytes:
        """The server's first message. `nonce`: ours, printable, without comma, never used before."""
        assert self._hello is not None, "a challenge before the client's first message"
        self._nonce = (self._hello.nonce + nonce).encode("ascii")
        salt_text = binascii.b2a_base64(salt, newline=False)
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, salt_text, iterations)
        return self._server_first

    def proof(self, message: bytes) -> ScramFault | None:
        """Read the client's final message; None when it is in order, which proves nothing yet."""
        assert self._hello is not None and self._nonce, "a proof before a challenge"
        parsed = _parse_client_final(message)
        if isinstance(parsed, ScramFault):
            return parsed
        without_proof, self._binding, nonce, self._proof = parsed
        if nonce != self._nonce:
            return ScramFault("the nonce is not the one of this exchange")
        self._auth_message = b",".join((self._hello.bare, self._server_first, without_proof))
        return None

    def binds_to(self, channel: bytes) -> bool:
        """Whether the client saw the channel we see; `channel` is empty without channel binding (RFC 5802 6)."""
        assert self._hello is not None
        return hmac.compare_digest(self._binding, self._hello.gs2_header + channel)

    def is_proved_by(self, keys: ScramKeys) -> bool:
        """Whether the client knows the password that these keys were made of (RFC 5802 3)."""
        signature = hmac.digest(keys.stored_key, self._auth_message, "sha256")
        client_key = bytes(one ^ other for one, other in zip(self._proof, signature, strict=True))
        return hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key)

    def signature(self, keys: ScramKeys) -> bytes:
        """The server's final message, by which the client knows that we know it too."""
        signature = hmac.digest(keys.server_key, self._auth_message, "sha256")
        return b"v=" + binascii.b2a_base64(signature, newline=False)


# --- grammar (RFC 5802 7) ---------------------------------------------------------------------------------------------


def parse_client_first(message: bytes) -> ClientHello | ScramFault:
    """`gs2-cbind-flag "," [authzid] "," username "," nonce ["," extensions]`."""
    text = _text(message)
    if isinstance(text, ScramFault):
        return text
    parts = text.split(",")
    if len(parts) < 4:
        return ScramFault("a first message is flag, authzid, name and nonce")
    flag, authzid_part, name_part, nonce_part, *extensions = parts
    binding = _flag(flag)
    authzid: str | None = ""
    if authzid_part:
        authzid = _saslname(authzid_part[2:]) if authzid_part.startswith("a=") else None
    if name_part.startswith("m="):
        return ScramFault("an extension that must be understood is not")
    login = _saslname(name_part[2:]) if name_part.startswith("n=") else None
    nonce = nonce_part[2:]
    if binding is None or authzid is None or login is None or not nonce_part.startswith("r=") or not _is_nonce(nonce):
        return ScramFault("the first message is not as RFC 5802 has it")
    if not _are_extensions(extensions):
        return ScramFault("an extension is not as RFC 5802 has it")
    header = f"{flag},{authzid_part},"
    return ClientHello(
        authzid, login, binding, flag[2:], nonce, header.encode("utf-8"), text[len(header) :].encode("utf-8")
    )


def _flag(text: str) -> Binding | None:
    if text in ("n", "y"):
        return Binding(text)
    name = text[2:]
    is_name = name.isascii() and bool(name) and all(one.isalnum() or one in ".-" for one in name)
    return Binding.USED if text.startswith("p=") and is_name else None


def _parse_client_final(message: bytes) -> tuple[bytes, bytes, bytes, bytes] | ScramFault:
    """`channel-binding "," nonce ["," extensions] "," proof`: without the proof, then binding, nonce and proof."""
    text = _text(message)
    if isinstance(text, ScramFault):
        return text
    parts = text.split(",")
    if len(parts) < 3:
        return ScramFault("a final message is binding, nonce and proof")
    binding_part, nonce_part, *extensions, proof_part = parts
    binding, proof = _base64("c=", binding_part), _base64("p=", proof_part)
    if binding is None or not nonce_part.startswith("r=") or proof is None or len(proof) != _DIGEST_OCTETS:
        return ScramFault("the final message is not as RFC 5802 has it")
    if not _are_extensions(extensions):
        return ScramFault("an extension is not as RFC 5802 has it")
    without_proof = text[: -len(proof_part) - 1].encode("utf-8")
    return without_proof, binding, nonce_part[2:].encode("utf-8"), proof


def _text(message: bytes) -> str | ScramFault:
    if len(message) > MAX_MESSAGE_OCTETS:
        return ScramFault("the message is too long")
    try:
        text = message.decode("utf-8")
    except UnicodeDecodeError:
        return ScramFault("the message is not UTF-8 text")
    return ScramFault("the message has a NUL") if "\0" in text else text


def _saslname(text: str) -> str | None:
    """A name in which `=2C` stands for a comma and `=3D` for an equals sign; None for anything else behind `=`."""
    first, *rest = text.split("=")
    if not text or any(part[:2] not in ("2C", "3D") for part in rest):
        return None
    return first + "".join(("," if part[:2] == "2C" else "=") + part[2:] for part in rest)


def _is_nonce(text: str) -> bool:
    return 0 < len(text) <= _MAX_NONCE_OCTETS and all("!" <= one <= "~" for one in text)


def _are_extensions(parts: Iterable[str]) -> bool:
    """`ALPHA "=" value`, of which we know none: they are left alone. RFC 5802 5.1: `m` must fail wherever it stands."""
    return all(
        len(part) > 2 and part[0].isascii() and part[0].isalpha() and part[0] != "m" and part[1] == "="
        for part in parts
    )


def _base64(lead: str, part: str) -> bytes | None:
    if not part.startswith(lead):
        return None
    try:
        return binascii.a2b_base64(part[2:], strict_mode=True)
    except (binascii.Error, ValueError):
        return None
