"""From evidence to a diagnosis: the one door of this folder. Pure, bounded time, never raises for any text."""

import re

from mailserver.mail.outcome import Bounced, Deferred, Delivered, Outcome
from mailserver.mail.reply import printable
from mailserver.policy.causes import codes, facts, tags
from mailserver.policy.causes.bounce_message import reply_in
from mailserver.policy.causes.evidence import Diagnosis, Evidence, Signal, Weight
from mailserver.policy.causes.meaning import MEANINGS, REMEDIES_BY_WHO, Heals
from mailserver.policy.causes.names import Cause, Fact, FactKind, Who
from mailserver.policy.causes.rules_message import CONTENT_RULES, RECIPIENT_RULES, SHAPE_RULES
from mailserver.policy.causes.rules_moment import MOMENT_RULES, WAY_RULES
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
_CONNECTION = frozenset({Cause.CONNECTION_REFUSED, Cause.CONNECTION_TIMED_OUT, Cause.TLS_HANDSHAKE_FAILED})
_MAX_EVIDENCE = 6


def classify(evidence: Evidence) -> Diagnosis:
    """What the evidence says, and how far it can be trusted. Local facts first, the basic code last."""
    text, status = reply_in(evidence.reply)
    reply = unwrap(text, status)
    words = prepare(reply.words)
    stage = evidence.stage or reply.stage
    found = [*tags.signals(words), *read(words, _RULES), *codes.signals(reply), *codes.stage_hint(stage, reply.basic)]
    found += facts.signals(evidence.facts, tuple(found))
    ranked = sorted(
        (_refined(signal, words, facts.kinds(evidence.facts)) for signal in found if _counts(signal, found, reply)),
        key=lambda signal: (-signal.weight, -signal.precision),
    )
    return _diagnosis(ranked, reply, words, facts.kinds(evidence.facts))


def classify_outcome(outcome: Outcome, known: frozenset[Fact] = frozenset()) -> Diagnosis:
    """The diagnosis of an attempt's outcome; where no server spoke, our own reason is read. Delivered: a mistake."""
    assert not isinstance(outcome, Delivered), "only what was deferred or bounced has a cause"
    said = str(outcome.reply) if outcome.reply is not None else outcome.reason
    if outcome.reply is None and isinstance(outcome, Bounced):
        said = f"{outcome.enhanced} {said}"
    assert isinstance(outcome, Bounced | Deferred)
    return classify(Evidence(said, outcome.stage, known))


def _counts(signal: Signal, found: list[Signal], reply: Unwrapped) -> bool:
    """The basic code and the stage are only for replies that say nothing else; a 5yz with words is honestly unknown."""
    if signal.weight not in (Weight.BASIC_CODE, Weight.STAGE):
        return True
    if any(other.weight > Weight.BASIC_CODE for other in found):
        return False
    letters = sum(char.isalpha() for char in prepare(reply.words).text)
    return (
        letters < 12
        or signal.found in ("421", "450", "451", "452", "521", "530", "535", "556")
        or (signal.weight is Weight.BASIC_CODE and signal.found.startswith("50"))
    )


def _refined(signal: Signal, words: Words, known: frozenset[FactKind]) -> Signal:
    """The more exact class where the surroundings tell it."""
    cause = signal.cause
    if cause is Cause.NO_REVERSE_DNS and (words.names_ipv6 or FactKind.IPV6_USED in known):
        cause = Cause.REVERSE_DNS_IPV6
    elif cause in _PROOF and FactKind.FORWARDED in known:
        cause = Cause.FORWARDING_DMARC
    if cause is signal.cause:
        return signal
    return Signal(cause, signal.weight, signal.reason, signal.found, signal.precision, signal.who, signal.is_temporary)


def _diagnosis(ranked: list[Signal], reply: Unwrapped, words: Words, known: frozenset[FactKind]) -> Diagnosis:
    best = ranked[0] if ranked else Signal(Cause.UNKNOWN, Weight.STAGE, "nothing is recognized", reply.basic, 0)
    cause = best.cause
    temporary = _is_temporary(best, reply, words, known)
    who = Who.NOBODY if temporary else _who(best, known)
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
        printable(reply.words),
    )


def _is_temporary(best: Signal, reply: Unwrapped, words: Words, known: frozenset[FactKind]) -> bool:
    if best.is_temporary is not None:
        return best.is_temporary
    if best.cause in _CONNECTION and FactKind.ALL_DESTINATIONS in known:
        return False
    heals = MEANINGS[best.cause].heals
    is_4yz = reply.basic.startswith("4")
    if heals is Heals.BY_CODE:
        return is_4yz or "synchroni" in words.text
    if heals is Heals.IF_PROMISED:
        promise = _PROMISE if is_4yz else _FIRM_PROMISE
        return promise.search(words.text) is not None
    return heals is Heals.YES


def _who(best: Signal, known: frozenset[FactKind]) -> Who:
    if best.cause in _CONNECTION and FactKind.ALL_DESTINATIONS in known:
        return Who.SENDERS_ADMIN
    if best.cause is Cause.AUTH_REQUIRED_OR_RELAY_DENIED and FactKind.SMARTHOST_USED in known:
        return Who.SENDERS_ADMIN
    return best.who or MEANINGS[best.cause].who
