"""Whether mail gets out: connections to port 25 of hosts that always listen there.

Many home connections and cloud providers block it. Only on demand, and nothing is said but QUIT.
"""

from collections.abc import Iterable

from mailserver.mail.dns import IpAddress, NoRecords
from mailserver.mail.reply import printable
from mailserver.ports import ConnectionFailed, Stream
from mailserver.survey.doors import SurveyDoors
from mailserver.survey.values import Outward, Port25, Wishes
from mailserver.survey.waiting import together, within

CONNECT_S = 10.0
GREETING_S = 10.0
LOOK_UP_S = 15.0
MAX_GREETING_OCTETS = 1024


async def try_port25(doors: SurveyDoors, wishes: Wishes, families: Iterable[int]) -> Outward:
    """One host of each domain, by each family that this machine has a way out for, all at once."""
    if not wishes.port25_domains:
        return Outward()
    wanted = sorted(families)
    pairs = [(domain, version) for domain in wishes.port25_domains for version in wanted]
    results = await together(_try_one(doors, domain, version, wishes.port25) for domain, version in pairs)
    tried = [(version, *result) for (_, version), result in zip(pairs, results, strict=True)]

    def of(version: int) -> Port25:
        found = {state for family, state, _ in tried if family == version}
        return next((one for one in (Port25.OPEN, Port25.BLOCKED) if one in found), Port25.UNKNOWN)

    return Outward(of(4), of(6), tuple(words for _, _, words in tried if words))


async def _try_one(doors: SurveyDoors, domain: str, version: int, port: int) -> tuple[Port25, str]:
    target = await within(doors.clock, LOOK_UP_S, _target(doors, domain, version), "no answer in time")
    if isinstance(target, str):
        # A domain without a host of this family says nothing about us.
        return Port25.UNKNOWN, f"{domain}: {target}" if target else ""
    host, address = target
    try:
        stream = await doors.dialer.dial(address, port, timeout_s=CONNECT_S)
    except ConnectionFailed as failed:
        return Port25.BLOCKED, f"{host}[{address}]: {failed}"
    greeting = await within(doors.clock, GREETING_S, _greeting(stream), b"")
    stream.abort()
    line = printable(greeting.partition(b"\r\n")[0].decode("utf-8", "replace"))[:120]
    # Whoever refuses us in words has been reached; who connects and says nothing may be a box on the way.
    if line[:3].isdigit():
        return Port25.OPEN, f"{host}[{address}]: {line}"
    return Port25.BLOCKED, f"{host}[{address}]: it took the connection and did not greet"


async def _greeting(stream: Stream) -> bytes:
    """Its first line, and a goodbye; empty when it breaks the connection before."""
    said = b""
    try:
        while b"\n" not in said and len(said) < MAX_GREETING_OCTETS:
            piece = await stream.read()
            if not piece:
                break
            said += piece
        await stream.write(b"QUIT\r\n")
    except ConnectionFailed:
        return said
    return said


async def _target(doors: SurveyDoors, domain: str, version: int) -> tuple[str, IpAddress] | str:
    """A host and address to try; else why there is none, empty when the domain has none of that family."""
    found = await doors.resolver.mx(domain)
    if isinstance(found, tuple):
        host = min(found, key=lambda one: (one.preference, one.exchange)).exchange
    elif isinstance(found, NoRecords):
        host = domain
    else:
        return "its mail hosts could not be looked up"
    answer = await doors.resolver.addresses(host, ipv4=version == 4, ipv6=version == 6)
    if isinstance(answer, tuple):
        return host, answer[0]
    return "" if isinstance(answer, NoRecords) else f"{host} could not be looked up"
