"""How the running server takes part: what it tells `mailserver doctor`, and its own daily look. Light at the start."""

import json
import resource
from collections.abc import Callable
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailserver.config import Config
from mailserver.doctor.keeper import POLL_S, DoctorKeeper, TellPostmaster
from mailserver.doctor.places import why_not_on_internet
from mailserver.maillog import Sink
from mailserver.net.control import Command
from mailserver.net.services import Poll
from mailserver.net.tls import ServerTls
from mailserver.ports import Blocking, Clock
from mailserver.store.accounts import AccountsFile
from mailserver.store.control_socket import Request, Response

if TYPE_CHECKING:
    from mailserver.doctor.check import Check
    from mailserver.doctor.server import ServerFacts

# On the control socket.
FACTS_COMMAND = "doctor-facts"

_log = Logger(namespace="mailserver")


def doctor_commands(tls: ServerTls) -> dict[str, Command]:
    """What only the running server knows, for `mailserver doctor`. JSON in a text, because answers are flat."""

    async def facts(request: Request) -> Response:
        del request
        about = {"open_files": _open_files(), "certificate_until": tls.facts.not_after}
        return Response(about={"facts": json.dumps(about)})

    return {FACTS_COMMAND: facts}


def doctor_services(
    config: Config,
    reactor: Any,
    tls: ServerTls,
    accounts: AccountsFile,
    tell_postmaster: TellPostmaster,
    *,
    blocking: Blocking,
    clock: Clock,
    log: Sink,
) -> list[IService]:
    """The daily look; nothing when it is off, or when no other server reaches this one."""
    if not config.doctor.daily or why_not_on_internet(config):
        return []
    from mailserver.doctor.remembered import ResultsFile

    keeper = DoctorKeeper(
        ResultsFile(config.storage.state),
        _examining(config, reactor, tls, accounts, blocking, clock),
        tell_postmaster,
        config.hostname,
        blocking=blocking,
        clock=clock,
        log=log,
        rng=SystemRandom(),
    )
    return [Poll("doctor", clock, POLL_S, keeper.look)]


def _examining(
    config: Config, reactor: Any, tls: ServerTls, accounts: AccountsFile, blocking: Blocking, clock: Clock
) -> "Callable[[], Any]":
    async def examine_() -> "list[Check]":
        from mailserver.doctor.examine import examine
        from mailserver.doctor.system import make_case

        case = make_case(config, reactor, blocking=blocking, clock=clock, server=_facts(tls), tables=accounts.tables)
        return await examine(case, tell=_tell)

    return examine_


def _facts(tls: ServerTls) -> "ServerFacts":
    from mailserver.doctor.server import ServerFacts

    return ServerFacts("this process", _open_files(), tls.facts.not_after)


def _open_files() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _tell(what: str, error: BaseException) -> None:
    _log.failure("{what} broke", failure=Failure(error), what=what)
