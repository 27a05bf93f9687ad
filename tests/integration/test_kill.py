"""A 250 means on disk: SIGKILL under mixed load. `make soak` and `make soak-short` do the same for longer."""

import random

from tests.soak.kill_rounds import run_rounds

KILLS = 10


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"to repeat: python -m tests.soak.kill_rounds --rounds {KILLS} --seed {seed}")
    summary = run_rounds(tmp_path, KILLS, seed)
    print(summary.text())
    assert summary.problems == []
    assert summary.kills == KILLS
    assert summary.acknowledged > KILLS, "too little was sent to prove anything"
