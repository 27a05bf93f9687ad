"""A name server on loopback that answers what a test tells it to, over UDP and TCP.

In a test's own reactor: `server = DnsServer(zone); server.start(reactor)`, then `server.port`; `server.zone` may be
changed at any time. In a process of its own: `python -m tests.fakes.dns_server --port N zonefile.json`; the file is
read again whenever it changes, and `ready` is printed when the sockets are open.

A zone is a dictionary from names to records; keys of a record dictionary are types, or say how to misbehave:

    {
        "example.net": {"MX": [[10, "mx.example.net"]], "TXT": ["v=spf1 -all"]},
        "mx.example.net": {"A": ["127.0.0.1"], "AAAA": ["::1"]},
        "alias.example.net": {"CNAME": ["mx.example.net"]},
        "null.example.net": {"MX": [[0, "."]]},
        "broken.example.net": {"rcode": "SERVFAIL"},
        "quiet.example.net": {"silent": true},
        "big.example.net": {"truncate": true, "A": ["127.0.0.1"]},
        "cut.example.net": {"cut": 6, "cut_over": ["udp"], "A": ["127.0.0.1"]},
        "far.example.net": {"follow": false, "CNAME": ["mx.example.net"]},
        "*.wild.example.net": {"TXT": ["for all names below"]},
        "*": {"rcode": "REFUSED"}
    }

A name that is not there is NXDOMAIN (unless a wildcard of a domain above it or `*` is), a type that is not there
NODATA, both with an SOA. CNAMEs are followed inside the zone unless `follow` is false. A name with `signed` is told
with the AD bit, if the question has it and every name on the way is signed, too. `cut` octets are missing at the end
of an answer. `ttl` sets the seconds all may be remembered; 0 if unsaid.
"""

import argparse
import json
import sys
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.protocols.basic import Int16StringReceiver


class DnsServer:
    """One zone on one port, UDP and TCP. `questions` collects (name, type, transport) in order."""

    def __init__(self, zone=None):
        self.zone = zone or {}
        self.questions = []
        self.port = None
        self._ports = []

    def start(self, reactor, port=0, interface="127.0.0.1"):
        for _ in range(50):
            tcp = reactor.listenTCP(port, Factory.forProtocol(lambda: _Tcp(self)), interface=interface)
            self.port = tcp.getHost().port
            try:
                udp = reactor.listenUDP(self.port, _Udp(self), interface=interface, maxPacketSize=8192)
            except CannotListenError:
                # The number is free for TCP alone; another one may be free for both.
                tcp.stopListening()
                if port:
                    raise
                continue
            self._ports = [udp, tcp]
            break
        return self

    def stop(self):
        """A Deferred that fires when both sockets are closed."""
        from twisted.internet.defer import DeferredList, maybeDeferred

        return DeferredList([maybeDeferred(port.stopListening) for port in self._ports])

    def answer(self, octets, transport):
        """The answer to one message as octets, or None for silence."""
        query = dns.message.from_wire(octets)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.questions.append((name, kind, transport))
        entry = self._entry(name)
        if entry is not None and entry.get("silent"):
            return None
        response = dns.message.make_response(query, recursion_available=True)
        self._is_signed = bool(query.flags & dns.flags.AD)
        if entry is not None and "rcode" in entry:
            response.set_rcode(dns.rcode.from_text(entry["rcode"]))
            return response.to_wire()
        self._fill(response, name, kind)
        if self._is_signed:
            response.flags |= dns.flags.AD
        if entry is not None and entry.get("truncate") and transport == "udp":
            response.flags |= dns.flags.TC
            response.answer.clear()
        wire = response.to_wire(max_size=512 if transport == "udp" else 65535, prefer_truncation=True)
        is_cut = entry is not None and transport in entry.get("cut_over", ("udp", "tcp"))
        return wire[: len(wire) - entry.get("cut", 0)] if is_cut else wire

    def _entry(self, name):
        return entry_of(self.zone, name)

    def _fill(self, response, name, kind):
        for _ in range(20):
            entry = self._entry(name)
            self._is_signed = self._is_signed and bool((entry or {}).get("signed"))
            if entry is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
                break
            ttl = entry.get("ttl", 0)
            if kind in entry:
                response.answer.append(_rrset(name, ttl, kind, entry[kind]))
                return
            if "CNAME" not in entry:
                break
            response.answer.append(_rrset(name, ttl, "CNAME", entry["CNAME"]))
            name = entry["CNAME"][0].rstrip(".").lower()
            if not entry.get("follow", True):
                return
        else:
            return
        ttl = (self._entry(name) or {}).get("ttl", 0)
        soa = f". . 1 3600 600 86400 {ttl}"
        response.authority.append(dns.rrset.from_text("test.", ttl, "IN", "SOA", soa))


def entry_of(zone, name):
    """What a zone has of a name, by itself or by the nearest wildcard; None when it does not exist."""
    rest = name
    while name not in zone and rest:
        _, _, rest = rest.partition(".")
        wildcard = f"*.{rest}" if rest else "*"
        if wildcard in zone:
            return zone[wildcard]
    return zone.get(name)


def _rrset(name, ttl, kind, values):
    texts = []
    for value in values:
        if kind == "MX":
            texts.append(f"{value[0]} {_dotted(value[1])}")
        elif kind in ("CNAME", "PTR"):
            texts.append(_dotted(value))
        elif kind == "TXT":
            parts = [value[start : start + 255] for start in range(0, len(value), 255)] or [""]
            texts.append(" ".join(json.dumps(part) for part in parts))
        else:
            texts.append(value)
    return dns.rrset.from_text_list(dns.name.from_text(name), ttl, "IN", kind, texts)


def _dotted(name):
    return name if name.endswith(".") else name + "."


class _Udp(DatagramProtocol):
    def __init__(self, server):
        self.server = server

    def datagramReceived(self, data, address):
        answer = self.server.answer(data, "udp")
        if answer is not None:
            self.transport.write(answer, address)


class _Tcp(Int16StringReceiver):
    def __init__(self, server):
        self.server = server

    def stringReceived(self, data):
        answer = self.server.answer(data, "tcp")
        if answer is not None:
            self.sendString(answer)


def main(arguments):
    """Serve a zone file until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.dns_server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("zonefile", type=Path)
    options = parser.parse_args(arguments)
    from twisted.internet import reactor, task

    server = DnsServer(json.loads(options.zonefile.read_text())).start(reactor, options.port)
    seen = [options.zonefile.stat().st_mtime_ns]

    def look():
        try:
            changed = options.zonefile.stat().st_mtime_ns
            if changed != seen[0]:
                server.zone = json.loads(options.zonefile.read_text())
                seen[0] = changed
        except (OSError, ValueError):
            pass  # half-written: the next look sees it whole

    task.LoopingCall(look).start(0.05)
    print(f"ready {server.port}", flush=True)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
