"""The server's side of SASL, for SMTP and POP3 alike.

PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 7677; see `scram`).

An exchange takes decoded octets and answers a `Step`; whoever speaks the protocol does the base64 with
`decode_response` and `decode_initial_response`, sends challenges, and reads `*` as a cancellation. Nothing here checks
a password. CRAM-MD5 is left out: it would need passwords in clear on disk.
"""

import binascii
from dataclasses import dataclass, field
from enum import Enum

from mailserver.wire.scram import ClientHello, ScramFault, ScramMachine

# RFC 4954 4: lines of an exchange have up to 12,288 octets, CRLF included; a few more do no harm.
MAX_SASL_LINE_OCTETS = 16_384
CANCEL = b"*"


class Mechanism(Enum):
    """What is offered, in the order of preference; the value is the name on the wire."""

    SCRAM_SHA_256_PLUS = "SCRAM-SHA-256-PLUS"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    PLAIN = "PLAIN"
    LOGIN = "LOGIN"

    @property
    def is_scram(self) -> bool:
        """Whether it needs the account's keys; what is not can always be offered."""
        return self in (Mechanism.SCRAM_SHA_256_PLUS, Mechanism.SCRAM_SHA_256)


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
        return acts_for_another(self.authzid, self.login)


@dataclass(frozen=True, slots=True)
class ScramHello:
    """Who somebody will prove to be: look up the keys, and answer what `machine.challenge` gives."""

    hello: ClientHello
    machine: ScramMachine = field(compare=False, repr=False)

    @property
    def acts_for_another(self) -> bool:
        """As with `Claim`."""
        return acts_for_another(self.hello.authzid, self.hello.login)


@dataclass(frozen=True, slots=True)
class ScramProof:
    """A proof came: ask the machine whether the keys fit, and answer its `signature` as a challenge."""

    machine: ScramMachine = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ScramDone:
    """The client has taken our signature: it is logged in."""


@dataclass(frozen=True, slots=True)
class SaslFault:
    """The response does not follow the mechanism; `reason` may be said to the peer."""

    reason: str


Step = Challenge | Claim | SaslFault | ScramHello | ScramProof | ScramDone


def acts_for_another(authzid: str, login: str) -> bool:
    """Whether the authorization identity is somebody else than who logs in."""
    return bool(authzid) and authzid.casefold() != login.casefold()


class Exchange:
    """One run of one mechanism. `start` once, then `respond` after every `Challenge`."""

    __slots__ = ("_login", "_mechanism", "_scram", "_scram_round")

    def __init__(self, mechanism: Mechanism) -> None:
        self._mechanism = mechanism
        self._login: str | None = None
        self._scram = ScramMachine() if mechanism.is_scram else None
        self._scram_round = 0

    @property
    def mechanism(self) -> Mechanism:
        """What is being run."""
        return self._mechanism

    def start(self, initial: bytes | None) -> Step:
        """Begin; `initial` is the decoded initial response, None when the client sent none."""
        if initial is not None:
            return self.respond(initial)
        # RFC 4616 2, RFC 5802 5: the client speaks first, so the challenge is empty. LOGIN's words are what old clients
        # look for.
        return Challenge(b"Username:" if self._mechanism is Mechanism.LOGIN else b"")

    def respond(self, response: bytes) -> Step:
        """Go on with a decoded response."""
        if self._mechanism is Mechanism.PLAIN:
            return _plain(response)
        if self._scram is not None:
            return self._scram_step(self._scram, response)
        text = _text(response)
        if text is None:
            return SaslFault("the response is not UTF-8 text")
        if self._login is None:
            self._login = text
            return Challenge(b"Password:")
        return Claim("", self._login, text)

    def _scram_step(self, machine: ScramMachine, response: bytes) -> Step:
        """Three responses, each of its own kind."""
        self._scram_round += 1
        match self._scram_round:
            case 1:
                hello = machine.hello(response)
                return SaslFault(hello.reason) if isinstance(hello, ScramFault) else ScramHello(hello, machine)
            case 2:
                fault = machine.proof(response)
                return ScramProof(machine) if fault is None else SaslFault(fault.reason)
            case _:
                # RFC 4954 4: what goes with a success is a challenge, and its answer is empty.
                return SaslFault("an empty response is expected") if response else ScramDone()


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
