"""What codes and the stage say when words say nothing (RFC 3463, RFC 5321 4.2, RFC 7372, RFC 7505, two services)."""

import re
from collections.abc import Iterator

from mailserver.mail.outcome import Stage
from mailserver.policy.causes.evidence import Signal, Weight
from mailserver.policy.causes.names import Cause
from mailserver.policy.causes.unwrap import Unwrapped

# Subject and detail, the class digit left out. These say one thing wherever they are used rightly.
_SPECIFIC = {
    "1.1": Cause.MAILBOX_UNKNOWN,
    "1.2": Cause.DOMAIN_NOT_FOUND,
    "1.3": Cause.MAILBOX_UNKNOWN,
    "1.6": Cause.MAILBOX_DISABLED,
    "1.8": Cause.SENDER_DOMAIN_UNRESOLVABLE,
    "2.3": Cause.MESSAGE_TOO_LARGE,
    "2.121": Cause.RATE_LIMITED,
    "2.122": Cause.RATE_LIMITED,
    "3.4": Cause.MESSAGE_TOO_LARGE,
    "4.3": Cause.DNS_TEMPORARY,
    "4.5": Cause.RATE_LIMITED,
    "4.6": Cause.LOOP_DETECTED,
    "4.14": Cause.LOOP_DETECTED,
    "4.310": Cause.DOMAIN_NOT_FOUND,
    "4.312": Cause.DNS_TEMPORARY,
    "4.316": Cause.CONNECTION_REFUSED,
    "4.317": Cause.TLS_REQUIRED,
    "5.3": Cause.TOO_MANY_RECIPIENTS,
    "6.7": Cause.SMTPUTF8_UNSUPPORTED,
    "6.8": Cause.SMTPUTF8_UNSUPPORTED,
    "6.11": Cause.HEADER_OR_FORMAT_PROBLEM,
    "7.8": Cause.AUTH_REQUIRED_OR_RELAY_DENIED,
    "7.10": Cause.TLS_REQUIRED,
    "7.11": Cause.TLS_REQUIRED,
    "7.20": Cause.DKIM_FAIL,
    "7.21": Cause.DKIM_FAIL,
    "7.22": Cause.DKIM_FAIL,
    "7.23": Cause.SPF_FAIL,
    "7.25": Cause.NO_REVERSE_DNS,
    "7.26": Cause.UNAUTHENTICATED_SENDER,
    "7.28": Cause.RATE_LIMITED,
    "7.29": Cause.TLS_REQUIRED,
    "7.30": Cause.DKIM_FAIL,
    "7.32": Cause.DMARC_FAIL,
    "7.40": Cause.DMARC_FAIL,
    "7.57": Cause.AUTH_REQUIRED_OR_RELAY_DENIED,
    "7.60": Cause.AUTH_REQUIRED_OR_RELAY_DENIED,
    "7.64": Cause.AUTH_REQUIRED_OR_RELAY_DENIED,
    "7.509": Cause.DMARC_FAIL,
    "7.515": Cause.UNAUTHENTICATED_SENDER,
    "7.650": Cause.REPUTATION_IP,
    "7.651": Cause.REPUTATION_IP,
    "7.705": Cause.QUOTA_SENDER,
    "7.708": Cause.REPUTATION_IP,
}
# Used for too many things to be believed against words.
_GENERIC = {
    "1.0": Cause.MAILBOX_UNKNOWN,
    "1.7": Cause.HEADER_OR_FORMAT_PROBLEM,
    "1.10": Cause.NULL_MX,
    "2.1": Cause.MAILBOX_DISABLED,
    "2.2": Cause.MAILBOX_FULL,
    "3.1": Cause.REMOTE_LOCAL_ERROR,
    "3.2": Cause.SERVICE_UNAVAILABLE_421,
    "3.5": Cause.REMOTE_LOCAL_ERROR,
    "4.1": Cause.CONNECTION_TIMED_OUT,
    "4.2": Cause.CONNECTION_TIMED_OUT,
    "4.4": Cause.DOMAIN_NOT_FOUND,
    "4.7": Cause.CONNECTION_TIMED_OUT,
    "5.1": Cause.PROTOCOL_SYNC_ERROR,
    "5.2": Cause.PROTOCOL_SYNC_ERROR,
    "5.4": Cause.PROTOCOL_SYNC_ERROR,
    "6.0": Cause.HEADER_OR_FORMAT_PROBLEM,
    "7.9": Cause.AUTH_REQUIRED_OR_RELAY_DENIED,
    "7.27": Cause.SENDER_DOMAIN_UNRESOLVABLE,
}
_BASIC = {
    "421": Cause.SERVICE_UNAVAILABLE_421,
    "450": Cause.REMOTE_LOCAL_ERROR,
    "451": Cause.REMOTE_LOCAL_ERROR,
    "452": Cause.REMOTE_LOCAL_ERROR,
    "454": Cause.TLS_HANDSHAKE_FAILED,
    "500": Cause.PROTOCOL_SYNC_ERROR,
    "501": Cause.PROTOCOL_SYNC_ERROR,
    "502": Cause.PROTOCOL_SYNC_ERROR,
    "503": Cause.PROTOCOL_SYNC_ERROR,
    "504": Cause.PROTOCOL_SYNC_ERROR,
    "521": Cause.NULL_MX,
    "530": Cause.AUTH_REQUIRED_OR_RELAY_DENIED,
    "534": Cause.AUTH_REQUIRED_OR_RELAY_DENIED,
    "535": Cause.AUTH_REQUIRED_OR_RELAY_DENIED,
    "538": Cause.TLS_REQUIRED,
    "556": Cause.NULL_MX,
}
# Basic codes that say something even beside words that are not understood.
TELLING = frozenset(_BASIC) - {"454"}
_OUTLOOK = re.compile(r"outlook\.com|AS\(20\d+\)", re.IGNORECASE)
_ACCESS_DENIED = re.compile(r"recipient address(?:es)? rejected\W+access denied", re.IGNORECASE)


def signals(reply: Unwrapped) -> Iterator[Signal]:
    """From the enhanced codes and the basic one, each with its own weight."""
    for enhanced in reply.enhanced[:4]:
        yield from _enhanced(enhanced, reply)
    if reply.basic in _BASIC and reply.enhanced[:1] != ("5.7.1",):
        cause = _BASIC[reply.basic]
        yield Signal(cause, Weight.BASIC_CODE, "the basic code", reply.basic, 1)


def _enhanced(enhanced: str, reply: Unwrapped) -> Iterator[Signal]:
    detail = enhanced[2:]
    number = int(detail.partition(".")[2])
    if enhanced.endswith(".4.1") and _ACCESS_DENIED.search(reply.words):
        reason = "Exchange Online refuses unknown recipients with these words and this code"
        yield Signal(Cause.MAILBOX_UNKNOWN, Weight.SPECIFIC_CODE, reason, f"{enhanced} access denied")
    elif detail.startswith("7.") and (606 <= number <= 649 or number == 511):
        yield Signal(Cause.BLOCKLISTED_IP, Weight.SPECIFIC_CODE, "Outlook's codes for banned addresses", enhanced)
    elif detail.startswith("7.") and 320 <= number <= 329:
        yield Signal(Cause.TLS_HANDSHAKE_FAILED, Weight.SPECIFIC_CODE, "Outlook's codes for TLS", enhanced)
    elif detail in _SPECIFIC:
        yield Signal(_SPECIFIC[detail], Weight.SPECIFIC_CODE, "the enhanced code", enhanced)
    elif detail in _GENERIC and not (detail == "1.10" and _OUTLOOK.search(reply.whole)):
        yield Signal(_GENERIC[detail], Weight.GENERIC_CODE, "a code that is used for many things", enhanced, 1)


def stage_hint(stage: Stage | None, basic: str, says_nothing: bool) -> Iterator[Signal]:
    """What the stage alone suggests: a refusal before the first word is about our address, 550 to RCPT mostly about
    the recipient. Where the reply has words that are not understood, only the first holds.
    """
    if stage is Stage.BANNER and basic.startswith("5"):
        reason = "refused before anything was said: only our address was known"
        yield Signal(Cause.REPUTATION_IP, Weight.STAGE, reason, "banner", 1)
    elif not says_nothing:
        return
    elif stage is Stage.RCPT and basic == "550":
        yield Signal(Cause.MAILBOX_UNKNOWN, Weight.STAGE, "550 to RCPT without a reason", "RCPT", 1)
    elif stage is Stage.STARTTLS:
        reason = "it went wrong while encryption was set up"
        yield Signal(Cause.TLS_HANDSHAKE_FAILED, Weight.STAGE, reason, "STARTTLS", 1)
    elif stage is Stage.AUTH:
        reason = "it went wrong at the login"
        yield Signal(Cause.AUTH_REQUIRED_OR_RELAY_DENIED, Weight.STAGE, reason, "AUTH", 1)
