"""Where the server listens, and who is there already. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mailserver.setup.values import Decision, Errand, Here, Setting
from mailserver.survey.values import Behind, Survey, TakenPort

MAIL = {"smtp": 25, "submission": 587, "submissions": 465, "pop3": 110, "pop3s": 995}
WEB = {"http": 80, "https": 443}
ALL = MAIL | WEB
# Programs that take mail, by the unit to stop.
_UNITS = {"master": "postfix", "exim4": "exim4", "sendmail-mta": "sendmail", "dovecot": "dovecot", "smtpd": "opensmtpd"}


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of this machine. `offset`: for labs, on loopback only."""

    taken: Sequence[TakenPort]
    here: Here
    offset: int = 0
    uses_sockets: bool = False

    def number(self, service: str) -> int:
        """The port that `service` is to have here."""
        return ALL[service] + self.offset

    def endpoints(self, service: str) -> tuple[str, ...]:
        """What the configuration says."""
        if self.uses_sockets:
            return (f"systemd:domain=INET6:name={service}",)
        return (f"tcp:{self.number(service)}" + (":interface=127.0.0.1" if self.offset else ""),)

    def is_free(self, service: str) -> bool:
        """Whether nobody but ourselves listens there."""
        return not self._strangers(service)

    def holder(self, service: str) -> str:
        """Who listens there."""
        strangers = self._strangers(service)
        return strangers[0].by or "another program" if strangers else ""

    def _strangers(self, service: str) -> list[TakenPort]:
        return [one for one in self.taken if one.port == self.number(service) and not self._is_ours(one)]

    def _is_ours(self, one: TakenPort) -> bool:
        """`server` is `process 4711 (...)`, `by` is `twistd (process 4711)`, or hidden from who is not root."""
        if self.uses_sockets and one.by in ("systemd (process 1)", "init (process 1)"):
            return True
        process = " ".join(self.here.server.split(" ")[:2])
        return bool(process) and (not one.by or f"({process})" in one.by)


def mail_ports(ports: Ports) -> Decision:
    """All five; a port that somebody else has is named, and it is the owner's choice who leaves."""
    settings: dict[str, Setting] = {f"listen.{service}": ports.endpoints(service) for service in MAIL}
    numbers = ", ".join(str(ports.number(service)) for service in MAIL)
    taken = [service for service in MAIL if not ports.is_free(service)]
    if taken:
        who = "; ".join(f"{ports.number(service)} belongs to {ports.holder(service)} now" for service in taken)
        return Decision(
            "listen", f"mail is served on the ports {numbers}", f"these are the usual ones; {who}", settings
        )
    where = "on this machine only" if ports.offset else "the usual ones, and all are free"
    return Decision("listen", f"mail is served on the ports {numbers}", where, settings)


def errands(survey: Survey, domain: str, ports: Ports) -> Iterator[Errand]:
    """Ports to be freed, and what a router has to pass on."""
    for service in MAIL:
        if not ports.is_free(service):
            by = ports.holder(service)
            unit = _UNITS.get(by.partition(" ")[0], "")
            commands = (f"systemctl disable --now {unit}",) if unit else (f"ss -ltnp sport = :{ports.number(service)}",)
            text = f"port {ports.number(service)} is taken by {by}, and the server does not start before it is free"
            yield Errand(text, commands, is_needed=True)
    if ports.offset:
        return
    if survey.behind is Behind.NAT:
        inner = next((str(one) for one in survey.private if one.version == 4), "this machine")
        numbers = ", ".join(str(port) for port in ALL.values())
        yield Errand(
            f"this machine is behind a router: let it forward the TCP ports {numbers} to {inner}", is_needed=True
        )
        if survey.address(4) is None:
            yield Errand(
                "the public IPv4 address could not be found out behind the router: say it, for the DNS records",
                (f"mailserver setup {domain} --address ADDRESS",),
                is_needed=True,
            )
    elif survey.behind is Behind.CARRIER_NAT:
        yield Errand(
            "no mail can come in here, for nobody outside can reach this line: ask the provider for a public address, "
            "or rent a small machine and put the server there",
            is_needed=True,
        )
