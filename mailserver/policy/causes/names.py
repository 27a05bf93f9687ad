"""The names: cause classes, who can act, and the local facts that count as evidence.

The class names are part of what `explain --json` prints and never change their meaning.
"""

from dataclasses import dataclass
from enum import Enum


class Cause(Enum):
    """Why a message did not go through. The value is the name that users and programs see."""

    # This recipient.
    MAILBOX_UNKNOWN = "mailbox_unknown"
    MAILBOX_DISABLED = "mailbox_disabled"
    MAILBOX_FULL = "mailbox_full"
    # This message's shape.
    MESSAGE_TOO_LARGE = "message_too_large"
    LINE_TOO_LONG = "line_too_long"
    HEADER_OR_FORMAT_PROBLEM = "header_or_format_problem"
    SMTPUTF8_UNSUPPORTED = "smtputf8_unsupported"
    # This message's content.
    CONTENT_REJECTED_SPAM = "content_rejected_spam"
    CONTENT_REJECTED_VIRUS_OR_ATTACHMENT = "content_rejected_virus_or_attachment"
    BLOCKLISTED_DOMAIN_OR_URL = "blocklisted_domain_or_url"
    # Our address.
    NO_REVERSE_DNS = "no_reverse_dns"
    REVERSE_DNS_IPV6 = "reverse_dns_ipv6"
    DYNAMIC_IP_POLICY = "dynamic_ip_policy"
    REPUTATION_IP = "reputation_ip"
    BLOCKLISTED_IP = "blocklisted_ip"
    # Our domain's proof.
    SPF_FAIL = "spf_fail"
    DKIM_FAIL = "dkim_fail"
    DMARC_FAIL = "dmarc_fail"
    UNAUTHENTICATED_SENDER = "unauthenticated_sender"
    FORWARDING_DMARC = "forwarding_dmarc"
    REPUTATION_DOMAIN = "reputation_domain"
    SENDER_DOMAIN_UNRESOLVABLE = "sender_domain_unresolvable"
    # How we connect.
    TLS_REQUIRED = "tls_required"
    TLS_HANDSHAKE_FAILED = "tls_handshake_failed"
    AUTH_REQUIRED_OR_RELAY_DENIED = "auth_required_or_relay_denied"
    # The moment.
    RATE_LIMITED = "rate_limited"
    QUOTA_SENDER = "quota_sender"
    TOO_MANY_RECIPIENTS = "too_many_recipients"
    GREYLISTED = "greylisted"
    SERVICE_UNAVAILABLE_421 = "service_unavailable_421"
    REMOTE_LOCAL_ERROR = "remote_local_error"
    PROTOCOL_SYNC_ERROR = "protocol_sync_error"
    # The way there.
    NULL_MX = "null_mx"
    DOMAIN_NOT_FOUND = "domain_not_found"
    DNS_TEMPORARY = "dns_temporary"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_TIMED_OUT = "connection_timed_out"
    LOOP_DETECTED = "loop_detected"
    # None of these.
    UNKNOWN = "unknown"


class Who(Enum):
    """Who can do something about it. NOBODY: only time helps."""

    SENDER = "sender"
    SENDERS_ADMIN = "sender's admin"
    RECIPIENT = "recipient"
    RECIPIENTS_ADMIN = "recipient's admin"
    NOBODY = "nobody"


class FactKind(Enum):
    """What we know ourselves, not from the reply. The value is how `--fact` names it."""

    DOMAIN_DOES_NOT_EXIST = "domain does not exist"
    NULL_MX = "null MX"
    NO_MAIL_HOST = "no mail host in DNS"
    DNS_FAILED = "DNS failed"
    CONNECTION_REFUSED = "connection refused"
    CONNECTION_TIMED_OUT = "connection timed out"
    CONNECTION_LOST = "connection lost"
    TLS_HANDSHAKE_FAILED = "TLS handshake failed"
    TLS_NOT_OFFERED = "TLS not offered"
    LOOPS_BACK = "loops back to us"
    SMTPUTF8_NOT_OFFERED = "SMTPUTF8 not offered"
    OVER_SIZE_LIMIT = "over the size limit"
    NO_REVERSE_NAME = "no reverse name"
    DYNAMIC_ADDRESS = "dynamic address"
    ADDRESS_LISTED = "address listed"
    DOMAIN_LISTED = "domain listed"
    SPF_FAILS = "SPF fails"
    DKIM_FAILS = "DKIM fails"
    SENDER_DOMAIN_UNRESOLVABLE = "sender domain does not resolve"
    FORWARDED = "forwarded"
    IPV6_USED = "IPv6 used"
    SMARTHOST_USED = "smarthost used"
    ALL_HOSTS = "all hosts failed"
    ONE_HOST = "one host failed"
    ALL_DESTINATIONS = "all destinations affected"
    ONE_DESTINATION = "one destination affected"


@dataclass(frozen=True, slots=True)
class Fact:
    """One local fact; `detail` may tell more, such as the name of the list that an address is on."""

    kind: FactKind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.detail}" if self.detail else self.kind.value
