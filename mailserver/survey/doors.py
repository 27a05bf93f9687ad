"""The doors a survey asks at. `system.survey_doors` has the real ones; tests put a made-up world behind them."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mailserver.mail.dns import IpAddress
from mailserver.ports import Blocking, Clock, Dialer, Resolver
from mailserver.survey.values import NameServer, TakenPort


class Machine(Protocol):
    """What the kernel knows. Every call answers within milliseconds and sends nothing."""

    def interface_addresses(self) -> tuple[IpAddress, ...]:
        """All addresses of interfaces that are up, loopback too."""

    def source_address(self, version: int) -> IpAddress | None:
        """From which address a connection to the world would come; None when there is no route. 4 or 6."""

    def taken_ports(self, ports: Sequence[int]) -> tuple[TakenPort, ...]:
        """Which of these are taken."""

    def is_clock_synchronized(self) -> bool | None:
        """Whether the kernel says that something keeps its clock right (adjtimex); None: it does not say."""


class Web(Protocol):
    """One question over HTTP(S)."""

    def get(self, url: str) -> Awaitable["Page"]:
        """A small page. Raises `WebTrouble`, within some seconds."""


class WebTrouble(Exception):
    """No page. The text is plain words."""


@dataclass(frozen=True, slots=True)
class Page:
    """`text` is at most some KiB. `date` is what its Date field says, seconds since the epoch; None without one."""

    text: str
    date: float | None = None


class Validation(Protocol):
    """Whether a name server checks DNSSEC."""

    def __call__(self, server: NameServer, signed_name: str) -> Awaitable[bool]:
        """Whether it vouches for a zone that is signed. Never raises; False as well when it does not answer.

        True only for a server on loopback: nobody else's word counts (`ports.SignedResolver`).
        """


@dataclass(frozen=True, slots=True)
class SurveyDoors:
    """Everything that `look` asks."""

    machine: Machine
    resolver: Resolver
    dialer: Dialer
    web: Web
    validates: Validation
    blocking: Blocking
    clock: Clock
