"""What an account may send within 24 hours, as sums."""

import pytest

from mailserver.policy.caps import MAX_KNOWN, Amount, Limits, Usage, digest, why_over
from tests.fakes.directory import box

HOUR, DAY = 3600.0, 86400.0
NOW = 1_750_000_000.0
FAR = [box(f"u{number}@far.example") for number in range(5)]


def send(usage, *recipients, at=NOW):
    amount, digests = usage.asks_for(recipients)
    usage.note(amount, digests, at)
    return amount


def test_who_was_written_to_before_is_not_new():
    usage = Usage()
    assert send(usage, FAR[0], FAR[1]) == Amount(1, 2, 2)
    assert send(usage, FAR[0], FAR[2]) == Amount(1, 2, 1)
    assert send(usage, FAR[0], FAR[0], box("U0@FAR.example")) == Amount(1, 1, 0), "one and the same"
    assert usage.of_a_day(NOW) == Amount(3, 5, 3)


def test_a_day_later_it_is_forgotten_but_not_who_is_known():
    usage = Usage()
    send(usage, FAR[0])
    assert usage.of_a_day(NOW + DAY - HOUR).messages == 1
    assert usage.of_a_day(NOW + DAY).messages == 0
    assert send(usage, FAR[0], at=NOW + 90 * DAY) == Amount(1, 1, 0)
    assert len(usage.hours) == 1, "old hours are thrown away"


def test_hours_of_a_clock_that_was_ahead_do_not_count_for_ever():
    usage = Usage()
    send(usage, FAR[0], at=NOW + 30 * DAY)
    assert usage.of_a_day(NOW) == Amount()


def test_those_not_written_to_for_longest_are_forgotten():
    usage = Usage()
    send(usage, FAR[0])
    for number in range(MAX_KNOWN):
        send(usage, box(f"n{number}@far.example"))
    assert len(usage.known) == MAX_KNOWN
    assert digest(FAR[0]) not in usage.known


@pytest.mark.parametrize(
    ("limits", "sent", "more", "told"),
    [
        (Limits(), Amount(10**6, 10**6, 10**6), Amount(1, 1, 1), ""),
        (Limits(3, 0, 0), Amount(2, 9, 9), Amount(1, 9, 9), ""),
        (Limits(3, 0, 0), Amount(3, 9, 9), Amount(1, 1, 0), "more than 3 messages within 24 hours"),
        (Limits(9, 5, 0), Amount(1, 4, 4), Amount(1, 2, 0), "more than 5 recipients within 24 hours"),
        (Limits(9, 9, 2), Amount(1, 2, 2), Amount(1, 1, 0), ""),
        (Limits(9, 9, 2), Amount(1, 2, 2), Amount(1, 1, 1), "more than 2 recipients it never wrote to before within"),
    ],
)
def test_which_cap_is_broken(limits, sent, more, told):
    assert why_over(limits, sent, more).startswith(told) and bool(why_over(limits, sent, more)) == bool(told)
