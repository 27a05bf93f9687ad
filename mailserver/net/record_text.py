"""Records as they came, in the words of a zone file (RFC 1035 5.1). For people and for comparing, never for a program
that loads zones: what cannot be understood becomes the unknown form of RFC 3597."""

import ipaddress
from typing import Any

from mailserver.net.dns_client import text_of

# RFC 1035 3.2.2, RFC 3596, RFC 2782, RFC 6698, RFC 8659.
KINDS = {
    "A": 1,
    "NS": 2,
    "CNAME": 5,
    "PTR": 12,
    "MX": 15,
    "TXT": 16,
    "AAAA": 28,
    "SRV": 33,
    "TLSA": 52,
    "CAA": 257,
}


def zone_form(record: Any, kind: str) -> str:
    """The data of a twisted.names.dns.Record_* of this kind; TLSA and CAA arrive as octets."""
    match kind:
        case "A" | "AAAA":
            return str(ipaddress.ip_address(record.address))
        case "NS" | "CNAME" | "PTR":
            return _dotted(record.name)
        case "MX":
            return f"{record.preference} {_dotted(record.name)}"
        case "SRV":
            return f"{record.priority} {record.weight} {record.port} {_dotted(record.target)}"
        case "TXT":
            return " ".join(_quoted(one) for one in record.data) or '""'
    octets = bytes(record.data)
    if kind == "TLSA" and len(octets) > 3:
        return f"{octets[0]} {octets[1]} {octets[2]} {octets[3:].hex()}"
    if kind == "CAA" and len(octets) > 2 and len(octets) >= 2 + octets[1]:
        tag, value = octets[2 : 2 + octets[1]], octets[2 + octets[1] :]
        return f"{octets[0]} {tag.decode('ascii', 'replace')} {_quoted(value)}"
    return rf"\# {len(octets)} {octets.hex()}"


def _dotted(name: Any) -> str:
    return f"{text_of(name)}."


def _quoted(octets: bytes) -> str:
    text = octets.decode("latin-1").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
