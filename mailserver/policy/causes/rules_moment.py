"""What words about the moment and the way there mean."""

from mailserver.policy.causes.evidence import Weight
from mailserver.policy.causes.names import Cause, Who
from mailserver.policy.causes.wording import Rule

MOMENT_RULES: tuple[Rule, ...] = (
    Rule(Cause.TOO_MANY_RECIPIENTS, "too many recipients at once", ("many recipients",), precision=5),
    Rule(Cause.QUOTA_SENDER, "the sender's allowance is used up", ("own quota", "exceeded"), within=60, precision=4),
    Rule(Cause.RATE_LIMITED, "too much at once or too fast", ("throttled",), precision=3),
    Rule(Cause.GREYLISTED, "a first attempt is always put off", ("greylist",), precision=5, unless=("by recipient",)),
    Rule(Cause.SERVICE_UNAVAILABLE_421, "the server has no time now", ("busy",), unless=("resources", "listed")),
    Rule(Cause.REMOTE_LOCAL_ERROR, "the other server has a fault of its own", ("local error",), precision=1),
    Rule(
        Cause.REMOTE_LOCAL_ERROR,
        "the other server is configured wrongly",
        ("configuration error",),
        who=Who.RECIPIENTS_ADMIN,
        is_temporary=False,
    ),
    Rule(Cause.REMOTE_LOCAL_ERROR, "the other server lacks room or memory", ("resources",), precision=3),
    Rule(Cause.PROTOCOL_SYNC_ERROR, "the two servers misunderstood each other", ("sync",), precision=2),
    Rule(
        Cause.REMOTE_LOCAL_ERROR,
        "the address could not be checked just now",
        ("verification pending",),
        precision=4,
        is_temporary=True,
    ),
)

# Only for 4yz, and under everything that says more, an enhanced code too: whoever only asks for patience tells of no
# fault, and in a 5yz the same words mean "mend it, then send it again".
PATIENCE_RULES: tuple[Rule, ...] = (
    Rule(
        Cause.SERVICE_UNAVAILABLE_421,
        "it asks to come back later, and nothing else is recognized",
        ("come back",),
        precision=0,
        weight=Weight.GENERIC_CODE,
    ),
)

WAY_RULES: tuple[Rule, ...] = (
    Rule(Cause.NULL_MX, "the domain says that it takes no mail", ("no mail here",), precision=5),
    Rule(
        Cause.DOMAIN_NOT_FOUND,
        "the domain is said not to exist",
        ("domain", "not found"),
        within=12,
        ordered=True,
        precision=3,
        unless=("sender", "our domain", "dns trouble", "ptr"),
    ),
    Rule(
        Cause.DOMAIN_NOT_FOUND,
        "the domain could not be found",
        ("cannot find", "domain"),
        within=24,
        ordered=True,
        precision=3,
        unless=("sender", "our domain", "ptr"),
    ),
    Rule(
        Cause.DNS_TEMPORARY,
        "a DNS question was not answered",
        ("dns", "dns trouble"),
        within=60,
        precision=4,
        unless=("ptr",),
    ),
    Rule(Cause.CONNECTION_REFUSED, "nobody listens there", ("refused",), unless=("throttled",)),
    Rule(Cause.CONNECTION_TIMED_OUT, "no answer came in time", ("timed out",), precision=3),
    Rule(Cause.LOOP_DETECTED, "the message goes in a circle", ("loop",), precision=4),
    Rule(
        Cause.CONNECTION_TIMED_OUT,
        "it was tried until it was too old",
        ("expired in queue",),
        precision=1,
        weight=Weight.GENERIC_CODE,
    ),
)
