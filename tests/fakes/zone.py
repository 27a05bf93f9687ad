"""Published records, as the zone that `tests.fakes.dns_server` serves, and a resolver that reads such a zone in memory.

`zone_of(records)` is what an owner does who publishes all that is printed; tests then break it.
"""

import ipaddress
import json

import dns.rdata
import dns.rdataclass
import dns.rdatatype

from mailserver.mail.dns import CannotTell, FoundRecords, MxRecord, NoRecords, NoSuchName
from mailserver.policy.records.values import Record, unquoted
from tests.fakes.dns_server import entry_of


def zone_of(records: tuple[Record, ...]) -> dict:
    """A zone dictionary with these records."""
    zone = {}
    for record in records:
        zone.setdefault(record.name, {}).setdefault(record.kind, []).append(zone_value(record.kind, record.value))
    return zone


def zone_value(kind: str, value: str):
    """The value of a record in zone-file form, as the zone dictionary has it."""
    if kind == "TXT":
        return unquoted(value)
    if kind == "MX":
        preference, exchange = value.split()
        return [int(preference), exchange if exchange == "." else exchange.rstrip(".")]
    return value.rstrip(".") if kind in ("CNAME", "PTR") else value


class ZoneResolver:
    """`mailserver.ports.RecordResolver` over a zone dictionary. `questions` has (name, type) in order."""

    def __init__(self, zone):
        self.zone = zone
        self.questions = []

    def _ask(self, name, kind):
        """The values in zone-file form, where CNAMEs led, and whether all of it is signed."""
        self.questions.append((name, kind))
        is_signed = True
        for _ in range(9):
            entry = entry_of(self.zone, name)
            if entry is None:
                return NoSuchName(), name, False
            if "rcode" in entry or entry.get("silent"):
                return CannotTell(entry.get("rcode", "no answer")), name, False
            is_signed = is_signed and bool(entry.get("signed"))
            if entry.get(kind):
                return tuple(_zone_form(kind, value) for value in entry[kind]), name, is_signed
            if "CNAME" not in entry:
                return NoRecords(), name, False
            name = entry["CNAME"][0].rstrip(".").lower()
        return CannotTell("a chain of CNAMEs without end"), name, False

    async def records(self, name, kind):
        return FoundRecords(*self._ask(name, kind))

    async def mx(self, domain):
        found = self._ask(domain, "MX")[0]
        if not isinstance(found, tuple):
            return found
        return tuple(MxRecord(int(one.split()[0]), one.split()[1].rstrip(".")) for one in found)

    async def addresses(self, host, *, ipv4=True, ipv6=True):
        kinds = [kind for kind, is_wanted in (("AAAA", ipv6), ("A", ipv4)) if is_wanted]
        answers = [self._ask(host, kind)[0] for kind in kinds]
        found = [ipaddress.ip_address(one) for answer in answers if isinstance(answer, tuple) for one in answer]
        troubles = [answer for answer in answers if isinstance(answer, CannotTell)]
        return tuple(found) or (troubles[0] if troubles else answers[0])

    async def text(self, name):
        found = self._ask(name, "TXT")[0]
        return tuple(json.loads(one) for one in found) if isinstance(found, tuple) else found

    async def pointer(self, address):
        found = self._ask(address.reverse_pointer, "PTR")[0]
        return tuple(one.rstrip(".") for one in found) if isinstance(found, tuple) else found


def _zone_form(kind, value):
    """As the real resolver tells it: dnspython's words, names in lower case."""
    if kind == "TXT":
        return json.dumps(value)
    if kind == "MX":
        value = f"{value[0]} {value[1].rstrip('.')}."
    elif kind in ("CNAME", "PTR"):
        value = value.rstrip(".") + "."
    text = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), value).to_text()
    return text.lower() if kind in ("MX", "CNAME", "PTR", "SRV") else text
