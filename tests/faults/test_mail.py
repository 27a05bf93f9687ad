"""Every point of a message's way to disk and through the queue: power cut, kill, failure (design section 4, promise 1).

The stories are in `stories`, what a power cut may do in docs/decisions/0005-what-a-power-cut-may-do.md.
"""

import pytest

from tests.faults.enumerate import failures, kills, power_cuts
from tests.faults.stories import BROKEN, DELIVERY, QUEUE

STORIES = {story.name: story for story in (*DELIVERY, *BROKEN, *QUEUE)}
# Here every error code at every point; elsewhere they take turns from point to point.
ALL_CODES = frozenset(("one recipient", "a new mailbox", "queued", "large, one recipient", "delivered later"))


@pytest.fixture(params=STORIES)
def story(request):
    return STORIES[request.param]


def test_a_power_cut_at_any_point_loses_nothing_that_was_acknowledged(story, base):
    points, states = power_cuts(story, base)
    assert points > 5
    assert states > 2


def test_a_power_cut_after_a_kill_at_any_point_loses_nothing(story, base):
    points, _ = kills(story, base)
    assert points > 5


def test_a_failure_at_any_point_loses_nothing_and_leaves_nothing(story, base):
    points, _ = failures(story, base, 5 if story.name in ALL_CODES else 1)
    assert points > 5
