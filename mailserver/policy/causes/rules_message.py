"""What words about the recipient, the message's shape and its content mean."""

from mailserver.policy.causes.evidence import Weight
from mailserver.policy.causes.names import Cause, Who
from mailserver.policy.causes.wording import Rule

RECIPIENT_RULES: tuple[Rule, ...] = (
    Rule(
        Cause.MAILBOX_UNKNOWN,
        "the recipient is said not to exist",
        ("mailbox", "unknown"),
        within=48,
        unless=("sender", "our domain", "login", "header", "tls"),
    ),
    Rule(Cause.MAILBOX_UNKNOWN, "the recipient is said not to belong there", ("not customer",)),
    Rule(
        Cause.MAILBOX_UNKNOWN,
        "a mailbox that is unavailable for good mostly does not exist",
        ("unavailable mailbox",),
        weight=Weight.FRAME,
        precision=1,
    ),
    Rule(
        Cause.MAILBOX_DISABLED,
        "the mailbox exists but is switched off",
        ("mailbox", "disabled"),
        within=30,
        unless=("sender", "our address", "relay"),
        precision=3,
    ),
    Rule(Cause.MAILBOX_FULL, "the mailbox has no room left", ("mailbox", "full"), within=48, precision=3),
    Rule(Cause.MAILBOX_FULL, "storage or quota is used up", ("quota", "exceeded"), within=40, unless=("own quota",)),
    Rule(Cause.MAILBOX_FULL, "storage or quota is used up", ("full", "quota"), within=0, unless=("own quota",)),
    Rule(
        Cause.UNKNOWN,
        "the recipient has blocked this sender",
        ("by recipient", "forbidden"),
        within=48,
        who=Who.RECIPIENT,
    ),
    Rule(Cause.UNKNOWN, "the recipient has blocked this sender", ("mailbox", "by recipient"), who=Who.RECIPIENT),
    Rule(
        Cause.UNKNOWN,
        "a rule of the recipient's organization refused it and does not say why",
        ("organization",),
        who=Who.RECIPIENTS_ADMIN,
        precision=1,
    ),
)

SHAPE_RULES: tuple[Rule, ...] = (
    Rule(
        Cause.MESSAGE_TOO_LARGE,
        "the message is over a size limit",
        ("message", "too large"),
        within=48,
        unless=("line", "quota"),
        precision=3,
    ),
    Rule(Cause.MESSAGE_TOO_LARGE, "an attachment is over a size limit", ("attachment", "too long"), within=24),
    Rule(Cause.MESSAGE_TOO_LARGE, "a size limit is reached", ("too large",), precision=1, unless=("line", "mailbox")),
    Rule(Cause.LINE_TOO_LONG, "a line is over the length limit", ("line", "too long"), within=24, precision=3),
    Rule(
        Cause.HEADER_OR_FORMAT_PROBLEM,
        "the header or the format breaks a rule",
        ("header", "malformed"),
        within=48,
        precision=2,
        unless=("line",),
    ),
    Rule(
        Cause.HEADER_OR_FORMAT_PROBLEM,
        "the message as a whole is malformed",
        ("message", "malformed"),
        within=20,
        precision=1,
        unless=("mailbox", "dkim", "spf", "dmarc", "attachment", "tls", "line", "sync"),
    ),
    Rule(Cause.HEADER_OR_FORMAT_PROBLEM, "an address is written wrongly", ("illegal characters",)),
    Rule(Cause.SMTPUTF8_UNSUPPORTED, "letters outside ASCII in an address are not supported", ("utf8",), precision=3),
)

CONTENT_RULES: tuple[Rule, ...] = (
    Rule(Cause.CONTENT_REJECTED_SPAM, "the message is taken for spam", ("message", "spam"), within=60),
    Rule(Cause.CONTENT_REJECTED_SPAM, "something is taken for spam", ("spam",), precision=1, unless=("our address",)),
    Rule(Cause.CONTENT_REJECTED_SPAM, "the content has too many points", ("scored",)),
    Rule(Cause.CONTENT_REJECTED_SPAM, "the content is refused", ("content", "forbidden"), within=48),
    Rule(
        Cause.CONTENT_REJECTED_SPAM,
        "a filter refused the message",
        ("message", "content"),
        within=16,
        precision=1,
        unless=("attachment", "virus", "header", "our address"),
    ),
    Rule(Cause.CONTENT_REJECTED_VIRUS_OR_ATTACHMENT, "malware is suspected", ("virus",), precision=3),
    Rule(
        Cause.CONTENT_REJECTED_VIRUS_OR_ATTACHMENT,
        "an attachment of this kind is not accepted",
        ("attachment", "forbidden"),
        within=60,
        precision=3,
        unless=("too large",),
    ),
    Rule(
        Cause.BLOCKLISTED_DOMAIN_OR_URL,
        "a link or a domain in the message is on a list",
        ("url", "spam"),
        within=32,
        precision=3,
        unless=("reputation",),
        who=Who.SENDERS_ADMIN,
    ),
    Rule(Cause.BLOCKLISTED_DOMAIN_OR_URL, "a domain is on a list", ("url", "listed"), within=48, precision=3),
    Rule(Cause.BLOCKLISTED_DOMAIN_OR_URL, "a list of domains names it", ("domain list",), precision=3),
    Rule(
        Cause.BLOCKLISTED_DOMAIN_OR_URL,
        "the sender's domain is on a list",
        ("our domain", "listed"),
        within=32,
        precision=3,
        unless=("by recipient",),
    ),
)
