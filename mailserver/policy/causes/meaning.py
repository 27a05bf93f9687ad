"""What each class means in plain words, what can be done, and by whom."""

from dataclasses import dataclass
from enum import Enum

from mailserver.policy.causes.names import Cause, Who


class Heals(Enum):
    """Whether an unchanged retry can succeed with nobody acting."""

    YES = "yes"
    NO = "no"
    # A temporary code is believed.
    BY_CODE = "by code"
    # A temporary code is believed when the words promise it too.
    IF_PROMISED = "if promised"


@dataclass(frozen=True, slots=True)
class Meaning:
    """`plain`: one sentence to the sender. `remedy`: one thing to do. `who`: when it does not heal by itself."""

    plain: str
    remedy: str
    who: Who
    heals: Heals = Heals.NO


_THEIR_ADMIN_AFTER = "If it has not arrived after four hours, ask the administrator of the recipient's mail server."
_OUR_ADMIN_AFTER = "If it has not arrived after four hours, show this to your mail administrator."

MEANINGS: dict[Cause, Meaning] = {
    Cause.MAILBOX_UNKNOWN: Meaning(
        "The recipient's server knows no such address.",
        "Check the address for spelling mistakes, or ask the recipient for the right one.",
        Who.SENDER,
    ),
    Cause.MAILBOX_DISABLED: Meaning(
        "The recipient's mailbox exists but is switched off.",
        "Reach the recipient in another way and ask for an address that is in use.",
        Who.SENDER,
    ),
    Cause.MAILBOX_FULL: Meaning(
        "The recipient's mailbox is full.",
        "Tell the recipient in another way to make room, then send the message again.",
        Who.RECIPIENT,
    ),
    Cause.MESSAGE_TOO_LARGE: Meaning(
        "The message is larger than the recipient's server accepts.",
        "Send a smaller message, or pass large files on in another way. Attachments grow by a third on the way.",
        Who.SENDER,
    ),
    Cause.LINE_TOO_LONG: Meaning(
        "A line in the message is longer than mail allows.",
        "Send the text again with shorter lines or as an attachment; the program that wrote the message is at fault.",
        Who.SENDER,
    ),
    Cause.HEADER_OR_FORMAT_PROBLEM: Meaning(
        "The message's header or format breaks the rules of mail.",
        "Send it again with another mail program; the one that wrote the message is at fault.",
        Who.SENDER,
    ),
    Cause.SMTPUTF8_UNSUPPORTED: Meaning(
        "The recipient's server cannot take addresses with letters outside ASCII.",
        "Use addresses with plain letters for the sender and for the recipient.",
        Who.SENDER,
    ),
    Cause.CONTENT_REJECTED_SPAM: Meaning(
        "The recipient's server took the message for spam because of what is in it.",
        "Write it differently, with fewer links and pictures, and tell the recipient in another way.",
        Who.SENDER,
    ),
    Cause.CONTENT_REJECTED_VIRUS_OR_ATTACHMENT: Meaning(
        "The recipient's server does not accept an attachment, or found malware in the message.",
        "Check your computer for malware, then pass the file on in another way.",
        Who.SENDER,
    ),
    Cause.BLOCKLISTED_DOMAIN_OR_URL: Meaning(
        "A domain in the message, yours or one in a link, is on a block list.",
        "Look the named domain up at the list and ask for its removal; take links to other listed domains out.",
        Who.SENDERS_ADMIN,
    ),
    Cause.NO_REVERSE_DNS: Meaning(
        "The recipient's server found no right reverse name (PTR) for the address of your mail server.",
        "Have the address's provider set its reverse name to the server's host name, and that name to the address.",
        Who.SENDERS_ADMIN,
    ),
    Cause.REVERSE_DNS_IPV6: Meaning(
        "The recipient's server found no right reverse name (PTR) for the IPv6 address of your mail server.",
        "Send over IPv4 (relay.address_family), or have a reverse name set for the IPv6 address.",
        Who.SENDERS_ADMIN,
    ),
    Cause.DYNAMIC_IP_POLICY: Meaning(
        "The recipient's server takes no mail from addresses of homes and dial-up lines, and counts yours among them.",
        "Send through the mail server of your provider (relay.smarthost).",
        Who.SENDERS_ADMIN,
    ),
    Cause.REPUTATION_IP: Meaning(
        "The recipient's server does not trust the address of your mail server.",
        "Find out whether the server sent spam, then ask the receiver's postmaster, or send through a smarthost.",
        Who.SENDERS_ADMIN,
        Heals.IF_PROMISED,
    ),
    Cause.BLOCKLISTED_IP: Meaning(
        "The address of your mail server is on a block list that the recipient's server uses.",
        "Look the address up at the list that is named, end what put it there, and ask for its removal.",
        Who.SENDERS_ADMIN,
        Heals.IF_PROMISED,
    ),
    Cause.SPF_FAIL: Meaning(
        "Your domain's SPF record does not allow your mail server to send for it.",
        "Add the mail server's address to the domain's SPF record.",
        Who.SENDERS_ADMIN,
    ),
    Cause.DKIM_FAIL: Meaning(
        "The message's DKIM signature is missing or wrong.",
        "Compare the published DKIM key with the one the server signs with, and sign all mail.",
        Who.SENDERS_ADMIN,
    ),
    Cause.DMARC_FAIL: Meaning(
        "Your domain's DMARC policy asks for proof that this message did not carry.",
        "See to it that SPF or DKIM passes for the very domain in the From field.",
        Who.SENDERS_ADMIN,
    ),
    Cause.UNAUTHENTICATED_SENDER: Meaning(
        "The recipient's server wants proof of the sender (SPF, DKIM), and the message carried none that holds.",
        "Publish an SPF record and sign with DKIM for the domain in the From field.",
        Who.SENDERS_ADMIN,
    ),
    Cause.FORWARDING_DMARC: Meaning(
        "The message was forwarded, and on the way the proof of its first sender was lost.",
        "Do not forward this mail: fetch it from the mailbox (POP3), or have the first sender sign with DKIM.",
        Who.SENDERS_ADMIN,
    ),
    Cause.REPUTATION_DOMAIN: Meaning(
        "The recipient's server does not trust your domain.",
        "Find out whether the domain sent unwanted mail, and look at the receiver's postmaster pages.",
        Who.SENDERS_ADMIN,
        Heals.IF_PROMISED,
    ),
    Cause.SENDER_DOMAIN_UNRESOLVABLE: Meaning(
        "The domain of your own address could not be found or verified, so no answer could reach you.",
        "Check the sender's address, and that its domain has an MX record.",
        Who.SENDERS_ADMIN,
    ),
    Cause.TLS_REQUIRED: Meaning(
        "The message may only go over an encrypted connection, and this one was not, or not well enough.",
        "Switch on TLS (1.2 or newer) for outgoing mail.",
        Who.SENDERS_ADMIN,
    ),
    Cause.TLS_HANDSHAKE_FAILED: Meaning(
        "The two servers could not agree on an encrypted connection.",
        "Have the certificate and the TLS settings of the recipient's mail server checked.",
        Who.RECIPIENTS_ADMIN,
    ),
    Cause.AUTH_REQUIRED_OR_RELAY_DENIED: Meaning(
        "That server takes no mail for this recipient from your server.",
        "Have it checked that the recipient's domain points (MX) to a server that accepts mail for it.",
        Who.RECIPIENTS_ADMIN,
    ),
    Cause.RATE_LIMITED: Meaning(
        "The recipient's server gets too much mail at once, from you or for this recipient.",
        f"Wait; it is tried again by itself, more slowly. {_THEIR_ADMIN_AFTER}",
        Who.SENDERS_ADMIN,
        Heals.YES,
    ),
    Cause.QUOTA_SENDER: Meaning(
        "Your allowance of messages is used up for now.",
        "Wait until tomorrow. If it still fails then, show this to your mail administrator.",
        Who.SENDERS_ADMIN,
        Heals.YES,
    ),
    Cause.TOO_MANY_RECIPIENTS: Meaning(
        "The message had too many recipients at once.",
        "Send it to fewer recipients at a time.",
        Who.SENDER,
        Heals.BY_CODE,
    ),
    Cause.GREYLISTED: Meaning(
        "The recipient's server puts every first attempt off for some minutes.",
        f"Wait; it is tried again by itself. {_OUR_ADMIN_AFTER}",
        Who.SENDERS_ADMIN,
        Heals.YES,
    ),
    Cause.SERVICE_UNAVAILABLE_421: Meaning(
        "The recipient's server has no time now.",
        f"Wait; it is tried again by itself. {_THEIR_ADMIN_AFTER}",
        Who.RECIPIENTS_ADMIN,
        Heals.YES,
    ),
    Cause.REMOTE_LOCAL_ERROR: Meaning(
        "The recipient's server has a fault of its own.",
        f"Wait; it is tried again by itself. {_THEIR_ADMIN_AFTER}",
        Who.RECIPIENTS_ADMIN,
        Heals.YES,
    ),
    Cause.PROTOCOL_SYNC_ERROR: Meaning(
        "The two servers misunderstood each other.",
        "Show this to your mail administrator; a firewall that looks into mail is often to blame.",
        Who.SENDERS_ADMIN,
        Heals.BY_CODE,
    ),
    Cause.NULL_MX: Meaning(
        "The domain behind the @ takes no mail at all.",
        "Check the part of the address behind the @, or ask the recipient for another address.",
        Who.SENDER,
    ),
    Cause.DOMAIN_NOT_FOUND: Meaning(
        "The domain behind the @ does not exist, or has no mail server.",
        "Check the part of the address behind the @ for spelling mistakes.",
        Who.SENDER,
    ),
    Cause.DNS_TEMPORARY: Meaning(
        "A question to the DNS was not answered.",
        f"Wait; it is tried again by itself. {_THEIR_ADMIN_AFTER}",
        Who.RECIPIENTS_ADMIN,
        Heals.YES,
    ),
    Cause.CONNECTION_REFUSED: Meaning(
        "Nobody answers at the recipient's mail server.",
        f"Wait; it is tried again by itself. {_THEIR_ADMIN_AFTER}",
        Who.RECIPIENTS_ADMIN,
        Heals.YES,
    ),
    Cause.CONNECTION_TIMED_OUT: Meaning(
        "The recipient's mail server does not answer, or stopped answering.",
        f"Wait; it is tried again by itself. {_THEIR_ADMIN_AFTER}",
        Who.RECIPIENTS_ADMIN,
        Heals.YES,
    ),
    Cause.LOOP_DETECTED: Meaning(
        "The message went round in a circle between mail servers.",
        "The forwarding or the MX record of the recipient's address has to be mended.",
        Who.RECIPIENTS_ADMIN,
    ),
    Cause.UNKNOWN: Meaning(
        "The recipient's server refused the message and gave no reason that is understood here.",
        "Read what the other server said; if that does not help, show it to your mail administrator.",
        Who.SENDERS_ADMIN,
        Heals.BY_CODE,
    ),
}

# Where somebody else has to act than usual, the usual remedy does not fit.
REMEDIES_BY_WHO: dict[tuple[Cause, Who], str] = {
    (Cause.AUTH_REQUIRED_OR_RELAY_DENIED, Who.SENDERS_ADMIN): (
        "Check the login that your mail server uses at the next server (relay.smarthost_username)."
    ),
    (Cause.TLS_REQUIRED, Who.RECIPIENTS_ADMIN): "The recipient's mail server has to offer TLS.",
    (Cause.TLS_HANDSHAKE_FAILED, Who.SENDERS_ADMIN): (
        "Have the TLS settings of your own server checked, since several destinations are affected."
    ),
    (Cause.CONNECTION_TIMED_OUT, Who.SENDERS_ADMIN): (
        "Check your network, and whether your provider blocks port 25; if it does, use a smarthost (relay.smarthost)."
    ),
    (Cause.CONNECTION_REFUSED, Who.SENDERS_ADMIN): (
        "Check your network, and whether your provider blocks port 25; if it does, use a smarthost (relay.smarthost)."
    ),
    (Cause.REMOTE_LOCAL_ERROR, Who.RECIPIENTS_ADMIN): (
        "The administrator of the recipient's mail server has to mend it; tell the recipient in another way."
    ),
    (Cause.TOO_MANY_RECIPIENTS, Who.NOBODY): f"Wait; the others are tried again by themselves. {_OUR_ADMIN_AFTER}",
    (Cause.PROTOCOL_SYNC_ERROR, Who.NOBODY): f"Wait; it is tried again by itself. {_OUR_ADMIN_AFTER}",
    (Cause.REPUTATION_IP, Who.NOBODY): f"Wait; it is tried again by itself. {_OUR_ADMIN_AFTER}",
    (Cause.REPUTATION_DOMAIN, Who.NOBODY): f"Wait; it is tried again by itself. {_OUR_ADMIN_AFTER}",
    (Cause.BLOCKLISTED_IP, Who.NOBODY): f"Wait; it is tried again by itself. {_OUR_ADMIN_AFTER}",
    (Cause.UNKNOWN, Who.NOBODY): f"Wait; it is tried again by itself. {_OUR_ADMIN_AFTER}",
    (Cause.UNKNOWN, Who.RECIPIENT): "Ask the recipient in another way to let your address through.",
    (Cause.UNKNOWN, Who.RECIPIENTS_ADMIN): (
        "Ask the recipient in another way to have their mail administrator look why this was refused."
    ),
}
