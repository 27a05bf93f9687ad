"""Guesses and connections are bounded per client."""

import ipaddress

import pytest

from mailserver.mail.peer import peer_from
from mailserver.policy.limits import (
    FORGET_AFTER_S,
    LONGEST_DELAY_S,
    Admission,
    ConnectionLimits,
    LoginGuesses,
)

STRANGER = peer_from("192.0.2.9", 4711)


def delays(guesses, peer, count):
    seen = []
    for _ in range(count):
        seen.append(guesses.delay_s(peer, 0.0))
        guesses.failed(peer, 0.0)
    return seen


def test_the_first_guesses_are_free_and_the_next_ones_slower_each_time():
    assert delays(LoginGuesses(slow_after=3), STRANGER, 9) == [0, 0, 0, 1, 2, 4, 8, 15, 15]


def test_delay_never_exceeds_the_longest():
    guesses = LoginGuesses(slow_after=0)
    delays(guesses, STRANGER, 5_000)
    assert guesses.delay_s(STRANGER, 0.0) == LONGEST_DELAY_S


def test_each_failure_is_forgotten_in_time():
    guesses = LoginGuesses(slow_after=3)
    delays(guesses, STRANGER, 5)
    assert guesses.delay_s(STRANGER, FORGET_AFTER_S * 1.5) == 2.0
    assert guesses.delay_s(STRANGER, FORGET_AFTER_S * 3) == 0.0
    assert guesses.delay_s(STRANGER, FORGET_AFTER_S * 6) == 0.0


def test_a_clock_that_steps_back_forgets_nothing_and_raises_nothing():
    guesses = LoginGuesses(slow_after=1)
    guesses.failed(STRANGER, 1000.0)
    assert guesses.delay_s(STRANGER, 0.0) == 1.0


def test_another_client_is_not_slowed():
    guesses = LoginGuesses()
    delays(guesses, STRANGER, 9)
    assert guesses.delay_s(peer_from("192.0.2.10", 1), 0.0) == 0.0


def test_ipv6_is_counted_by_its_64():
    guesses = LoginGuesses(slow_after=1)
    guesses.failed(peer_from("2001:db8::1", 1), 0.0)
    assert guesses.delay_s(peer_from("2001:db8::ffff:2", 1), 0.0) > 0
    assert guesses.delay_s(peer_from("2001:db8:0:1::1", 1), 0.0) == 0.0


def test_exempt_networks_never_wait():
    guesses = LoginGuesses(exempt=(ipaddress.ip_network("192.0.2.0/24"),))
    delays(guesses, STRANGER, 20)
    assert guesses.delay_s(STRANGER, 0.0) == 0.0


def test_memory_is_bounded_and_the_oldest_go_first():
    guesses = LoginGuesses(slow_after=1, max_clients=3)
    peers = [peer_from(f"192.0.2.{n}", 1) for n in range(5)]
    for peer in peers:
        guesses.failed(peer, 0.0)
    assert [guesses.delay_s(peer, 0.0) > 0 for peer in peers] == [False, False, True, True, True]


def test_a_failure_is_answered_at_a_multiple_of_a_time_drawn_from_the_range():
    guesses = LoginGuesses(answered_after_s=(0.25, 0.25))
    assert guesses.answer_in_s(10.0, 10.0) == 0.25
    assert guesses.answer_in_s(10.0, 10.2) == pytest.approx(0.05)
    assert guesses.answer_in_s(10.0, 10.6) == pytest.approx(0.15)
    assert guesses.answer_in_s(10.0, 9.0) == 0.25, "a clock that steps back"


def test_without_a_range_a_failure_is_answered_at_once():
    assert LoginGuesses(answered_after_s=(0.0, 0.0)).answer_in_s(10.0, 10.2) == 0.0


def test_connections_per_client_and_in_all():
    limits = ConnectionLimits(max_connections=3, max_per_client=2)
    other = peer_from("192.0.2.10", 1)
    assert limits.admit(STRANGER) is Admission.ADMITTED
    assert limits.admit(peer_from("192.0.2.9", 9)) is Admission.ADMITTED
    assert limits.admit(STRANGER) is Admission.TOO_MANY_OF_CLIENT
    assert limits.admit(other) is Admission.ADMITTED
    assert limits.is_crowded
    assert limits.admit(other) is Admission.TOO_MANY
    limits.release(STRANGER)
    assert not limits.is_crowded
    assert limits.admit(other) is Admission.ADMITTED
    assert limits.total == 3


def test_a_release_too_many_is_our_fault():
    with pytest.raises(AssertionError):
        ConnectionLimits(max_connections=3, max_per_client=2).release(STRANGER)


def test_nothing_is_remembered_of_clients_that_have_gone():
    limits = ConnectionLimits(max_connections=3, max_per_client=2)
    limits.admit(STRANGER)
    limits.release(STRANGER)
    assert limits.total == 0
    assert limits._by_client == {}
