"""Tags in brackets, and names in the URL that a reply points to: what large receivers themselves call the reason.

A tag's name is fixed by its owner while his sentences change, so it outweighs wording. Only families whose meaning the
owner publishes (or which is spelled out in the name) are here.
"""

import re
from collections.abc import Iterator

from mailserver.policy.causes.evidence import Signal, Weight
from mailserver.policy.causes.names import Cause, Who
from mailserver.policy.causes.words import Words

# Google: the `p` of its help links names the reason.
_GOOGLE = {
    "nosuchuser": Cause.MAILBOX_UNKNOWN,
    "disableduser": Cause.MAILBOX_DISABLED,
    "inactiveuser": Cause.MAILBOX_DISABLED,
    "overquota": Cause.MAILBOX_FULL,
    "overquotatemp": Cause.MAILBOX_FULL,
    "overquotaperm": Cause.MAILBOX_FULL,
    "maxsizeerror": Cause.MESSAGE_TOO_LARGE,
    "rfcmessagenoncompliant": Cause.HEADER_OR_FORMAT_PROBLEM,
    "unsolicitedmessageerror": Cause.CONTENT_REJECTED_SPAM,
    "blockedmessage": Cause.CONTENT_REJECTED_VIRUS_OR_ATTACHMENT,
    "unsolicitedratelimiterror": Cause.RATE_LIMITED,
    "unsoliciteddomainerror": Cause.REPUTATION_DOMAIN,
    "unsolicitediperror": Cause.REPUTATION_IP,
    "notauthorizederror": Cause.DYNAMIC_IP_POLICY,
    "ipv6autherror": Cause.REVERSE_DNS_IPV6,
    "dmarcrejection": Cause.DMARC_FAIL,
    "receivingrate": Cause.RATE_LIMITED,
    "receivingrateperm": Cause.RATE_LIMITED,
    "toomanyrecipientserror": Cause.TOO_MANY_RECIPIENTS,
    "dailylimitexceeded": Cause.QUOTA_SENDER,
    "mailloop": Cause.LOOP_DETECTED,
    "badcredentials": Cause.AUTH_REQUIRED_OR_RELAY_DENIED,
    "wantautherror": Cause.AUTH_REQUIRED_OR_RELAY_DENIED,
}
_GOOGLE_LINK = re.compile(r"google\.com/\S{0,40}[?&]p=(\w{3,40})", re.IGNORECASE)

# Each: the tag, whose it is, what it means. Published by the owners or plain from the letters.
_TAGS: tuple[tuple[str, str, Cause], ...] = (
    (r"\[BL\d{2}\]", "Yahoo's tag for block lists", Cause.BLOCKLISTED_IP),
    (r"\[(?:IP)?TS\w?0[1-5]\]", "Yahoo's tag for deferred traffic", Cause.RATE_LIMITED),
    (r"\[TSS(?:0[6-9]|1\d)\]", "Yahoo's tag for unwanted traffic", Cause.REPUTATION_IP),
    (r"\[PH\d{2}\]", "Yahoo's tag for phishing", Cause.CONTENT_REJECTED_SPAM),
    (r"\(AU01\)", "Yahoo's tag for a failed signature", Cause.DKIM_FAIL),
    (r"\(554\.30\)", "Yahoo's tag for a disabled mailbox", Cause.MAILBOX_DISABLED),
    (r"\bDNS:NR\b", "AOL's tag for a missing reverse name", Cause.NO_REVERSE_DNS),
    (r"\bRTR:(?:BB|DU|IR)\b", "AOL's tag for dynamic addresses", Cause.DYNAMIC_IP_POLICY),
    (r"\bRTR:RD\b", "AOL's tag for a wrong reverse name", Cause.NO_REVERSE_DNS),
    (r"\b(?:RTR:(?:BL|SC|CH)|CON:B1)\b", "AOL's tag for blocked addresses", Cause.BLOCKLISTED_IP),
    (r"\bHVU:B\d\b", "AOL's tag for a bad link", Cause.BLOCKLISTED_DOMAIN_OR_URL),
    (r"\bDYN:T\d\b", "AOL's tag for too much traffic", Cause.RATE_LIMITED),
    (r"\[HME1\]", "Apple's tag for mail without proof", Cause.UNAUTHENTICATED_SENDER),
    (r"\[CS\d{2}\]", "Apple's tag for its content filter", Cause.CONTENT_REJECTED_SPAM),
    (r"\bDY-00\d\b", "Outlook's tag for dynamic addresses", Cause.DYNAMIC_IP_POLICY),
    (r"\b(?:SC|OU)-00\d\b", "Outlook's tag for blocked addresses", Cause.BLOCKLISTED_IP),
    (r"\bRP-00\d\b", "Outlook's tag for too much traffic", Cause.RATE_LIMITED),
    (r"\(BL\)", "T-Online's tag for its block list", Cause.BLOCKLISTED_IP),
    (r"\(DIAL\)", "T-Online's tag for dynamic addresses", Cause.DYNAMIC_IP_POLICY),
    (r"[?&]c=rdns\b", "GMX's and web.de's name for reverse DNS", Cause.NO_REVERSE_DNS),
    (r"[?&]c=bl\b", "GMX's and web.de's name for block lists", Cause.BLOCKLISTED_IP),
    (r"[?&]c=spf\b", "GMX's and web.de's name for SPF", Cause.SPF_FAIL),
    (r"#BL\d{6}", "Comcast's code for blocked addresses", Cause.BLOCKLISTED_IP),
    (r"#RL\d{6}", "Comcast's code for too much traffic", Cause.RATE_LIMITED),
    (r"#DM\d{6}", "Comcast's code for DMARC", Cause.DMARC_FAIL),
    (r"\bCXDNS\b", "Cox's code for reverse DNS", Cause.NO_REVERSE_DNS),
    (r"\bCXSNDR\b", "Cox's code for mail without proof", Cause.UNAUTHENTICATED_SENDER),
    (r"\b(?:CXCNCT|CXMXRT)\b", "Cox's code for too much traffic", Cause.RATE_LIMITED),
    (r"\b(?:CXBL|CDRBL|IPBL[01]{4,5})\b", "Cox's code for blocked addresses", Cause.BLOCKLISTED_IP),
    (r"\bURLBL[01]{3,4}\b", "Cox's code for a listed link", Cause.BLOCKLISTED_DOMAIN_OR_URL),
    (r"AUP#(?:In|I|O)?-?1(?:1[0-4]\d|150)\b", "Spectrum's code for reverse DNS", Cause.NO_REVERSE_DNS),
    (r"AUP#(?:In|I|O)?-?12[0-5]\d\b", "Spectrum's code for block lists", Cause.BLOCKLISTED_IP),
    (r"AUP#(?:In|I|O)?-?1(?:3\d\d|4\d\d|5[48]0)\b", "Spectrum's code for too much traffic", Cause.RATE_LIMITED),
    (r"AUP#(?:In|I|O)?-?1530\b", "Spectrum's code for the message's size", Cause.MESSAGE_TOO_LARGE),
    (r"\b(?:OFR|LPN)\w{0,4}_10[12]\b", "Orange's code for blocked addresses", Cause.BLOCKLISTED_IP),
    (r"\b(?:OFR|LPN)\w{0,4}_104\b", "Orange's code for too many connections", Cause.RATE_LIMITED),
    (r"\b(?:OFR|LPN)\w{0,4}_?416\b", "Orange's code for unknown recipients", Cause.MAILBOX_UNKNOWN),
    (r"\b(?:OFR|LPN)\w{0,4}_417\b", "Orange's code for full mailboxes", Cause.MAILBOX_FULL),
    (r"\b(?:OFR|LPN)\w{0,4}_42[06]\b", "Orange's code for closed mailboxes", Cause.MAILBOX_DISABLED),
    (r"\b(?:OFR|LPN)\w{0,4}_506\b", "Orange's code for its content filter", Cause.CONTENT_REJECTED_SPAM),
    (r"\b(?:OFR|LPN)\w{0,4}_514\b", "Orange's code for the message's size", Cause.MESSAGE_TOO_LARGE),
    (r"\b(?:OFR|LPN)\w{0,4}_517\b", "Orange's code for DMARC", Cause.DMARC_FAIL),
    (r"\bDT:SPM\b", "NetEase's code for spam", Cause.CONTENT_REJECTED_SPAM),
    (r"\bDT:RBL\b", "NetEase's code for block lists", Cause.BLOCKLISTED_IP),
    (r"\b(?:HL:(?:REP|MEP)|IP:REP)\b", "NetEase's code for reputation", Cause.REPUTATION_IP),
    (
        r"\b(?:HL:(?:ICC|IFC)|MI:(?:DMC|CCL)|RP:(?:DRC|CCL))\b",
        "NetEase's code for too much traffic",
        Cause.RATE_LIMITED,
    ),
    (r"\bMI:(?:SFQ|SEQ)\b", "NetEase's code for the sender's allowance", Cause.QUOTA_SENDER),
    (r"\bMI:SPF\b", "NetEase's code for SPF", Cause.SPF_FAIL),
    (r"\b(?:MI|RP):CEL\b", "NetEase's code for wrong commands", Cause.PROTOCOL_SYNC_ERROR),
    (r"RESOLVER\.ADR\.\w*Recip\w*NotFound", "Exchange's name for unknown recipients", Cause.MAILBOX_UNKNOWN),
    (r"RESOLVER\.RST\.\w*SizeLimit", "Exchange's name for the message's size", Cause.MESSAGE_TOO_LARGE),
    (r"STOREDRV\.\w+\W{1,4}.{0,30}QuotaExceeded", "Exchange's name for full mailboxes", Cause.MAILBOX_FULL),
    (
        r"SMTPSEND\.DNS\.NonExistentDomain|InfoDomainNonexistent",
        "Exchange's name for unknown domains",
        Cause.DOMAIN_NOT_FOUND,
    ),
    (r"spamhaus\.org/returnc/pub", "Spamhaus' page for queries through open resolvers", Cause.REMOTE_LOCAL_ERROR),
    (r"csi\.cloudmark\.com/(?:\w+/)?reset-request", "Cloudmark's page for listed addresses", Cause.BLOCKLISTED_IP),
    (
        r"spamhaus\.org/dbl\b|spamhaus\.org/query/domain",
        "Spamhaus' page for listed domains",
        Cause.BLOCKLISTED_DOMAIN_OR_URL,
    ),
    (r"spamhaus\.org/pbl\b", "Spamhaus' page for end users' addresses", Cause.DYNAMIC_IP_POLICY),
    (
        r"https?://[^\s<>]{0,200}/(?:\S{0,40}-)?(?:rbl|dnsbl|blacklist|blocklist|block-?lookup|unblock|delist|ipremoval)\b",
        "a page about blocked addresses",
        Cause.BLOCKLISTED_IP,
    ),
    (r"unresolvable-from-domain", "Yahoo's name for sender domains without DNS", Cause.SENDER_DOMAIN_UNRESOLVABLE),
)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), owner, cause) for pattern, owner, cause in _TAGS)


def signals(words: Words) -> Iterator[Signal]:
    """A signal for each known tag in what was said."""
    for name in _GOOGLE_LINK.findall(words.said):
        cause = _GOOGLE.get(name.lower())
        if cause is not None:
            yield Signal(cause, Weight.TAG, "Google's name in its help link", f"p={name}", 3)
    for pattern, owner, cause in _COMPILED:
        match = pattern.search(words.said)
        if match is None:
            continue
        if cause is Cause.REMOTE_LOCAL_ERROR:
            yield Signal(cause, Weight.TAG, owner, match[0], 9, Who.RECIPIENTS_ADMIN, False)
        else:
            yield Signal(cause, Weight.TAG, owner, match[0], 3)
