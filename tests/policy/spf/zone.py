"""A `Resolver` over a dictionary from names to `[(type, value)]`, as the published suite writes zones.

The entry `"TIMEOUT"` makes all types of a name time out that do not stand before it. `questions` collects (type, name).
"""

import ipaddress

from mailserver.mail.dns import CannotTell, MxRecord, NoRecords, NoSuchName


class ZoneResolver:
    """`mailserver.ports.Resolver`."""

    def __init__(self, zone):
        self.zone = {name.lower(): entries for name, entries in zone.items()}
        self.questions = []

    def _records(self, name, kind):
        self.questions.append((kind, name))
        seen = set()
        for _ in range(10):
            if name in seen:
                return CannotTell("a chain of CNAMEs without end")
            seen.add(name)
            entries = self.zone.get(name)
            if entries is None:
                return NoSuchName()
            found = []
            for entry in entries:
                if entry == "TIMEOUT":
                    if not found:
                        return CannotTell("no answer")
                elif entry[0] == kind:
                    if entry[1] == "TIMEOUT":
                        return CannotTell("no answer")
                    found.append(entry[1])
            if found:
                return found
            alias = next((entry[1] for entry in entries if entry != "TIMEOUT" and entry[0] == "CNAME"), None)
            if alias is None:
                return NoRecords()
            name = alias.lower().rstrip(".")
        return CannotTell("a chain of CNAMEs without end")

    async def text(self, name):
        found = self._records(name, "TXT")
        return tuple(found) if isinstance(found, list) else found

    async def mx(self, domain):
        found = self._records(domain, "MX")
        if not isinstance(found, list):
            return found
        return tuple(MxRecord(preference, name.lower().rstrip(".")) for preference, name in found)

    async def addresses(self, host, *, ipv4=True, ipv6=True):
        assert ipv4 is not ipv6, "SPF asks for one family"
        found = self._records(host, "A" if ipv4 else "AAAA")
        return tuple(map(ipaddress.ip_address, found)) if isinstance(found, list) else found

    async def pointer(self, address):
        found = self._records(address.reverse_pointer.lower(), "PTR")
        return tuple(name.lower().rstrip(".") for name in found) if isinstance(found, list) else found


def zone_from(data):
    """A zone of the suite: SPF records stand for TXT where a name has no TXT of its own."""
    return {name: _entries(entries) for name, entries in data.items()}


def _entries(entries):
    has_text = any(entry != "TIMEOUT" and "TXT" in entry for entry in entries)
    made = []
    for entry in entries:
        if entry == "TIMEOUT":
            made.append(entry)
            continue
        ((kind, value),) = entry.items()
        if kind == "SPF":
            if has_text:
                continue
            kind = "TXT"
        if kind == "TXT":
            if value == "NONE":
                continue
            value = "".join(value) if isinstance(value, list) else value
        made.append((kind, value))
    return made
