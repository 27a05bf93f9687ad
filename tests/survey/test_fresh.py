"""Our own names are looked up past caches when they seem to be missing; nobody else's are."""

from ipaddress import ip_address

import pytest
from twisted.internet.defer import Deferred

from mailserver.mail.dns import CannotTell, NoRecords, NoSuchName
from mailserver.survey.fresh import LIMIT_S, FreshResolver
from tests.fakes.awaiting import run, start
from tests.fakes.clock import FakeClock
from tests.fakes.zone import ZoneResolver

HOST, V4 = "mail.example.org", ip_address("192.0.2.7")
PTR = V4.reverse_pointer
PUBLISHED = {HOST: {"A": [str(V4)]}, "other.example": {"A": ["192.0.2.9"]}, PTR: {"PTR": [HOST]}}


def fresh(cached, there):
    authority = ZoneResolver(there)
    return FreshResolver(ZoneResolver(cached), authority, (HOST,), FakeClock()), authority


@pytest.mark.parametrize("cached", [{}, {HOST: {}, PTR: {}}], ids=["no such name", "no records"])
def test_what_a_cache_does_not_know_yet_is_found(cached):
    resolver, _ = fresh(cached, PUBLISHED)
    assert run(resolver.addresses(HOST)) == (V4,)
    assert run(resolver.pointer(V4)) == (HOST,)


def test_what_is_known_or_cannot_be_told_or_is_somebody_elses_is_not_asked_for_again():
    resolver, authority = fresh({HOST: {"A": ["192.0.2.8"]}, PTR: {"rcode": "SERVFAIL"}}, PUBLISHED)
    assert run(resolver.addresses(HOST)) == (ip_address("192.0.2.8"),)
    assert isinstance(run(resolver.pointer(V4)), CannotTell)
    assert run(resolver.addresses("other.example")) == NoSuchName()
    assert run(resolver.mx(HOST)) == run(resolver.text(HOST)) == NoRecords()
    assert authority.questions == []


def test_what_the_name_servers_cannot_tell_stays_as_it_was():
    resolver, _ = fresh({}, {HOST: {"rcode": "REFUSED"}, PTR: {"silent": True}})
    assert run(resolver.addresses(HOST)) == run(resolver.pointer(V4)) == NoSuchName()


def test_name_servers_that_keep_silent_are_not_waited_for():
    class Silent:
        async def pointer(self, address):
            await Deferred()

    clock = FakeClock()
    asking = start(FreshResolver(ZoneResolver({}), Silent(), (HOST,), clock).pointer(V4))
    clock.advance(LIMIT_S)
    assert asking.result == NoSuchName()
