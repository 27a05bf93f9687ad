"""Policies of other domains: fetched when new, remembered, never in the way."""

import errno

import pytest
from twisted.internet.defer import Deferred

from mailserver.mail.dns import CannotTell
from mailserver.mail.mta_sts import NoStsPolicy, StsMode, StsPolicy
from mailserver.maillog import StsNotFetched, StsPolicyLearned, Trouble
from mailserver.ports import ConnectionFailed
from mailserver.relay.mta_sts import MAX_REFRESHED, NOT_AGAIN_S, StsPolicies
from mailserver.store.files import Files
from mailserver.store.sts_policies import STS_POLICIES_VERSION, FetchedPolicy, StsPolicyFile, encode
from tests.fakes.awaiting import run, start
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import FakeClock
from tests.fakes.network import MemoryResolver

DAY = 86400.0
NAME = "_mta-sts.example.net"


def body(mode="enforce", host="mx.example.net", age=10 * 86400):
    return f"version: STSv1\nmode: {mode}\nmx: {host}\nmax_age: {age}\n".encode()


def policy(mode="enforce", host="mx.example.net", age=10 * 86400):
    return StsPolicy(StsMode(mode), (host,), age)


class World:
    def __init__(self, folder):
        self.clock = FakeClock()
        self.events = []
        self.resolver = MemoryResolver(text={NAME: ["v=STSv1; id=1;"]})
        self.bodies = {"example.net": body()}
        self.fetched = []
        self.file = StsPolicyFile(folder, Files())
        self.policies = self.begin()

    def begin(self):
        policies = StsPolicies(
            self.resolver,
            self.fetch,
            self.file,
            blocking=DirectBlocking(),
            clock=self.clock,
            sink=self.events.append,
        )
        policies.load()
        return policies

    async def fetch(self, domain):
        self.fetched.append(domain)
        found = self.bodies.get(domain, ConnectionFailed("the connection was refused"))
        if isinstance(found, Exception):
            raise found
        return await found if isinstance(found, Deferred) else found

    def ask(self, domain="example.net"):
        return run(self.policies.policy(domain))

    def publish(self, record, content):
        self.resolver.text_table[NAME] = [record]
        self.bodies["example.net"] = content


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_a_domain_without_a_record_is_never_fetched_from(world):
    assert world.ask("plain.example") == NoStsPolicy("no policy is published")
    assert world.fetched == [] and world.events == []


def test_a_policy_is_fetched_once_and_told(world):
    assert world.ask() == world.ask() == policy()
    assert world.fetched == ["example.net"]
    assert world.events == [StsPolicyLearned("example.net", "enforce", ("mx.example.net",))]


def test_another_id_is_another_fetch(world):
    world.ask()
    world.publish("v=STSv1; id=2;", body("testing"))
    assert world.ask() == policy("testing")
    assert world.fetched == ["example.net"] * 2


@pytest.mark.parametrize("trouble", [ConnectionFailed("no answer"), b"<html>gone</html>"])
def test_what_cannot_be_fetched_leaves_the_old_one_in_force_until_its_time_is_over(world, trouble):
    world.ask()
    world.publish("v=STSv1; id=2;", trouble)
    assert world.ask() == policy()
    assert world.ask() == policy()
    assert world.fetched == ["example.net"] * 2  # nobody asks again at once
    world.clock.advance(NOT_AGAIN_S + 1)
    assert world.ask() == policy()
    assert world.fetched == ["example.net"] * 3
    world.clock.advance(10 * DAY)
    assert world.ask() == NoStsPolicy("the policy could not be fetched")
    assert [event for event in world.events if isinstance(event, StsNotFetched)]


@pytest.mark.parametrize("answer", [CannotTell("SERVFAIL"), ["v=spf1 -all"], ["v=STSv1; id=1;", "v=STSv1; id=2;"]])
def test_a_record_that_is_gone_changes_nothing_while_a_policy_is_remembered(world, answer):
    """RFC 8461 10.2: whoever can hide the record must not be able to switch the policy off."""
    world.ask()
    world.resolver.text_table[NAME] = answer
    assert world.ask() == policy()
    world.clock.advance(10 * DAY + 1)
    assert isinstance(world.ask(), NoStsPolicy)


def test_mode_none_ends_a_policy(world):
    world.ask()
    world.publish("v=STSv1; id=3;", b"version: STSv1\nmode: none\nmax_age: 86400\n")
    assert world.ask() == StsPolicy(StsMode.NONE, (), 86400)


def test_those_who_ask_at_once_share_one_fetch(world):
    waiting = Deferred()
    world.bodies["example.net"] = waiting
    first, second = start(world.policies.policy("example.net")), start(world.policies.policy("example.net"))
    # Other domains do not wait for it.
    assert isinstance(world.ask("plain.example"), NoStsPolicy)
    waiting.callback(body())
    assert (first.result, second.result) == (policy(), policy())
    assert world.fetched == ["example.net"]


def test_it_outlasts_a_restart(world):
    world.ask()
    run(world.policies.stop())
    assert world.file.path.stat().st_mode & 0o777 == 0o600
    world.policies = world.begin()
    assert world.ask() == policy() and world.fetched == ["example.net"]
    assert not world.clock.twisted.getDelayedCalls()


def test_it_is_refreshed_when_half_of_its_time_is_over(world):
    world.ask()
    world.clock.advance(4 * DAY)
    run(world.policies.look())
    assert world.fetched == ["example.net"]
    world.clock.advance(2 * DAY)
    run(world.policies.look())
    assert world.fetched == ["example.net"] * 2
    world.clock.advance(9 * DAY)
    assert world.policies.remembered("example.net").policy == policy()
    # The record still has the same id: nothing is fetched for that.
    assert world.ask() == policy() and world.fetched == ["example.net"] * 2


def test_a_round_of_refreshing_is_bounded_and_forgets_what_is_over(world):
    now = world.clock.now()
    many = {f"d{n}.example": FetchedPolicy(policy(), "1", now - 6 * DAY - n) for n in range(MAX_REFRESHED + 10)}
    world.file.write({**many, "over.example": FetchedPolicy(policy(), "1", now - 11 * DAY)})
    world.policies = world.begin()
    run(world.policies.look())
    assert len(world.fetched) == MAX_REFRESHED and "over.example" not in world.fetched


def test_a_damaged_file_is_told_and_a_newer_one_left_alone(world):
    world.file.path.write_bytes(b'{"version": 1, "policies": [["example.net", 3]]}')
    world.policies = world.begin()
    assert isinstance(world.events.pop(), Trouble) and world.ask() == policy()
    newer = encode({}).replace(f'"version": {STS_POLICIES_VERSION}'.encode(), b'"version": 99')
    world.file.path.write_bytes(newer)
    world.policies = world.begin()
    world.ask()
    run(world.policies.stop())
    assert world.file.path.read_bytes() == newer


def test_a_full_disk_is_told_and_holds_nothing_up(world, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(world.file, "write", full)
    assert world.ask() == policy()
    world.clock.advance(60)
    assert any(isinstance(event, Trouble) for event in world.events)
