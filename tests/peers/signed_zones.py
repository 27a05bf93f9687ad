"""An authoritative name server for a few zones, signed with DNSSEC or not, in threads of the test.

`ZoneServer` answers as RFC 1034 4.3.2 and RFC 4035 3.1 have it: records with their signatures, and for what is not
there the SOA with the NSEC record that proves it. It is what stands behind a validating resolver.
"""

import socketserver
import struct
import threading
from dataclasses import dataclass

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from tests.peers.running import HOST

_TTL = 60
_HEAD = "@ {ttl} IN SOA ns hostmaster 1 3600 600 86400 {ttl}\n@ {ttl} IN NS ns\nns {ttl} IN A 127.0.0.1\n"


@dataclass(frozen=True, slots=True)
class MadeZone:
    """A zone and the key that others trust it by, as a record; empty for a zone that is not signed."""

    zone: dns.zone.Zone
    anchor: str = ""


def make_zone(origin: str, records: str, *, is_signed: bool) -> MadeZone:
    """`records` in zone-file form, names relative to `origin`."""
    zone = dns.zone.from_text(_HEAD.format(ttl=_TTL) + records, origin=origin, relativize=False)
    if not is_signed:
        return MadeZone(zone)
    key = ec.generate_private_key(ec.SECP256R1())
    public = dns.dnssec.make_dnskey(
        key.public_key(), dns.dnssec.Algorithm.ECDSAP256SHA256, flags=dns.dnssec.Flag.ZONE | dns.dnssec.Flag.SEP
    )
    dns.dnssec.sign_zone(zone, keys=[(key, public)], lifetime=86400)
    return MadeZone(zone, f"{zone.origin} IN DNSKEY {public}")


def tamper(made: MadeZone, name: str, kind: str, value: str) -> MadeZone:
    """Another value under the old signature, as somebody on the way would put there."""
    owner = dns.name.from_text(name)
    with made.zone.writer() as transaction:
        rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), value)
        transaction.delete(owner, dns.rdatatype.from_text(kind))
        transaction.add(owner, _TTL, rdata)
    return made


class ZoneServer:
    """Serves zones on `port`, UDP and TCP, until `stop`."""

    def __init__(self, *made: MadeZone) -> None:
        self._zones = [one.zone for one in made]
        outer = self

        class Udp(socketserver.BaseRequestHandler):
            def handle(self):
                octets, socket = self.request
                socket.sendto(outer.answer(octets, 4096), self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self):
                while head := self.rfile.read(2):
                    octets = outer.answer(self.rfile.read(struct.unpack("!H", head)[0]), 65535)
                    self.wfile.write(struct.pack("!H", len(octets)) + octets)

        self._tcp = socketserver.ThreadingTCPServer((HOST, 0), Tcp)
        self._tcp.daemon_threads = True
        self.port = self._tcp.server_address[1]
        self._udp = socketserver.ThreadingUDPServer((HOST, self.port), Udp)
        self._udp.daemon_threads = True
        self._threads = [threading.Thread(target=one.serve_forever, args=(0.05,)) for one in (self._tcp, self._udp)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Close both sockets."""
        for one in (self._tcp, self._udp):
            one.shutdown()
            one.server_close()
        for thread in self._threads:
            thread.join()

    def answer(self, octets: bytes, limit: int) -> bytes:
        """One answer. A name outside of all zones is refused."""
        query = dns.message.from_wire(octets)
        question = query.question[0]
        response = dns.message.make_response(query)
        zone = next((one for one in self._zones if question.name.is_subdomain(one.origin)), None)
        if zone is None:
            response.set_rcode(dns.rcode.REFUSED)
        else:
            response.flags |= dns.flags.AA
            _fill(response, zone, question.name, question.rdtype, bool(query.ednsflags & dns.flags.DO))
        return response.to_wire(max_size=limit, prefer_truncation=True)


def _fill(response, zone, name, kind, is_signed):
    def put(section, owner, rdtype):
        rdataset = zone.get_rdataset(owner, rdtype)
        if rdataset is None:
            return False
        section.append(dns.rrset.from_rdata_list(owner, rdataset.ttl, rdataset))
        signatures = zone.get_rdataset(owner, dns.rdatatype.RRSIG, covers=rdtype)
        if is_signed and signatures is not None:
            section.append(dns.rrset.from_rdata_list(owner, signatures.ttl, signatures))
        return True

    if put(response.answer, name, kind):
        return
    put(response.authority, zone.origin, dns.rdatatype.SOA)
    is_there = zone.get_node(name) is not None or any(one.is_subdomain(name) for one in zone.nodes)
    if not is_there:
        response.set_rcode(dns.rcode.NXDOMAIN)
    if is_signed:
        # The name that comes before in the canonical order proves what is not there; the zone's own, no wildcard.
        before = max((one for one in zone.nodes if one <= name), default=zone.origin)
        for owner in dict.fromkeys((before, zone.origin) if not is_there else (before,)):
            put(response.authority, owner, dns.rdatatype.NSEC)
