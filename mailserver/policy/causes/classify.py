"""From evidence to a diagnosis: the one door of this folder. Pure, bounded time, never raises for any text."""

import re
from dataclasses import dataclass

from mailserver.mail.outcome import Bounced, Deferred, Delivered, Outcome, Stage
from mailserver.mail.reply import printable
from mailserver.policy.causes import codes, facts, tags
from mailserver.policy.causes.bounce_message import reply_in
from mailserver.policy.causes.evidence import Diagnosis, Evidence, Signal, Weight
from mailserver.policy.causes.meaning import MEANINGS, REMEDIES_BY_WHO, Heals
from mailserver.policy.causes.names import Cause, Fact, FactKind, Who
from mailserver.policy.causes.rules_message import CONTENT_RULES, RECIPIENT_RULES, SHAPE_RULES
from mailserver.policy.causes.rules_moment import MOMENT_RULES, PATIENCE_RULES, WAY_RULES
from mailserver.policy.causes.rules_sender import ADDRESS_RULES, CONNECTING_RULES, PROOF_RULES
from mailserver.policy.causes.unwrap import Unwrapped, unwrap
from mailserver.policy.causes.wording import read
from mailserver.policy.causes.words import Words, prepare

_RULES = (
    *RECIPIENT_RULES,
    *SHAPE_RULES,
    *CONTENT_RULES,
    *ADDRESS_RULES,
    *PROOF_RULES,
    *CONNECTING_RULES,
    *MOMENT_RULES,
    *WAY_RULES,
)
_PROMISE = re.compile(r"temporar|try (?:it )?again|retry|later|deferred|in \d+ (?:minutes|hours)")
_FIRM_PROMISE = re.compile(
    r"temporarily (?:blocked|rejected|refused|blacklisted)|for the day|for \d+ (?:minutes|hours)"
)
_PROOF = frozenset({Cause.DMARC_FAIL, Cause.SPF_FAIL, Cause.DKIM_FAIL, Cause.UNAUTHENTICATED_SENDER})
_STAGES_WITH_RECIPIENT = (None, Stage.RCPT, Stage.DATA, Stage.EOD)
_STAGES_ABOUT_SENDER = (Stage.MAIL, Stage.DATA, Stage.EOD)
_CONNECTION = frozenset({Cause.CONNECTION_REFUSED, Cause.CONNECTION_TIMED_OUT, Cause.TLS_HANDSHAKE_FAILED})
_MAX_EVIDENCE = 6


@dataclass(frozen=True, slots=True)
class _Case:
    """The evidence, prepared."""

    reply: Unwrapped
    words: Words
    stage: Stage | None
    known: frozenset[FactKind]


def classify(evidence: Evidence) -> Diagnosis:
    """What the evidence says, and how far it can be trusted. Local facts first, the basic code last."""
    text, status = reply_in(evidence.reply)
    reply = unwrap(text, status)
    case = _Case(reply, prepare(reply.words), evidence.stage or reply.stage, facts.kinds(evidence.facts))
    found = [*tags.signals(case.words), *read(case.words, _RULES), *codes.signals(reply)]
    if reply.basic.startswith("4"):
        found += read(case.words, PATIENCE_RULES)
    found += facts.signals(evidence.facts, tuple(found))
    if case.stage not in _STAGES_WITH_RECIPIENT:
        found = [signal for signal in found if signal.weight is not Weight.FRAME]
    if all(signal.weight <= Weight.BASIC_CODE for signal in found):
        found = [*_allowed(found, case), *codes.stage_hint(case.stage, reply.basic, _says_nothing(case))]
    else:
        found = [signal for signal in found if signal.weight > Weight.BASIC_CODE]
    ranked = sorted(
        (_refined(signal, case) for signal in found),
        key=lambda signal: (-signal.weight, -signal.precision),
    )
    return _diagnosis(ranked, case)


def classify_outcome(outcome: Outcome, known: frozenset[Fact] = frozenset()) -> Diagnosis:
    """The diagnosis of an attempt's outcome; where no server spoke, our own reason is read. Delivered: a mistake."""
    assert not isinstance(outcome, Delivered), "only what was deferred or bounced has a cause"
    said = str(outcome.reply) if outcome.reply is not None else outcome.reason
    if outcome.reply is None and isinstance(outcome, Bounced):
        said = f"{outcome.enhanced} {said}"
    assert isinstance(outcome, Bounced | Deferred)
    return classify(Evidence(said, outcome.stage, known))


def _says_nothing(case: _Case) -> bool:
    return sum(char.isalpha() for char in case.words.text) < 12


def _allowed(found: list[Signal], case: _Case) -> list[Signal]:
    """The basic code, for a reply that says nothing else; words that nobody understands are honestly unknown."""
    return [signal for signal in found if _says_nothing(case) or signal.found in codes.TELLING]


def _refined(signal: Signal, case: _Case) -> Signal:
    """The more exact class where the surroundings tell it."""
    cause = signal.cause
    if cause is Cause.NO_REVERSE_DNS and (case.words.names_ipv6 or FactKind.IPV6_USED in case.known):
        cause = Cause.REVERSE_DNS_IPV6
    elif cause in _PROOF and FactKind.FORWARDED in case.known:
        cause = Cause.FORWARDING_DMARC
    elif cause is Cause.DOMAIN_NOT_FOUND and case.stage in _STAGES_ABOUT_SENDER and signal.weight is Weight.WORDING:
        # Before RCPT no recipient is known, and after DATA every recipient was accepted.
        cause = Cause.SENDER_DOMAIN_UNRESOLVABLE
    if cause is signal.cause:
        return signal
    return Signal(cause, signal.weight, signal.reason, signal.found, signal.precision, signal.who, signal.is_temporary)


def _diagnosis(ranked: list[Signal], case: _Case) -> Diagnosis:
    best = ranked[0] if ranked else Signal(Cause.UNKNOWN, Weight.STAGE, "nothing is recognized", case.reply.basic, 0)
    cause = best.cause
    temporary = _is_temporary(best, case)
    who = Who.NOBODY if temporary else _who(best, case.known)
    meaning = MEANINGS[cause]
    also = dict.fromkeys(
        signal.cause
        for signal in ranked
        if signal.cause not in (cause, Cause.UNKNOWN)
        and signal.weight >= Weight.WORDING
        and (signal.precision >= 2 or cause is Cause.UNKNOWN)
    )
    return Diagnosis(
        cause,
        tuple(also),
        temporary,
        who,
        REMEDIES_BY_WHO.get((cause, who), meaning.remedy),
        meaning.plain,
        tuple(ranked[:_MAX_EVIDENCE]) or (best,),
        printable(case.reply.words),
    )


def _is_temporary(best: Signal, case: _Case) -> bool:
    if best.is_temporary is not None:
        return best.is_temporary
    if best.cause in _CONNECTION and FactKind.ALL_DESTINATIONS in case.known:
        return False
    heals = MEANINGS[best.cause].heals
    is_4yz = case.reply.basic.startswith("4")
    if heals is Heals.BY_CODE:
        return is_4yz or "synchroni" in case.words.text
    if heals is Heals.IF_PROMISED:
        promise = _PROMISE if is_4yz else _FIRM_PROMISE
        return promise.search(case.words.text) is not None
    return heals is Heals.YES


def _who(best: Signal, known: frozenset[FactKind]) -> Who:
    if best.cause in _CONNECTION and FactKind.ALL_DESTINATIONS in known:
        return Who.SENDERS_ADMIN
    if best.cause is Cause.AUTH_REQUIRED_OR_RELAY_DENIED and FactKind.SMARTHOST_USED in known:
        return Who.SENDERS_ADMIN
    return best.who or MEANINGS[best.cause].who
