"""The retry schedule: the configured list, its last element again and again, jitter, expiry."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from mailserver.relay.schedule import JITTER, Schedule, age_when_taken_up, spread

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
USUAL = Schedule(
    retry=(5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR),
    expire_after=5 * DAY,
    delay_notice_after=4 * HOUR,
)
SECONDS = st.floats(0.001, 1e6)
SCHEDULES = st.builds(Schedule, st.lists(SECONDS, min_size=1, max_size=8).map(tuple), SECONDS, SECONDS)


def test_the_list_is_followed_and_its_last_element_repeated():
    delays = [USUAL.delay(attempts, 0.0, 0.0) / MINUTE for attempts in range(1, 10)]
    assert delays == [5, 10, 20, 40, 60, 120, 240, 240, 240]


@given(schedule=SCHEDULES, attempts=st.integers(1, 10**6), age=st.floats(0, 1e7), seed=st.integers())
def test_a_delay_lies_between_the_configured_one_and_a_tenth_more_unless_expiry_comes_first(
    schedule, attempts, age, seed
):
    delay = schedule.delay(attempts, age, spread(Random(seed)))
    configured = schedule.retry[min(attempts, len(schedule.retry)) - 1]
    assert delay > 0
    assert delay <= configured * (1 + JITTER)
    if age < schedule.expire_after:
        assert delay <= schedule.expire_after - age
        assert delay >= min(configured, schedule.expire_after - age)


@given(schedule=SCHEDULES, seed=st.integers())
def test_every_message_expires_at_its_time_after_a_bounded_number_of_attempts(schedule, seed):
    random, age, attempts = Random(seed), 0.0, 1
    most = schedule.expire_after / min(schedule.retry) + 3
    while not schedule.is_expired(age) and attempts < 5000:
        age += schedule.delay(attempts, age, spread(random))
        attempts += 1
        assert attempts <= most
    if attempts < 5000:
        assert age <= schedule.expire_after * 1.0001


@given(next_attempt=st.floats(0, 1e12), now=st.floats(0, 1e12), schedule=SCHEDULES)
def test_a_clock_that_jumps_neither_holds_mail_for_ever_nor_makes_time_negative(next_attempt, now, schedule):
    assert 0 <= schedule.wait_when_taken_up(next_attempt, now) <= max(schedule.retry) * (1 + JITTER)
    assert age_when_taken_up(next_attempt, now) >= 0


def test_notice_and_expiry_have_their_times():
    assert not USUAL.is_notice_due(4 * HOUR - 1)
    assert USUAL.is_notice_due(4 * HOUR)
    assert not USUAL.is_expired(5 * DAY - 1)
    assert USUAL.is_expired(5 * DAY)


def test_the_same_seed_gives_the_same_schedule():
    assert spread(Random(7)) == spread(Random(7)) != spread(Random(8))


def test_without_a_time_for_notices_none_is_ever_due():
    silent = Schedule((300.0,), DAY, 0.0)
    assert not any(silent.is_notice_due(age) for age in (0.0, 1.0, HOUR, 30 * DAY))
