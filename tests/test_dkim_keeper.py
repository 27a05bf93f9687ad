"""The running server's keys: taken up, looked for in DNS, taking over, reminding."""

from dataclasses import replace

import pytest

from mailserver.dkim_keeper import LOOK_EACH_S, REMIND_EACH_S, DkimKeeper
from mailserver.mail.dns import CannotTell
from mailserver.ports import Lane
from mailserver.store.dkim_keys import DkimKeyFolder
from tests.fakes.awaiting import run
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import FakeClock

DOMAIN = "example.org"
DAY = 86400.0


class Zone:
    def __init__(self):
        self.texts = {}
        self.asked = 0

    async def text(self, name):
        self.asked += 1
        return self.texts.get(name, CannotTell("SERVFAIL"))


class Keeping:
    """A keeper over a real folder."""

    def __init__(self, root):
        self.clock, self.zone, self.events, self.blocking = FakeClock(), Zone(), [], DirectBlocking()
        self.folder = DkimKeyFolder(root)
        self.keeper = DkimKeeper(
            self.folder,
            self.zone,
            blocking=self.blocking,
            clock=self.clock,
            log=self.events.append,
            queue_life_s=5 * DAY,
        )
        self.keeper.load()

    def make(self, suffix="1", *, is_active=False):
        made = []
        with self.folder.changing():
            for letter, algorithm in (("e", "ed25519-sha256"), ("r", "rsa-sha256")):
                key = self.folder.make(DOMAIN, letter + suffix, algorithm, self.clock.now())
                if is_active:
                    key = key.activated(self.clock.now())
                    self.folder.save(key)
                made.append(key)
        return made

    def look(self, after_s=0.0):
        self.clock.advance(after_s)
        run(self.keeper.look())
        return [key.selector for key in self.keeper.keys_of(DOMAIN)]

    def lines(self):
        lines = [event.line() for event in self.events]
        self.events.clear()
        return lines


@pytest.fixture
def keeping(tmp_path):
    return Keeping(tmp_path / "var")


def test_keys_made_by_the_command_line_are_taken_up(keeping):
    assert keeping.look() == []
    keeping.make(is_active=True)
    assert keeping.look() == ["r1", "e1"]
    assert keeping.keeper.keys_of("elsewhere.example") == ()


def test_keys_sign_when_both_records_are_seen(keeping):
    ed25519, rsa = keeping.make()
    assert keeping.look() == []
    keeping.zone.texts[rsa.name] = (rsa.record,)
    assert keeping.look(LOOK_EACH_S) == []
    keeping.zone.texts[ed25519.name] = (ed25519.record,)
    assert keeping.look(LOOK_EACH_S / 2) == []  # not looked for yet
    assert keeping.look(LOOK_EACH_S) == ["r1", "e1"]
    assert keeping.lines() == [
        "dkim-key domain=example.org selector=e1 state=active",
        "dkim-key domain=example.org selector=r1 state=active",
    ]
    asked = keeping.zone.asked
    keeping.look(10 * LOOK_EACH_S)
    assert keeping.zone.asked == asked  # nothing waits any more


def test_a_rotation_takes_over_and_the_old_keys_lose_their_secret(keeping):
    keeping.make(is_active=True)
    keeping.look()
    new = keeping.make("2")
    assert keeping.look() == ["r1", "e1"]
    keeping.zone.texts = {key.name: (key.record,) for key in new}
    assert keeping.look(LOOK_EACH_S) == ["r2", "e2"]
    assert "dkim-key domain=example.org selector=r1 state=retiring" in keeping.lines()
    assert not list(keeping.folder.path.rglob("[re]1.private"))
    # The server that starts anew knows the same.
    keeping.keeper.load()
    assert keeping.look() == ["r2", "e2"]


def test_a_year_is_reminded_of_once_a_day(keeping):
    made = keeping.make(is_active=True)
    keeping.look()
    with keeping.folder.changing():
        for key in made:
            keeping.folder.save(replace(key, activated_at=keeping.clock.now() - 400 * DAY))
    assert keeping.look(REMIND_EACH_S)
    lines = keeping.lines()
    assert len(lines) == 2
    assert "in use for 401 days" in lines[0]
    assert "mailserver dkim rotate example.org" in lines[0]
    keeping.look(10)
    assert keeping.lines() == []


def test_a_key_that_cannot_be_read_is_told_once_and_the_other_signs(keeping):
    keeping.make(is_active=True)
    (keeping.folder.path / DOMAIN / "r1.private").write_text("nonsense")
    assert keeping.look() == ["e1"]
    (line,) = keeping.lines()
    assert "r1.private" in line
    assert "it signs nothing" in line
    keeping.keeper.load()
    assert keeping.lines() == []


def test_a_busy_machine_leaves_everything_as_it_is(keeping):
    keeping.make(is_active=True)
    keeping.look()
    keeping.blocking.full.add(Lane.GENERAL)
    assert keeping.look(LOOK_EACH_S) == ["r1", "e1"]
