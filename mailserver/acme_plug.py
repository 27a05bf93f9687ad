"""How the running server gets certificates by ACME, if it does. Light at the start: the rest is imported only then."""

from typing import Any

from twisted.application.service import IService

from mailserver.config import Config
from mailserver.maillog import Sink
from mailserver.net.challenges import Challenges
from mailserver.net.control import Command
from mailserver.net.tls import ServerTls
from mailserver.ports import Blocking, Clock, Resolver
from mailserver.postmaster_notes import PostmasterNotes


def acme_parts(
    config: Config,
    reactor: Any,
    tls: ServerTls,
    challenges: Challenges,
    notes: PostmasterNotes,
    resolver: Resolver,
    *,
    blocking: Blocking,
    clock: Clock,
    log: Sink,
) -> tuple[dict[str, Command], list[IService]]:
    """What the control socket offers, and what is started; nothing of either when `[acme]` is off."""
    if not config.acme.is_on:
        return {}, []
    from mailserver.acme_keeper import make_keeper

    keeper = make_keeper(
        config, reactor, tls, challenges, resolver, blocking=blocking, clock=clock, log=log, tell_postmaster=notes.send
    )
    return keeper.commands(), keeper.services()
