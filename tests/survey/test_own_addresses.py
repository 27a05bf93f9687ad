"""Which addresses the records are for, and how sure that is."""

from ipaddress import ip_address

import pytest
from twisted.internet.defer import Deferred

from mailserver.mail.dns import NoSuchName
from mailserver.survey.own_addresses import own_addresses
from tests.fakes.awaiting import run, start
from tests.fakes.clock import FakeClock
from tests.fakes.network import MemoryResolver
from tests.fakes.world import FakeMachine


def machine(*own):
    return FakeMachine(own, sources=[one for one in own if not one.startswith("127.")])


HOST = "mail.example.org"


@pytest.mark.parametrize(
    ("own", "named", "told", "expected", "remark"),
    [
        (["127.0.0.1", "9.9.9.7", "2620:fe::7"], [], [], ["9.9.9.7", "2620:fe::7"], ""),
        (["127.0.0.1", "9.9.9.7"], ["9.9.9.7"], [], ["9.9.9.7"], ""),
        (["10.0.0.2"], ["9.9.9.7"], [], ["9.9.9.7"], "9.9.9.7 is what DNS says of mail.example.org: if this server"),
        (["10.0.0.2"], [], [], [], "the IPv4 address that the world sees is not known here"),
        (["10.0.0.2"], ["9.9.9.7"], ["192.0.2.7"], ["192.0.2.7"], ""),
        (["10.0.0.2", "2620:fe::7"], [], ["192.0.2.7"], ["192.0.2.7", "2620:fe::7"], ""),
        (["127.0.0.1"], [], [], [], ""),
    ],
)
def test_what_the_owner_says_goes_before_the_machine_and_that_before_dns(own, named, told, expected, remark):
    resolver = MemoryResolver(addresses={HOST: named if named else NoSuchName()})
    found = run(own_addresses(machine(*own), resolver, FakeClock(), HOST, tuple(map(ip_address, told))))
    assert [str(one) for one in found.addresses] == expected
    assert found.remark.startswith(remark)
    assert bool(found.remark) == bool(remark)


def test_dns_that_does_not_answer_is_not_waited_for_long():
    class Silent:
        async def addresses(self, host):
            await Deferred()

    clock = FakeClock()
    waiting = start(own_addresses(machine("9.9.9.7"), Silent(), clock, HOST))
    clock.advance(8.5)
    assert waiting.result.addresses == (ip_address("9.9.9.7"),)
