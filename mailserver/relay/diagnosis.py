"""Why a recipient was not reached, for the person who wrote the message. Pure.

What we saw ourselves goes to `policy.causes` as facts, with the other side's words. Facts are derived from what the
spool keeps of the last attempt (stage, host, our own reason, our own code), so no state is kept for reports alone.

Decisions:

- An attempt goes through all hosts of a destination after trouble with a host as such (`attempt`), so trouble up to
  EHLO means that all hosts failed; an answer to a later command is the word of one host.
- A remedy of "wait" is right in a delay notice and wrong in a bounce: nobody tries any more. There it becomes "send it
  again" when the refusal came at once, and names an administrator when days of trying did not help.
- Trouble of our own (our disk, our smarthost, our settings) is never put on the recipient or their server.
"""

from dataclasses import dataclass, replace

from mailserver.mail.outcome import Bounced, Deferred, Stage
from mailserver.policy.causes.evidence import Diagnosis
from mailserver.policy.causes.meaning import MEANINGS, REMEDIES_BY_WHO
from mailserver.policy.causes.names import Cause, Fact, FactKind, Who
from mailserver.relay.dsn_fields import Action, RecipientReport

_OPENING = frozenset((Stage.DNS, Stage.CONNECT, Stage.BANNER, Stage.EHLO, Stage.STARTTLS, Stage.AUTH))
_BY_OUR_CODE = {
    (Stage.DNS, "5.1.2"): FactKind.DOMAIN_DOES_NOT_EXIST,
    (Stage.DNS, "5.1.10"): FactKind.NULL_MX,
    (Stage.DNS, "5.4.4"): FactKind.NO_MAIL_HOST,
    (Stage.DNS, "5.4.6"): FactKind.LOOPS_BACK,
    (Stage.EHLO, "5.3.4"): FactKind.OVER_SIZE_LIMIT,
    (Stage.EHLO, "5.6.7"): FactKind.SMTPUTF8_NOT_OFFERED,
    (Stage.EHLO, "5.7.30"): FactKind.TLS_NOT_OFFERED,
}
# Our own reasons (`mx`, `attempt`, `net.dialer`, `session`) that are about this server and nobody else.
_OUR_TROUBLE = ("ipv4 address", "ipv6 address", "source address", "too many files", "in this attempt", "queue file")

WHO = {
    Who.SENDER: "you.",
    Who.SENDERS_ADMIN: "your mail administrator; show them this report.",
    Who.RECIPIENT: "the recipient; tell them in another way.",
    Who.RECIPIENTS_ADMIN: "the administrator of the recipient's mail server; tell the recipient in another way.",
    Who.NOBODY: "nobody; only time helps.",
}
_WHO_HERE = "the administrator of this mail server; an answer to this message reaches them."

_LATER = {
    Who.SENDERS_ADMIN: "your mail administrator",
    Who.RECIPIENTS_ADMIN: "the administrator of the recipient's mail server",
}
_LATER_HERE = "the administrator of this mail server"
_WAIT = "Nothing now; please do not send it again. If it is urgent, reach the recipient in another way."
# What heals only when somebody acts, and then by itself.
_WHILE_TRYING = {
    Cause.MAILBOX_FULL: "Tell the recipient in another way to make room; the message then arrives by itself.",
}
_AGAIN = "Send the message again in some hours. If it is refused again, show this report to your mail administrator."
_TOMORROW = "Send the message again tomorrow. If it is refused again, show this report to your mail administrator."
_AFTER_DAYS: dict[Cause, tuple[str, Who]] = {
    Cause.RATE_LIMITED: (
        "Have it found out why the other server limits yours for so long, then send the message again.",
        Who.SENDERS_ADMIN,
    ),
    Cause.QUOTA_SENDER: ("Have the allowance looked at, then send the message again.", Who.SENDERS_ADMIN),
    Cause.GREYLISTED: (
        "Such a delay ends within hours as a rule. Have it found out why it did not, then send the message again.",
        Who.SENDERS_ADMIN,
    ),
    Cause.SERVICE_UNAVAILABLE_421: (
        "The recipient's mail server has to be mended; then send the message again.",
        Who.RECIPIENTS_ADMIN,
    ),
    Cause.DNS_TEMPORARY: (
        "Check the part of the address behind the @ for spelling mistakes. If it is right, the DNS of that domain has "
        "to be mended.",
        Who.RECIPIENTS_ADMIN,
    ),
    Cause.CONNECTION_REFUSED: (
        "Check the part of the address behind the @ for spelling mistakes. If it is right, the recipient's mail server "
        "has to be mended.",
        Who.RECIPIENTS_ADMIN,
    ),
    Cause.CONNECTION_TIMED_OUT: (
        "Check the part of the address behind the @ for spelling mistakes. If it is right, the recipient's mail server "
        "has to be mended.",
        Who.RECIPIENTS_ADMIN,
    ),
    Cause.TOO_MANY_RECIPIENTS: ("Send the message again, to fewer recipients at a time.", Who.SENDER),
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a report says about one recipient: `means` and `remedy` are sentences, `who` follows "Who can do it:".

    `later` is who may be asked when waiting takes too long; empty where that is no question.
    """

    cause: Cause
    means: str
    remedy: str
    who: str
    later: str = ""


def explain(one: RecipientReport) -> Explanation:
    """For a recipient that was given up or is late."""
    assert one.action in (Action.FAILED, Action.DELAYED), "what went well needs no explanation"
    if one.stage is None or one.stage is Stage.LOCAL:
        return _here(one)
    told = _told(one)
    if one.is_forwarded and told.who == WHO[Who.SENDERS_ADMIN]:
        # The sender is a stranger, and what the other side saw was this server.
        means = told.means if told.cause is Cause.FORWARDING_DMARC else f"{told.means} {_MEANT}"
        return replace(told, means=means, who=_WHO_HERE)
    return told


def _told(one: RecipientReport) -> Explanation:
    """For a recipient elsewhere, as if the sender were one of ours."""
    # Its tables take 50 ms to make, and no start should wait for what is needed when something fails.
    from mailserver.policy.causes.classify import classify_outcome

    found = classify_outcome(_outcome(one), facts_of(one))
    if _is_our_way_out(one):
        return _way_out(one, found)
    means = found.plain if one.reply is not None or found.cause is not Cause.UNKNOWN else _SILENT
    if one.action is Action.DELAYED:
        if not found.temporary:
            remedy = _WHILE_TRYING.get(found.cause, found.remedy)
            return Explanation(found.cause, means, remedy, WHO[found.who])
        later = _LATER.get(MEANINGS[found.cause].who, "")
        return Explanation(found.cause, means, _WAIT, WHO[Who.NOBODY], later)
    if not found.temporary:
        return Explanation(found.cause, means, found.remedy, WHO[found.who])
    if not one.is_expired:
        again = _TOMORROW if found.cause is Cause.QUOTA_SENDER else _AGAIN
        return Explanation(found.cause, means, again, WHO[Who.SENDER])
    usual = MEANINGS[found.cause]
    remedy, who = _AFTER_DAYS.get(found.cause, (REMEDIES_BY_WHO.get((found.cause, usual.who), usual.remedy), usual.who))
    return Explanation(found.cause, means, remedy, WHO[who])


_MEANT = "This server forwarded the message, and this server is meant."
_SILENT = "Nobody can tell from here what the reason is: the other server said nothing."


def _outcome(one: RecipientReport) -> Bounced | Deferred:
    """The last attempt, put together again from what is kept of it."""
    assert one.stage is not None
    if one.action is Action.FAILED and not one.is_expired:
        return Bounced(one.reason, one.stage, one.enhanced, one.reply, one.host)
    return Deferred(one.reason, one.stage, one.reply, one.host)


def facts_of(one: RecipientReport) -> frozenset[Fact]:
    """What we know ourselves about the last attempt."""
    kinds: set[FactKind] = set()
    if one.reply is None:
        kinds |= _seen(one)
    kinds.add(FactKind.ALL_HOSTS if one.stage in _OPENING else FactKind.ONE_HOST)
    if ":" in one.host:
        kinds.add(FactKind.IPV6_USED)
    if one.is_smarthost:
        kinds.add(FactKind.SMARTHOST_USED)
    if one.is_forwarded:
        kinds.add(FactKind.FORWARDED)
    return frozenset(Fact(kind) for kind in kinds)


def _seen(one: RecipientReport) -> set[FactKind]:
    """The failure itself, where no server spoke."""
    assert one.stage is not None
    by_code = _BY_OUR_CODE.get((one.stage, one.enhanced))
    if by_code is not None:
        return {by_code}
    reason = one.reason
    if any(words in reason for words in _OUR_TROUBLE):
        return set()
    if one.stage is Stage.DNS:
        return {FactKind.DNS_FAILED} if "could not tell" in reason else set()
    if one.stage is Stage.CONNECT:
        return {FactKind.CONNECTION_REFUSED if "refused" in reason else FactKind.CONNECTION_TIMED_OUT}
    if "no STARTTLS" in reason:
        return {FactKind.TLS_NOT_OFFERED}
    if "TLS handshake" in reason:
        return {FactKind.TLS_HANDSHAKE_FAILED}
    if any(words in reason for words in ("no progress", "closed the connection", "connection broke", "was lost")):
        return {FactKind.CONNECTION_LOST}
    return set()


# --- our own trouble --------------------------------------------------------------------------------------------------


def _is_our_way_out(one: RecipientReport) -> bool:
    if one.reply is None and any(words in one.reason for words in _OUR_TROUBLE):
        return True
    return one.stage is Stage.AUTH or (one.is_smarthost and one.stage in _OPENING and one.enhanced[:1] != "5")


def _way_out(one: RecipientReport, found: Diagnosis) -> Explanation:
    """Our smarthost or our own settings stop all mail; the address is not to blame."""
    if one.is_smarthost:
        means = "The server through which this one sends its mail does not take it. Nothing is wrong with the address."
    else:
        means = "This mail server has trouble of its own on the way out. Nothing is wrong with the address."
    remedy = "The way out of this server has to be mended."
    remedy += " Your message is still being tried." if one.action is Action.DELAYED else " Then send the message again."
    return Explanation(found.cause, means, remedy, WHO[Who.SENDERS_ADMIN])


_HERE: dict[str, tuple[Cause, str, str, str]] = {
    "5.1.1": (
        Cause.MAILBOX_UNKNOWN,
        "This mail server knows no such address.",
        MEANINGS[Cause.MAILBOX_UNKNOWN].remedy,
        WHO[Who.SENDER],
    ),
    "5.2.1": (
        Cause.MAILBOX_DISABLED,
        "The mailbox is switched off.",
        MEANINGS[Cause.MAILBOX_DISABLED].remedy,
        WHO[Who.SENDER],
    ),
    "5.3.4": (
        Cause.MESSAGE_TOO_LARGE,
        "The message is larger than this mail server accepts.",
        MEANINGS[Cause.MESSAGE_TOO_LARGE].remedy,
        WHO[Who.SENDER],
    ),
    "5.4.6": (
        Cause.LOOP_DETECTED,
        "The address leads back to itself.",
        "The aliases or the forwarding behind this address have to be mended.",
        _WHO_HERE,
    ),
}
_STOPPED = (
    Cause.UNKNOWN,
    "A person decided this; it is no fault of the address.",
    "Ask them, if what they wrote does not say why.",
    _WHO_HERE,
)
_SUPPRESSED = (
    Cause.MAILBOX_UNKNOWN,
    "This mail server has seen that the address takes no mail, and does not try it any more.",
    "Check the address for spelling mistakes, or ask the recipient for the right one. If it is right, have it taken "
    "from the list.",
    _WHO_HERE,
)
_REFUSED_HERE = (
    Cause.UNKNOWN,
    "This mail server does not take such a message.",
    "Change what is named above; if it cannot be understood, ask.",
    _WHO_HERE,
)
_NO_ROOM = (
    Cause.MAILBOX_FULL,
    "There is no room for the message in the mailbox or on the disk of this mail server.",
    "Room has to be made; then send the message again.",
    _WHO_HERE,
)
_FAULT = (
    Cause.REMOTE_LOCAL_ERROR,
    "This mail server has trouble of its own. Nothing is wrong with the address.",
    "The trouble has to be mended; then send the message again.",
    _WHO_HERE,
)


def _here(one: RecipientReport) -> Explanation:
    """Refused or not filed by this server itself."""
    if one.reason.startswith("the administrator of this mail server stopped"):
        parts = _STOPPED
    elif "suppression list" in one.reason:
        parts = _SUPPRESSED
    elif one.enhanced in _HERE:
        parts = _HERE[one.enhanced]
    elif one.action is Action.FAILED and not one.is_expired:
        parts = _REFUSED_HERE
    else:
        parts = _NO_ROOM if "no room" in one.reason else _FAULT
    cause, means, remedy, who = parts
    if one.action is Action.DELAYED:
        return Explanation(cause, means, _WAIT, WHO[Who.NOBODY], _LATER_HERE)
    return Explanation(cause, means, remedy, who)
