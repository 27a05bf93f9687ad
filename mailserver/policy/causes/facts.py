"""What we know ourselves, as signals; and how `--fact` spells it."""

import re
from collections.abc import Iterator

from mailserver.policy.causes.evidence import Signal, Weight
from mailserver.policy.causes.names import Cause, Fact, FactKind, Who

# These are the failure itself: nothing that a server says can be truer.
_DECISIVE = {
    FactKind.DOMAIN_DOES_NOT_EXIST: Cause.DOMAIN_NOT_FOUND,
    FactKind.NULL_MX: Cause.NULL_MX,
    FactKind.NO_MAIL_HOST: Cause.DOMAIN_NOT_FOUND,
    FactKind.DNS_FAILED: Cause.DNS_TEMPORARY,
    FactKind.CONNECTION_REFUSED: Cause.CONNECTION_REFUSED,
    FactKind.CONNECTION_TIMED_OUT: Cause.CONNECTION_TIMED_OUT,
    FactKind.CONNECTION_LOST: Cause.CONNECTION_TIMED_OUT,
    FactKind.TLS_HANDSHAKE_FAILED: Cause.TLS_HANDSHAKE_FAILED,
    FactKind.TLS_NOT_OFFERED: Cause.TLS_REQUIRED,
    FactKind.LOOPS_BACK: Cause.LOOP_DETECTED,
    FactKind.SMTPUTF8_NOT_OFFERED: Cause.SMTPUTF8_UNSUPPORTED,
    FactKind.OVER_SIZE_LIMIT: Cause.MESSAGE_TOO_LARGE,
}
# These are true of us all the time. They explain a refusal that gives no reason of its own, or that points their way.
_STANDING = {
    FactKind.NO_REVERSE_NAME: Cause.NO_REVERSE_DNS,
    FactKind.DYNAMIC_ADDRESS: Cause.DYNAMIC_IP_POLICY,
    FactKind.ADDRESS_LISTED: Cause.BLOCKLISTED_IP,
    FactKind.DOMAIN_LISTED: Cause.BLOCKLISTED_DOMAIN_OR_URL,
    FactKind.SPF_FAILS: Cause.SPF_FAIL,
    FactKind.DKIM_FAILS: Cause.DKIM_FAIL,
    FactKind.SENDER_DOMAIN_UNRESOLVABLE: Cause.SENDER_DOMAIN_UNRESOLVABLE,
}
# Causes that a refusal "for our address" or "for want of proof" may really mean.
_ADDRESS = frozenset(
    {Cause.NO_REVERSE_DNS, Cause.REVERSE_DNS_IPV6, Cause.DYNAMIC_IP_POLICY, Cause.REPUTATION_IP, Cause.BLOCKLISTED_IP}
)
_VAGUE = frozenset({Cause.UNKNOWN, Cause.REPUTATION_IP, Cause.SERVICE_UNAVAILABLE_421})

# How people may say it: every word must be there.
_SPELLINGS: tuple[tuple[FactKind, str], ...] = (
    (FactKind.NULL_MX, r"null.?mx"),
    (FactKind.SENDER_DOMAIN_UNRESOLVABLE, r"(?:sender|our).*domain.*(?:resolv|found|exist|dns)|unresolvable"),
    (FactKind.DOMAIN_DOES_NOT_EXIST, r"nx.?domain|domain.*(?:not exist|not found|unknown)"),
    (FactKind.NO_MAIL_HOST, r"no (?:mail host|mx|a record|address)"),
    (FactKind.DNS_FAILED, r"servfail|dns (?:fail|time|trouble|error|temp)|temporary dns"),
    (FactKind.CONNECTION_REFUSED, r"refused"),
    (FactKind.TLS_HANDSHAKE_FAILED, r"handshake|certificate|tls fail"),
    (FactKind.TLS_NOT_OFFERED, r"(?:tls|starttls) (?:is )?not offered|no (?:start)?tls"),
    (FactKind.SMTPUTF8_NOT_OFFERED, r"utf8"),
    (FactKind.CONNECTION_TIMED_OUT, r"timed? ?out|timeout|unreachable|no route|no answer"),
    (FactKind.CONNECTION_LOST, r"(?:connection|peer).*(?:lost|reset|dropped|closed)|reset by peer"),
    (FactKind.LOOPS_BACK, r"loop|mx is us|ourselves"),
    (FactKind.OVER_SIZE_LIMIT, r"size|too (?:large|big)"),
    (FactKind.NO_REVERSE_NAME, r"(?:no|missing|without|wrong|mismatch).*(?:ptr|reverse|rdns)"),
    (FactKind.NO_REVERSE_NAME, r"(?:ptr|reverse|rdns).*(?:missing|wrong|mismatch)"),
    (FactKind.DYNAMIC_ADDRESS, r"dynamic|dial|residential|\bpbl\b"),
    (FactKind.DOMAIN_LISTED, r"(?:domain|url).*listed|\bdbl\b"),
    (FactKind.ADDRESS_LISTED, r"listed"),
    (FactKind.SPF_FAILS, r"spf"),
    (FactKind.DKIM_FAILS, r"dkim"),
    (FactKind.FORWARDED, r"forward"),
    (FactKind.IPV6_USED, r"ipv6"),
    (FactKind.SMARTHOST_USED, r"smart ?host"),
    (FactKind.ALL_DESTINATIONS, r"all (?:destinations|domains)"),
    (FactKind.ONE_DESTINATION, r"one (?:destination|domain)|only (?:this|one)"),
    (FactKind.ALL_HOSTS, r"all (?:hosts|servers|mx)"),
    (FactKind.ONE_HOST, r"one (?:host|server|mx)"),
)


def parse_fact(text: str) -> Fact | None:
    """A fact by its name or something close to it, `: detail` behind it; None when nothing fits."""
    name, _, detail = text.partition(":")
    wanted = re.sub(r"[\s_-]+", " ", name).strip().lower()
    for kind in FactKind:
        if wanted == kind.value.lower():
            return Fact(kind, detail.strip())
    for kind, spelling in _SPELLINGS:
        if re.search(spelling, wanted):
            return Fact(kind, detail.strip())
    return None


def kinds(facts: frozenset[Fact]) -> frozenset[FactKind]:
    """What is known, without details."""
    return frozenset(fact.kind for fact in facts)


def signals(facts: frozenset[Fact], from_reply: tuple[Signal, ...]) -> Iterator[Signal]:
    """Signals from `facts`; those that are always true count only where the reply leaves room for them."""
    causes = {signal.cause for signal in from_reply if signal.weight >= Weight.SPECIFIC_CODE}
    for fact in sorted(facts, key=lambda fact: list(FactKind).index(fact.kind)):
        if fact.kind in _DECISIVE:
            who = Who.RECIPIENTS_ADMIN if fact.kind is FactKind.TLS_NOT_OFFERED else None
            yield Signal(_DECISIVE[fact.kind], Weight.FACT, "we saw it ourselves", str(fact), 3, who)
        elif fact.kind in _STANDING:
            cause = _STANDING[fact.kind]
            if not causes - _VAGUE or cause in causes:
                yield Signal(cause, Weight.FACT, "known about us, and nothing else is said", str(fact), 2)
            elif cause in _ADDRESS and causes & _ADDRESS:
                yield Signal(cause, Weight.GENERIC_CODE, "known about us", str(fact), 1)
