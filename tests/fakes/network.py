"""DNS and hosts in memory: a `Resolver` from dictionaries, a `Dialer` whose hosts are scripts or refusals."""

import ipaddress

from mailserver.mail.dns import CannotTell, MxRecord, NoRecords, NoSuchName
from mailserver.ports import ConnectionFailed
from tests.fakes.stream import ScriptedStream


class MemoryResolver:
    """`mailserver.ports.Resolver`. Values are lists, or an answer such as `CannotTell("SERVFAIL")`.

    A name that is in neither table does not exist; one that is only in the other has no records.
    """

    def __init__(self, mx=None, addresses=None, text=None):
        self.mx_table = mx or {}
        self.address_table = addresses or {}
        self.text_table = text or {}
        self.questions = []

    async def mx(self, domain):
        self.questions.append(("MX", domain))
        found = self.mx_table.get(domain)
        if found is None:
            return NoRecords() if domain in self.address_table else NoSuchName()
        return tuple(MxRecord(*record) for record in found) if isinstance(found, list) else found

    async def addresses(self, host, *, ipv4=True, ipv6=True):
        self.questions.append(("A", host))
        found = self.address_table.get(host)
        if found is None:
            return NoRecords() if host in self.mx_table else NoSuchName()
        if not isinstance(found, list):
            return found
        wanted = [version for version, is_wanted in ((4, ipv4), (6, ipv6)) if is_wanted]
        return tuple(a for a in map(ipaddress.ip_address, found) if a.version in wanted) or NoRecords()

    async def text(self, name):
        found = self.text_table.get(name, NoSuchName())
        return tuple(found) if isinstance(found, list) else found

    async def pointer(self, address):
        return CannotTell("no answer")


class MemoryDialer:
    """`mailserver.ports.Dialer`. `hosts` maps an address (or name) to a list of what its connections are, in order.

    A tuple is the script of a `ScriptedStream`, a string the reason why there is no connection. A host that is not
    there refuses. `dialed` is (address, port) in order, `streams` what was opened.
    """

    def __init__(self, hosts=None):
        self.hosts = {host: list(connections) for host, connections in (hosts or {}).items()}
        self.dialed = []
        self.streams = []

    async def dial(self, address, port, *, timeout_s):
        self.dialed.append((str(address), port))
        waiting = self.hosts.get(str(address))
        if not waiting:
            raise ConnectionFailed("the connection was refused")
        connection = waiting.pop(0)
        if isinstance(connection, str):
            raise ConnectionFailed(connection)
        self.streams.append(ScriptedStream(*connection, peer=f"{address}:{port}"))
        return self.streams[-1]
