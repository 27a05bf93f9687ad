"""The server's side of SASL, for SMTP and POP3 alike: PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login).

An exchange takes decoded octets and answers a `Step`; whoever speaks the protocol does the base64 with
`decode_response` and `decode_initial_response`, sends challenges, and reads `*` as a cancellation. Nothing here checks
a password. CRAM-MD5 is left out: it would need passwords in clear on disk.
"""

import binascii
from dataclasses import dataclass, field
from enum import Enum

# RFC 4954 4: lines of an exchange have up to 12,288 octets, CRLF included; a few more do no harm.
MAX_SASL_LINE_OCTETS = 16_384
CANCEL = b"*"


class Mechanism(Enum):
    """What is offered, in the order of preference; the value is the name on the wire."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send these octets (in base64) and hand the answer to `respond`."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """Who somebody says to be. `authzid` is empty when they act as themselves without saying so."""

    authzid: str
    login: str
    password: str = field(repr=False)

    @property
    def acts_for_another(self) -> bool:
        """True when the authorization identity is somebody else; nobody here may do that."""
        return bool(self.authzid) and self.authzid.casefold() != self.login.casefold()


@dataclass(frozen=True, slots=True)
class SaslFault:
    """The response does not follow the mechanism; `reason` may be said to the peer."""

    reason: str


Step = Challenge | Claim | SaslFault


class Exchange:
    """One run of one mechanism. `start` once, then `respond` after every `Challenge`."""

    __slots__ = ("_login", "_mechanism")

    def __init__(self, mechanism: Mechanism) -> None:
        self._mechanism = mechanism
        self._login: str | None = None

    @property
    def mechanism(self) -> Mechanism:
        """What is being run."""
        return self._mechanism

    def start(self, initial: bytes | None) -> Step:
        """Begin; `initial` is the decoded initial response, None when the client sent none."""
        if initial is not None:
            return self.respond(initial)
        # RFC 4616 2: PLAIN's challenge is empty. LOGIN's words are what old clients look for.
        return Challenge(b"" if self._mechanism is Mechanism.PLAIN else b"Username:")

    def respond(self, response: bytes) -> Step:
        """Go on with a decoded response."""
        if self._mechanism is Mechanism.PLAIN:
            return _plain(response)
        text = _text(response)
        if text is None:
            return SaslFault("the response is not UTF-8 text")
        if self._login is None:
            self._login = text
            return Challenge(b"Password:")
        return Claim("", self._login, text)


def _plain(message: bytes) -> Step:
    """RFC 4616 2: `[authzid] NUL authcid NUL passwd`."""
    parts = message.split(b"\0")
    if len(parts) != 3:
        return SaslFault("a PLAIN response is authzid NUL login NUL password")
    texts = [_text(part) for part in parts]
    authzid, login, password = texts
    if authzid is None or login is None or password is None:
        return SaslFault("the response is not UTF-8 text")
    return Claim(authzid, login, password)


def _text(octets: bytes) -> str | None:
    if b"\0" in octets:
        return None
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return None


def mechanism_named(name: str) -> Mechanism | None:
    """The mechanism of this name in any case; None when it is not offered."""
    try:
        # Without the check for ASCII `pla\u0131n` would be PLAIN.
        return Mechanism(name.upper()) if name.isascii() else None
    except ValueError:
        return None


def decode_response(line: bytes) -> bytes | SaslFault:
    """A base64 line as octets: padding required, nothing but the alphabet (RFC 4648 3). An empty line is empty."""
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        return SaslFault("the response is not base64")


def decode_initial_response(word: bytes) -> bytes | SaslFault:
    """The word behind the mechanism's name: as `decode_response`, and `=` is an empty response (RFC 4954 4)."""
    return b"" if word == b"=" else decode_response(word)


def encode_challenge(octets: bytes) -> str:
    """A challenge in base64, for the line that carries it."""
    return binascii.b2a_base64(octets, newline=False).decode("ascii")
