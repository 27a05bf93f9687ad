"""The server itself: whether it runs, answers on its listeners, may open enough files, and how it is configured."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mailserver.config import Config
from mailserver.doctor.check import Check, failed, passed, skipped, unknown, warned
from mailserver.doctor.places import GREETINGS, Place
from mailserver.mail.dns import IpAddress
from mailserver.mail.reply import printable
from mailserver.ports import Clock, ConnectionFailed, Dialer, Stream, TlsFailed, TlsRequirement
from mailserver.survey.values import PublicAddress, Survey
from mailserver.survey.waiting import together, within

CONNECT_S = 10.0
GREETING_S = 15.0
_MAX_GREETING_OCTETS = 1024
# Descriptors beside those of clients: queue, journal, mailboxes, connections to others.
_BESIDE = 500


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a running server says of itself. `process` such as `process 4711 (server)`; empty: who asks may not see
    whether it runs.

    `open_files` is its limit, `certificate_until` the end of the certificate in force in seconds since the epoch; None
    where it does not say.
    """

    process: str
    open_files: int | None = None
    certificate_until: float | None = None


def check_server(server: ServerFacts | None) -> Check:
    """It runs."""
    if server is None:
        remedy = "systemctl start mailserver, or twistd -n mailserver; its log says why it stopped"
        return failed("server", "it does not run: no mail is taken, none is sent", remedy)
    if not server.process:
        return unknown("server", "this user may not see whether it runs", "run this as root, or as the server's user")
    return passed("server", f"it runs as {server.process}")


def check_open_files(config: Config, server: ServerFacts | None) -> Check:
    """It may open as many files as its settings may need."""
    name = "open-files"
    if server is None or server.open_files is None:
        return unknown(name, "only a running server knows its limit")
    wanted = config.smtp.max_connections + config.pop3.max_connections + _BESIDE
    have = f"the server may open {server.open_files} files"
    remedy = f"set LimitNOFILE={max(65536, wanted)} in its unit, or ulimit -n before it is started"
    if server.open_files < 512:
        return failed(name, f"{have}, which is hardly enough for anything", remedy)
    if server.open_files < wanted:
        return warned(name, f"{have}, and smtp.max_connections with the rest may need {wanted}", remedy)
    return passed(name, have)


def check_configuration(config: Config, remarks: Iterable[str]) -> Iterator[Check]:
    """Nothing in it is unwise. `remarks` are those about the accounts file."""
    name = "configuration"
    lines = [line.removeprefix(f"{config.path}: ") for line in config.warnings]
    lines += [line for line in remarks if not line.startswith("postmaster:")]
    for line in lines:
        yield warned(name, line, "mailserver check-config", line.partition(": ")[0])
    if not lines:
        yield passed(name, f"{config.path} has no warnings")


# --- listeners --------------------------------------------------------------------------------------------------------


async def check_listeners(
    places: Iterable[Place], hostname: str, dialer: Dialer, clock: Clock, *, is_running: bool
) -> list[Check]:
    """Each listener greets who connects to it from this machine."""
    if not is_running:
        return [unknown("listeners", "the server does not run, so none is open", "see the check server")]
    found = await together(_greets(one, hostname, dialer, clock) for one in places)
    return found or [skipped("listeners", "no listener is configured")]


async def _greets(place: Place, hostname: str, dialer: Dialer, clock: Clock) -> Check:
    name, about = "listeners", f"{place.service} {place.text}"
    if place.address is None:
        return skipped(name, f"{about}: {place.why_not}", about)
    is_good, words = await greeting(place, place.address, hostname, dialer, clock)
    if is_good:
        return passed(name, f"{about} answers{f': {words}' if words else ''}", about)
    return failed(
        name, f"{about} does not answer as it should: {words}", "see the server's log, then restart it", about
    )


async def greeting(place: Place, address: IpAddress, hostname: str, dialer: Dialer, clock: Clock) -> tuple[bool, str]:
    """Whether a service greets as it should, and its first line; or what went wrong, in plain words."""
    try:
        stream = await dialer.dial(address, place.port, timeout_s=CONNECT_S)
    except ConnectionFailed as failed_:
        return False, str(failed_)
    try:
        return await within(clock, GREETING_S, _greeted(stream, place, hostname), (False, "it says nothing"))
    finally:
        stream.abort()


async def _greeted(stream: Stream, place: Place, hostname: str) -> tuple[bool, str]:
    expected, is_tls = GREETINGS[place.service]
    try:
        if is_tls:
            await stream.start_tls(TlsRequirement(hostname))
        said = await _first_line(stream) if expected else b""
        if said.startswith(expected) and expected:
            await stream.write(b"QUIT\r\n")
    except TlsFailed as trouble:
        return False, f"TLS failed: {trouble}"
    except ConnectionFailed as trouble:
        return False, str(trouble)
    words = printable(said.partition(b"\n")[0].rstrip(b"\r").decode("utf-8", "replace"))[:200]
    return said.startswith(expected), words if words or not expected else "it says nothing"


async def _first_line(stream: Stream) -> bytes:
    said = b""
    while b"\n" not in said and len(said) < _MAX_GREETING_OCTETS:
        piece = await stream.read()
        if not piece:
            break
        said += piece
    return said


async def check_reachable(
    survey: Survey, places: Iterable[Place], hostname: str, dialer: Dialer, clock: Clock, *, is_running: bool
) -> list[Check]:
    """Mail gets in: the public address answers on the SMTP port. From here that is a hint and no proof."""
    name = "reachable"
    smtp = next((one for one in places if one.service == "smtp" and (one.is_for_all or survey.is_told_outside)), None)
    if smtp is None:
        return [skipped(name, "no SMTP listener is open to others")]
    if not is_running:
        return [unknown(name, "the server does not run, so nobody can reach it", "see the check server")]
    if not survey.addresses:
        return [unknown(name, "this machine's public address is not known", "say it in doctor.addresses")]
    return await together(_reach(one, smtp, hostname, dialer, clock) for one in survey.addresses)


async def _reach(one: PublicAddress, smtp: Place, hostname: str, dialer: Dialer, clock: Clock) -> Check:
    name, about = "reachable", str(one.address)
    # Behind NAT the port outside is 25 whatever it is here, or no mail comes at all.
    port = smtp.port if one.is_on_this_machine else 25
    place = Place("smtp", smtp.text, one.address, port, True)
    is_good, words = await greeting(place, one.address, hostname, dialer, clock)
    if is_good:
        caveat = "" if one.is_on_this_machine else ", through the router"
        return passed(
            name, f"{one.address} port {port} answers{caveat}; a firewall outside would not show from here", about
        )
    found = f"{one.address} port {port} does not answer from here: {words}"
    if one.is_on_this_machine:
        remedy = (
            'let a listener be on that address: listen.smtp = ["tcp:25"]; and see to the firewall (nft list ruleset)'
        )
        return failed(name, found, remedy, about)
    remedy = f"forward port 25 in the router; then try from outside: telnet {one.address} 25"
    return unknown(name, f"{found}; many routers do not let that through from inside", remedy, about)
