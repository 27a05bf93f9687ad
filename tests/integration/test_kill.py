"""A 250 means on disk: SIGKILL at random moments under load. `make soak` does the same for longer."""

import random

import pytest

from tests.soak.kill_rounds import content_of, number_of, run_rounds

ROUNDS = 20


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"to repeat: python -m tests.soak.kill_rounds --rounds {ROUNDS} --seed {seed}")
    ledger = run_rounds(tmp_path, ROUNDS, seed)
    acknowledged = [message for message in ledger.messages.values() if message.is_acknowledged]
    assert len(acknowledged) > ROUNDS, "too little was sent to prove anything"


@pytest.mark.parametrize("size", [300, 4_000, 60_000])
def test_the_check_itself_notices_a_torn_or_damaged_message(size):
    whole = content_of(7, size)
    assert number_of(b"Return-Path: <>\n" + whole) == 7
    assert number_of(whole.replace(b"\n", b"\r\n")) == 7
    for bad in (whole[:-1], whole[: len(whole) // 2], whole.replace(b"abcdefghij", b"abcdefghi", 1)):
        with pytest.raises(AssertionError):
            number_of(bad)
