"""When a failed login is answered: a time that does not tell what was wrong, whatever the check took.

Everything is real but the clock, and a `Blocking` door that takes as long as the test says.
"""

from random import Random

import pytest

from mailserver.maillog import LoginRefused
from mailserver.policy.limits import FAILURE_ANSWERED_AFTER_S, LoginGuesses
from mailserver.ports import Then
from mailserver.session.pop3_server import Pop3Doors, Pop3Session
from mailserver.session.smtp_profile import SUBMISSIONS
from mailserver.store.accounts import AccountsFile
from mailserver.store.accounts_edit import editing
from mailserver.store.app_passwords import Device, hash_app_password
from mailserver.store.logins import Logins
from mailserver.store.passwords import Passwords
from mailserver.wire.pop3_server import Pop3Server
from tests.fakes import smtp
from tests.fakes.awaiting import run, start
from tests.fakes.directory import box
from tests.session import pop3_dialogue

# What was wrong -> login, password.
CASES = {
    "unknown user": ("nobody@example.test", "guess"),
    "unknown domain": ("alice@elsewhere.example", "guess"),
    "wrong password": ("alice@example.test", "guess"),
    "disabled account": ("bob@example.test", "guess"),
    "disabled account, right password": ("bob@example.test", "bob's"),
    "account without a password": ("carol@example.test", "guess"),
    "hash of an unknown kind": ("dave@example.test", "guess"),
    "hash from elsewhere": ("erin@example.test", "guess"),
    "wrong app password": ("frank+phone@example.test", "guess"),
    "device that is not there": ("frank+tablet@example.test", "app"),
    "app password of another account": ("alice@example.test", "app"),
    "account with app passwords only": ("frank@example.test", "frank's"),
    "malformed name": ("@@", "guess"),
    "no domain": ("alice", "guess"),
    "endless name": ("x" * 300, "guess"),
    "endless password": ("alice@example.test", "g" * 2000),
}
# How long a check takes. The last two are a machine under load.
CHECKS_S = (0.0, 0.004, 0.025, 0.2, 0.4, 3.0)
SAMPLES = 100
# A POP3 line has at most 512 octets.
MAX_SAID = 400


class SlowLane:
    """The `Blocking` door: the work is done, and its result comes after `takes_s` of the clock."""

    def __init__(self, clock):
        self.clock = clock
        self.takes_s = 0.0

    async def run(self, lane, call, *args):
        result = call(*args)
        if self.takes_s:
            await self.clock.sleep(self.takes_s)
        return result


class House:
    """Accounts of all kinds, and their logins over a lane that is as slow as the test says."""

    def __init__(self, folder, clock):
        passwords = Passwords(memory_kib=8, passes=1)
        path = folder / "accounts.toml"
        with editing(path) as document:
            document.add_account(box("alice@example.test"), passwords.hash("alice's"))
            document.add_account(box("bob@example.test"), passwords.hash("bob's"))
            document.set_disabled(box("bob@example.test"), True)
            document.add_account(box("carol@example.test"), "")
            document.add_account(box("dave@example.test"), "{UNHEARD-OF}xyz")
            document.add_account(box("erin@example.test"), "{SSHA}sx4aMfGUmcZYBG5yjf8oPWuZ+0qkm2d1")
            frank = box("frank@example.test")
            document.add_account(frank, passwords.hash("frank's"))
            document.add_device(frank, Device("phone", hash_app_password("app")))
            document.set_requires_app_passwords(frank, True)
        self.accounts = AccountsFile(path, ["example.test"], box("alice@example.test"))
        self.accounts.load()
        self.lane = SlowLane(clock)
        self.clock = clock
        self.logins = Logins(self.accounts, self.lane, clock, lambda event: None, passwords)


def guesses(seed=1, **changes):
    return LoginGuesses(**{"slow_after": 10**6, "max_failures": 10**6, "random": Random(seed), **changes})


class SmtpDoor:
    """AUTH over SMTP. `attempt` begins one login; a Deferred of the answer."""

    def __init__(self, folder, command, **changes):
        self.world = smtp.World()
        self.clock = self.world.clock
        self.house = House(folder, self.clock)
        self.events = self.world.events
        doors = self.world.doors
        self.world.doors = type(doors)(
            self.house.accounts,
            self.house.logins,
            doors.committer,
            doors.clock,
            doors.new_queue_id,
            doors.log,
            guesses(**changes),
            doors.make_success_report,
        )
        self.client = self.world.connect(
            SUBMISSIONS, settings=smtp.SmtpSettings("mail.test", max_commands=10**6, max_errors=10**6)
        )
        self.session = self.client.session
        self.command = command

    def attempt(self, login, password):
        if self.command == "PLAIN":
            return self.client.begin(f"AUTH PLAIN {smtp.plain(login, password)}\r\n")
        encoded = [smtp.base64.b64encode(text.encode()).decode() for text in (login, password)]
        assert self.client.code(f"AUTH LOGIN {encoded[0]}") == 334
        return self.client.begin(encoded[1] + "\r\n")

    def end(self, answer):
        return self.client.machine.reply(answer.reply)[:3] == b"535"


class Pop3Door:
    """USER and PASS, or AUTH, over POP3."""

    def __init__(self, folder, command, **changes):
        self.world = pop3_dialogue.World()
        self.clock = self.world.clock
        self.house = House(folder, self.clock)
        self.events = self.world.events
        self.machine = Pop3Server()
        doors = Pop3Doors(
            self.house.logins, self.world.maildrops, self.clock, guesses(**changes), self.world.events.tell
        )
        self.session = Pop3Session(self.world.settings, pop3_dialogue.LOOPBACK, doors)
        self.machine.greet(run(self.session.greet()).reply)
        self.command = command

    def say(self, line):
        self.machine.receive(line.encode() + b"\r\n")
        return start(self.session.answer(self.machine.next_event()))

    def attempt(self, login, password):
        if self.command == "PLAIN":
            assert self.machine.reply(self.say("AUTH PLAIN").result.reply).startswith(b"+ ")
            return self.say(smtp.plain(login, password))
        assert self.machine.reply(self.say(f"USER {login}").result.reply).startswith(b"+OK")
        return self.say(f"PASS {password}")

    def end(self, answer):
        return self.machine.reply(answer.reply).startswith(b"-ERR [AUTH]")


DOORS = {
    "SMTP AUTH PLAIN": (SmtpDoor, "PLAIN"),
    "SMTP AUTH LOGIN": (SmtpDoor, "LOGIN"),
    "POP3 USER PASS": (Pop3Door, "PASS"),
    "POP3 AUTH PLAIN": (Pop3Door, "PLAIN"),
}


@pytest.fixture(params=list(DOORS))
def make_door(request, tmp_path):
    kind, command = DOORS[request.param]

    def make(**changes):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return kind(folder, command, **changes)

    return make


def time_of(door, login, password):
    """Seconds until the answer to one failed login, as the client measures."""
    began = door.clock.monotonic()
    waiting = door.attempt(login, password)
    while not waiting.called:
        # To the next moment at which something happens, so that times are exact.
        [due, *_] = sorted(call.getTime() for call in door.clock.twisted.getDelayedCalls())
        door.clock.advance(due - door.clock.monotonic())
    assert door.end(waiting.result)
    return door.clock.monotonic() - began


def test_the_same_time_whatever_was_wrong_and_whatever_the_check_took(make_door):
    """With the same draw the time is the same to the microsecond: nothing but the draw makes it."""
    low, high = FAILURE_ANSWERED_AFTER_S
    times = set()
    for login, password in CASES.values():
        for takes_s in CHECKS_S:
            door = make_door(seed=7)
            if takes_s < low and (len(password) < MAX_SAID or isinstance(door, SmtpDoor)):
                door.house.lane.takes_s = takes_s
                times.add(round(time_of(door, login, password), 6))
    assert len(times) == 1 and low <= times.pop() <= high


def test_times_are_spread_over_the_whole_range(make_door):
    door = make_door()
    low, high = FAILURE_ANSWERED_AFTER_S
    times = sorted(time_of(door, *CASES["wrong password"]) for _ in range(SAMPLES))
    assert low <= times[0] < low + (high - low) / 10
    assert high - (high - low) / 10 < times[-1] <= high
    # No value comes twice: it is a draw and not a choice of a few.
    assert len(set(times)) == SAMPLES


@pytest.mark.parametrize("takes_s", [one for one in CHECKS_S if one > FAILURE_ANSWERED_AFTER_S[1]])
def test_under_load_the_answer_is_later_and_does_not_show_when_the_check_was_done(make_door, takes_s):
    """Checks that took 20 ms more or less give the same answer time but at the edge of a multiple."""
    same = 0
    for draw in range(20):
        answered = []
        for slower in (0.0, 0.02):
            door = make_door(seed=draw)
            door.house.lane.takes_s = takes_s + slower
            answered.append(round(time_of(door, *CASES["wrong password"]), 6))
        step = Random(draw).uniform(*FAILURE_ANSWERED_AFTER_S)
        assert all(takes_s <= time <= takes_s + 0.02 + FAILURE_ANSWERED_AFTER_S[1] for time in answered)
        assert all(min(time % step, step - time % step) < 1e-5 for time in answered), "a multiple of the draw"
        same += len(set(answered)) == 1
    assert same >= 15


def test_a_failure_counts_before_it_is_answered(make_door):
    """Many guesses at once are slowed as if they came one after the other."""
    door = make_door(slow_after=1)
    waiting = door.attempt(*CASES["wrong password"])
    assert not waiting.called
    assert [event for event in door.events if isinstance(event, LoginRefused)]


def test_a_client_that_is_held_back_may_be_sent_away(make_door):
    door = make_door()
    assert not door.session.is_waiting
    waiting = door.attempt(*CASES["wrong password"])
    assert door.session.is_waiting
    door.clock.advance(1.0)
    assert waiting.called and not door.session.is_waiting


def test_the_last_failure_of_a_session_is_held_back_too(make_door):
    door = make_door(max_failures=1)
    waiting = door.attempt(*CASES["unknown user"])
    assert not waiting.called
    door.clock.advance(FAILURE_ANSWERED_AFTER_S[1])
    assert waiting.result.then is Then.CLOSE or waiting.result.reply.code == 421


def test_a_right_password_is_not_held_back(make_door):
    door = make_door()
    waiting = door.attempt("alice@example.test", "alice's")
    assert waiting.called
