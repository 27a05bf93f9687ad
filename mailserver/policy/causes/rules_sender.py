"""What words about our address, our domain's proof and the way we connect mean."""

from mailserver.policy.causes.evidence import Weight
from mailserver.policy.causes.names import Cause, Who
from mailserver.policy.causes.wording import Rule

ADDRESS_RULES: tuple[Rule, ...] = (
    Rule(
        Cause.REMOTE_LOCAL_ERROR,
        "the receiver asked a block list through an open resolver; nobody is listed",
        ("open resolver",),
        precision=9,
        who=Who.RECIPIENTS_ADMIN,
        is_temporary=False,
    ),
    Rule(Cause.NO_REVERSE_DNS, "the reverse name of our address is missing or wrong", ("ptr",), precision=4),
    Rule(
        Cause.DYNAMIC_IP_POLICY,
        "our address belongs to a range for end users",
        ("generic name", "our address"),
        within=60,
        precision=5,
    ),
    Rule(Cause.DYNAMIC_IP_POLICY, "mail must come through a provider's server", ("generic name",), precision=2),
    Rule(
        Cause.REPUTATION_IP,
        "the reputation of our address",
        ("our address", "reputation"),
        within=60,
        precision=4,
        unless=("our domain",),
    ),
    Rule(Cause.REPUTATION_IP, "a bad reputation", ("reputation", "bad"), within=40, unless=("our domain",)),
    Rule(Cause.REPUTATION_IP, "mail from our address is unwanted", ("messages from address", "deferred"), within=80),
    Rule(
        Cause.REPUTATION_IP,
        "retrying is said to be useless for our address",
        ("messages from address", "never"),
        within=80,
        precision=4,
        weight=Weight.TAG,
        is_temporary=False,
    ),
    Rule(Cause.REPUTATION_IP, "complaints about mail from us", ("complaints",)),
    Rule(Cause.REPUTATION_IP, "access for our server is refused as a whole", ("your access",)),
    Rule(Cause.REPUTATION_IP, "a policy about our address", ("ip based",)),
    Rule(
        Cause.BLOCKLISTED_IP,
        "our address is on a block list",
        ("our address", "listed"),
        within=60,
        precision=3,
        unless=("our domain", "by recipient"),
    ),
    Rule(
        Cause.BLOCKLISTED_IP, "mail from our address is refused", ("our address", "refused mail"), within=8, precision=1
    ),
    Rule(
        Cause.BLOCKLISTED_IP,
        "our address is blocked as such",
        ("our address", "been blocked"),
        within=6,
        ordered=True,
        precision=3,
    ),
    Rule(Cause.BLOCKLISTED_IP, "a block list is named", ("listed",), unless=("our domain", "by recipient", "url")),
)

PROOF_RULES: tuple[Rule, ...] = (
    Rule(Cause.UNAUTHENTICATED_SENDER, "SPF and DKIM do not vouch for the sender", ("unauthenticated",), precision=4),
    Rule(Cause.UNAUTHENTICATED_SENDER, "a level of proof is not met", ("authentication level",), precision=6),
    Rule(Cause.UNAUTHENTICATED_SENDER, "SPF and DKIM both fail", ("spf", "dkim", "fails"), within=60, precision=4),
    Rule(
        Cause.DMARC_FAIL,
        "DMARC is named as failed",
        ("dmarc", "fails"),
        within=60,
        precision=5,
        unless=("dns trouble",),
    ),
    Rule(Cause.DMARC_FAIL, "a policy that the sender's domain publishes", ("sender policy", "fails"), within=24),
    Rule(Cause.SPF_FAIL, "SPF is named as failed", ("spf", "fails"), within=60, precision=3),
    Rule(Cause.SPF_FAIL, "SPF is named", ("spf",), precision=1),
    Rule(Cause.DKIM_FAIL, "DKIM is named as failed", ("dkim", "fails"), within=60, precision=3),
    Rule(Cause.DKIM_FAIL, "DKIM is named", ("dkim",), precision=1),
    Rule(
        Cause.REPUTATION_DOMAIN,
        "the reputation of our domain",
        ("reputation", "our domain"),
        within=40,
        precision=4,
    ),
    Rule(Cause.REPUTATION_DOMAIN, "mail of our domain is unwanted", ("our domain", "unwanted"), within=40),
    Rule(Cause.REPUTATION_DOMAIN, "a policy about our domain", ("domain based",), precision=3),
    Rule(
        Cause.SENDER_DOMAIN_UNRESOLVABLE,
        "the sender's address cannot be found in DNS or verified",
        ("sender", "resolves not"),
        within=40,
        precision=3,
        unless=("tls", "spf"),
    ),
    Rule(
        Cause.SENDER_DOMAIN_UNRESOLVABLE,
        "the sender's domain has no usable record",
        ("our domain", "resolves not"),
        within=40,
        precision=3,
        unless=("dmarc", "spf"),
    ),
    Rule(
        Cause.SENDER_DOMAIN_UNRESOLVABLE,
        "the sender's address was checked and found dead",
        ("sender check",),
        precision=4,
    ),
    Rule(Cause.SENDER_DOMAIN_UNRESOLVABLE, "a record of ours is called invalid", ("invalid mx",), precision=3),
)

CONNECTING_RULES: tuple[Rule, ...] = (
    Rule(Cause.TLS_REQUIRED, "the connection must be encrypted", ("tls", "required"), within=48, precision=3),
    Rule(
        Cause.TLS_REQUIRED,
        "we need encryption and the other side offers none",
        ("tls", "not offered by"),
        within=48,
        precision=4,
        who=Who.RECIPIENTS_ADMIN,
    ),
    Rule(Cause.TLS_HANDSHAKE_FAILED, "encryption could not be set up", ("handshake",), precision=3),
    Rule(
        Cause.AUTH_REQUIRED_OR_RELAY_DENIED,
        "a login is asked for or was refused",
        ("login",),
        precision=4,
        who=Who.SENDERS_ADMIN,
        unless=("spf", "dkim"),
    ),
    Rule(
        Cause.AUTH_REQUIRED_OR_RELAY_DENIED,
        "that server does not take mail for this domain",
        ("relay", "denied"),
        within=32,
        precision=3,
        unless=("unknown",),
    ),
)
