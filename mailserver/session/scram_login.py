"""A login by SCRAM, for SMTP and POP3 alike: what is offered, whose keys count, and what binds to the TLS channel.

No reply is made here and nothing is logged or slowed; the session does that as for any other login.
"""

import secrets
from dataclasses import dataclass

from mailserver.ports import Credentials, LoggedIn, ScramOffer, TlsDetails, Use
from mailserver.wire.sasl import Mechanism, ScramHello, ScramProof
from mailserver.wire.scram import Binding

_NONCE_OCTETS = 18
_ALWAYS = (Mechanism.PLAIN, Mechanism.LOGIN)


def offered_mechanisms(credentials: Credentials, tls: TlsDetails | None) -> tuple[Mechanism, ...]:
    """What may be used now, in the order of preference. SCRAM only when nobody is left out; -PLUS only over TLS."""
    if not credentials.offers_scram():
        return _ALWAYS
    if tls is None or tls.channel_binding is None:
        return (Mechanism.SCRAM_SHA_256, *_ALWAYS)
    return (Mechanism.SCRAM_SHA_256_PLUS, Mechanism.SCRAM_SHA_256, *_ALWAYS)


def listed_mechanisms(offered: tuple[Mechanism, ...]) -> list[str]:
    """The lists to say, one a line: all of it; and again without -PLUS, where that is offered.

    mutt and neomutt of 2022 (Debian 12, Ubuntu 24.04) with GNU SASL take -PLUS when they see it, have nothing to bind
    themselves by, and give up. Of several lists they believe the last one; others add them up, or take the first.
    """
    plain = [one.value for one in offered if one is not Mechanism.SCRAM_SHA_256_PLUS]
    everything = [one.value for one in offered]
    return [" ".join(one) for one in ((everything, plain) if everything != plain else (plain,))]


@dataclass(frozen=True, slots=True)
class NotBound:
    """The exchange cannot succeed; `reason` is for the log."""

    reason: str


class ScramLogin:
    """One exchange. `begin`, then `prove`; who was proved is logged in when the client has taken our signature."""

    __slots__ = ("_channel", "_credentials", "_offer", "_use", "login", "proved")

    def __init__(self, credentials: Credentials, use: Use) -> None:
        self._credentials = credentials
        self._use = use
        self._offer: ScramOffer | None = None
        self._channel = b""
        self.login = ""
        self.proved: LoggedIn | None = None

    def begin(self, mechanism: Mechanism, step: ScramHello, tls: TlsDetails | None) -> bytes | NotBound:
        """The challenge to a client's first message: the same for a login that nobody has."""
        self.login = step.hello.login
        self.proved = None
        bound = self._bind(mechanism, step, tls)
        if bound is not None:
            return bound
        self._offer = offer = self._credentials.scram(self.login, self._use)
        return step.machine.challenge(offer.salt, offer.iterations, secrets.token_urlsafe(_NONCE_OCTETS))

    def _bind(self, mechanism: Mechanism, step: ScramHello, tls: TlsDetails | None) -> NotBound | None:
        """RFC 5802 6: what the client says of channel binding has to agree with the mechanism and what we offer."""
        hello = step.hello
        self._channel = b""
        is_plus = mechanism is Mechanism.SCRAM_SHA_256_PLUS
        is_plus_offered = Mechanism.SCRAM_SHA_256_PLUS in offered_mechanisms(self._credentials, tls)
        if is_plus != (hello.binding is Binding.USED):
            return NotBound("channel binding goes with -PLUS, and only with it")
        if is_plus:
            channel = tls.channel_binding(hello.binding_name) if tls is not None and tls.channel_binding else None
            if channel is None:
                return NotBound(f"channel binding {hello.binding_name} is not to be had here")
            self._channel = channel
        elif hello.binding is Binding.NOT_OFFERED and is_plus_offered:
            return NotBound("the client was kept from seeing -PLUS: somebody is between, or it is mistaken")
        return None

    def prove(self, step: ScramProof) -> bytes | None:
        """Our signature when the proof is right, else None."""
        offer, self._offer = self._offer, None
        if offer is None or not step.machine.binds_to(self._channel):
            return None
        for who, keys in offer.candidates:
            if step.machine.is_proved_by(keys) and self._credentials.still_holds(who.account.mailbox, who.proof):
                self.proved = who
                return step.machine.signature(keys)
        return None
