"""A made-up machine and world for a survey: addresses, reverse names, lists, port 25, a page, a clock."""

import ipaddress

from mailserver.mail.dns import NoSuchName
from mailserver.survey.doors import SurveyDoors, WebTrouble
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import FakeClock
from tests.fakes.network import MemoryDialer, MemoryResolver


def ip(text):
    return ipaddress.ip_address(text)


class FakeMachine:
    """`mailserver.survey.doors.Machine`."""

    def __init__(self, addresses=("127.0.0.1", "::1"), sources=(), taken=(), is_kept=True):
        self.addresses = tuple(map(ip, addresses))
        self.sources = {one.version: one for one in map(ip, sources)}
        self.taken = tuple(taken)
        self.is_kept = is_kept

    def interface_addresses(self):
        return self.addresses

    def source_address(self, version):
        return self.sources.get(version)

    def taken_ports(self, ports):
        return tuple(one for one in self.taken if one.port in ports)

    def is_clock_synchronized(self):
        return self.is_kept


class WorldResolver(MemoryResolver):
    """With reverse names by address."""

    def __init__(self, *, pointers=None, **tables):
        super().__init__(**tables)
        self.pointers = pointers or {}

    async def pointer(self, address):
        found = self.pointers.get(str(address), NoSuchName())
        return tuple(found) if isinstance(found, list) else found


class FakeWeb:
    """`mailserver.survey.doors.Web`: pages by address; a text is the trouble instead."""

    def __init__(self, pages=None):
        self.pages = pages or {}
        self.asked = []

    async def get(self, url):
        self.asked.append(url)
        page = self.pages.get(url, "the host is not known")
        if isinstance(page, str):
            raise WebTrouble(page)
        return page


def world(*, machine=None, resolver=None, hosts=None, pages=None, validating=(), clock=None):
    """`SurveyDoors` over these. `validating` are the name servers that do."""

    async def validates(server, signed_name):
        del signed_name
        return server in validating

    return SurveyDoors(
        machine=machine or FakeMachine(),
        resolver=resolver or WorldResolver(),
        dialer=MemoryDialer(hosts),
        web=FakeWeb(pages),
        validates=validates,
        blocking=DirectBlocking(),
        clock=clock or FakeClock(),
    )
