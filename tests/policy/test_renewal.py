"""When a certificate is ordered, and how long a failure holds the next order back."""

import pytest

from mailserver.policy.acme_remedies import code_of, remedy
from mailserver.policy.renewal import (
    DAY_S,
    HOUR_S,
    Order,
    Past,
    Reason,
    Standing,
    Wait,
    after_failure,
    decide,
    fits,
    is_urgent,
    renewal_time,
)

NOW = 1_750_000_000.0
NAMES = ("mail.example.org",)
MONTH = 30 * DAY_S


def standing(age_days, life_days, names=NAMES, **about):
    begin = NOW - age_days * DAY_S
    return Standing(names, begin, begin + life_days * DAY_S, **about)


@pytest.mark.parametrize(
    ("found", "past", "expected"),
    [
        # nothing there
        (None, Past(), Order(Reason.NONE_YET)),
        # ninety days: two thirds are served
        (standing(59, 90), Past(), Wait(NOW + DAY_S)),
        (standing(60, 90), Past(), Order(Reason.DUE)),
        (standing(95, 90), Past(), Order(Reason.DUE)),
        # a year: thirty days before its end, not four months
        (standing(334, 365), Past(), Wait(NOW + DAY_S)),
        (standing(335, 365), Past(), Order(Reason.DUE)),
        # six days: the last third
        (standing(3, 6), Past(), Wait(NOW + DAY_S)),
        (standing(4, 6), Past(), Order(Reason.DUE)),
        # other names, another kind of key
        (standing(1, 90, ("other.example.org",)), Past(), Order(Reason.NAMES)),
        (standing(1, 90, ("*.example.org",)), Past(), Wait(NOW + 59 * DAY_S)),
        (standing(1, 90, ("mail.example.org", "more.example.org")), Past(), Wait(NOW + 59 * DAY_S)),
        (standing(1, 90, has_wanted_key=False), Past(), Order(Reason.KEY)),
        # the lab's certificates are no use outside
        (standing(1, 90, is_of_authority=False), Past(), Order(Reason.AUTHORITY)),
        # the authority's advice makes it earlier, never later
        (standing(1, 90), Past(suggested_at=NOW - 1), Order(Reason.SUGGESTED)),
        (standing(1, 90), Past(suggested_at=NOW + DAY_S), Wait(NOW + DAY_S)),
        (standing(59, 90), Past(suggested_at=NOW + 9 * DAY_S), Wait(NOW + DAY_S)),
        # a failure holds back whatever is due
        (None, Past(1, NOW + HOUR_S), Wait(NOW + HOUR_S)),
        (standing(95, 90), Past(3, NOW + 1), Wait(NOW + 1)),
        (standing(95, 90), Past(3, NOW), Order(Reason.DUE)),
        (standing(1, 90), Past(3, NOW + HOUR_S), Wait(NOW + 59 * DAY_S)),
        # the clock was set back by years: the failure is not of the future
        (None, Past(1, NOW + 400 * DAY_S), Order(Reason.NONE_YET)),
        # a life of no length is a broken certificate, and due
        (standing(1, 0), Past(), Order(Reason.DUE)),
    ],
)
def test_decisions(found, past, expected):
    assert decide(found, NAMES, past, NOW, MONTH) == expected


def test_renewal_is_never_later_than_the_last_third():
    assert renewal_time(standing(0, 90), 1.0) == NOW + 90 * DAY_S - 1.0
    assert renewal_time(standing(0, 90), 365 * DAY_S) == NOW + 60 * DAY_S


@pytest.mark.parametrize(
    ("failures", "asked", "is_limited", "hours"),
    [
        (0, None, False, 1),
        (1, None, False, 2),
        (2, None, False, 4),
        (3, None, False, 8),
        (4, None, False, 16),
        (5, None, False, 24),
        (5000, None, False, 24),
        # Retry-After makes it later, never earlier, and not for ever
        (0, 7200.0, False, 2),
        (3, 60.0, False, 8),
        (0, 1e12, False, 7 * 24),
        # asked too often: a day, unless the authority says
        (0, None, True, 24),
        (0, 3 * 3600.0, True, 3),
    ],
)
def test_waits_after_a_failure(failures, asked, is_limited, hours):
    past = after_failure(Past(failures, 0.0, 5.0), NOW, asked, is_limited=is_limited)
    assert past == Past(failures + 1, NOW + hours * HOUR_S, 5.0)


def test_an_hour_never_sees_five_failures_and_a_week_few():
    """Five failed validations of a name in an hour, and it is refused for longer (Let's Encrypt's limits)."""
    past, now, moments = Past(), NOW, []
    while now < NOW + 7 * DAY_S:
        moments.append(now)
        past = after_failure(past, now)
        now = past.next_attempt_at
    assert max(sum(1 for one in moments if begin <= one < begin + HOUR_S) for begin in moments) == 1
    assert len(moments) <= 12


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, False),
        (standing(79, 90), False),
        (standing(81, 90), True),
        (standing(91, 90), True),
        (standing(4, 6), False),
        (standing(5.5, 6), True),
    ],
)
def test_urgent(found, expected):
    assert is_urgent(found, NOW) is expected


def test_names_fit():
    assert fits(("A.example.org", "*.example.net"), ("a.EXAMPLE.org", "b.example.net"))
    assert not fits(("*.example.net",), ("example.net",))
    assert not fits(("*.example.net",), ("a.b.example.net",))
    assert fits(("*.example.net",), ("*.example.net",))
    assert not fits((), ("example.net",))


@pytest.mark.parametrize(
    ("code", "challenge", "words"),
    [
        ("connection", "http-01", "port 80 of a.example from the internet"),
        ("unauthorized", "http-01", "records of a.example must lead to this machine"),
        ("unauthorized", "dns-01", "_acme-challenge.a.example was not seen"),
        ("dns", "http-01", "a.example must have an A or AAAA record"),
        ("caa", "http-01", "CAA records of a.example"),
        ("rateLimited", "", "wait"),
        ("never heard of it", "http-01", "mailserver certificate renew"),
    ],
)
def test_every_refusal_has_a_remedy(code, challenge, words):
    assert words in remedy(code, challenge, "*.a.example")


def test_a_remedy_without_a_name_reads_well():
    assert remedy("caa") == (
        "the CAA records of each name allow other authorities only: add this one, or take one that they allow"
    )
    assert code_of("urn:ietf:params:acme:error:dnssec") == "dnssec"
