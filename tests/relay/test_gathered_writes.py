"""Changes are gathered, one write at a time; what fails is told once and tried again; a stop writes the rest."""

from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from mailserver.ports import Overloaded
from mailserver.relay.gathered_writes import GatheredWrites
from tests.fakes.clock import FakeClock


class World:
    def __init__(self):
        self.clock, self.told, self.written = FakeClock(), [], 0
        self.trouble = None
        self.writes = GatheredWrites(Path("list.json"), self.write, 60.0, "tried again", self.clock, self.told.append)

    async def write(self):
        self.written += 1
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture
def world():
    return World()


def test_many_changes_are_one_write(world):
    for _ in range(5):
        world.writes.later()
    assert world.written == 0
    world.clock.advance(60)
    assert world.written == 1
    world.clock.advance(600)
    assert world.written == 1


@pytest.mark.parametrize(("trouble", "told"), [(OSError(28, "full"), 1), (Overloaded("busy"), 0)])
def test_a_write_that_fails_is_told_at_most_once_and_tried_again(world, trouble, told):
    world.trouble = trouble
    world.writes.later()
    for _ in range(3):
        world.clock.advance(60)
    assert (world.written, len(world.told)) == (3, told)
    world.trouble = None
    world.clock.advance(60)
    world.clock.advance(600)
    assert world.written == 4


def test_a_stop_writes_what_was_not_written_and_nothing_after_it(world):
    world.trouble = OSError(28, "full")
    world.writes.later()
    Deferred.fromCoroutine(world.writes.stop())
    assert world.written == 1
    world.writes.later()
    world.clock.advance(600)
    assert world.written == 1


def test_a_file_of_somebody_else_is_never_written(world):
    world.writes.is_allowed = False
    world.writes.later()
    world.clock.advance(600)
    Deferred.fromCoroutine(world.writes.stop())
    assert world.written == 0
