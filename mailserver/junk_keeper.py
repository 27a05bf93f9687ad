"""What decides about junk, as configured: block lists, rspamd, DMARC's quarantine, and where junk goes."""

from typing import TYPE_CHECKING, Any

from mailserver.config import Config, DmarcQuarantine, DmarcUse
from mailserver.config.junk import Dnsbl, WhenDown
from mailserver.maillog import Sink
from mailserver.policy.junk import JunkFolders
from mailserver.ports import Blocking, Clock, Directory, Resolver

if TYPE_CHECKING:
    from mailserver.net.rspamd import Rspamd
    from mailserver.session.list_check import BlockLists
    from mailserver.session.weighing import Weigher


def junk_folders(config: Config, directory: Directory) -> JunkFolders:
    """Where the junk of each mailbox goes."""
    return JunkFolders(directory, config.junk.deliver)


def make_weigher(
    config: Config,
    reactor: Any,
    folders: JunkFolders,
    *,
    resolver: Resolver,
    blocking: Blocking,
    clock: Clock,
    log: Sink,
) -> "Weigher | None":
    """None when nothing that is configured could find junk; then nothing is imported or asked either."""
    rspamd = _rspamd(config, reactor, blocking, clock, log)
    lists = _lists(config, resolver, clock, log)
    takes_quarantine = _takes_quarantine(config)
    if rspamd is None and lists is None and not takes_quarantine:
        return None
    from mailserver.session.weighing import ScanSettings, Weigher

    return Weigher(
        folders,
        resolver,
        clock,
        lists=lists,
        scanner=rspamd,
        scanning=ScanSettings(config.rspamd.when_down is WhenDown.DEFER, config.rspamd.logins),
        takes_quarantine=takes_quarantine,
        concerns_loopback=config.authentication.check_loopback,
    )


def _takes_quarantine(config: Config) -> bool:
    wanted = config.authentication
    is_enforced = DmarcUse.ENFORCE in (wanted.dmarc, *wanted.dmarc_overrides.values())
    return is_enforced and wanted.dmarc_quarantine is DmarcQuarantine.JUNK


def _lists(config: Config, resolver: Resolver, clock: Clock, log: Sink) -> "BlockLists | None":
    if not config.dnsbl:
        return None
    from mailserver.session.list_check import BlockLists, ListSettings

    junk = config.junk
    settings = ListSettings(
        tuple(_list(table) for table in config.dnsbl),
        refuse_at=junk.dnsbl_refuse or None,
        junk_at=junk.dnsbl_junk or None,
        exempt=junk.dnsbl_exempt,
        limit_s=junk.dnsbl_timeout,
        asks_inside=config.authentication.check_loopback,
    )
    return BlockLists(settings, resolver, clock, log)


def _list(table: Dnsbl) -> Any:
    from mailserver.policy.dnsbl import AddressRange, BlockList, LooksAt

    answers = tuple(AddressRange(one.first, one.last) for one in table.answers)
    return BlockList(table.zone, table.name or table.zone, table.weight, answers, LooksAt(table.looks_at.value))


def _rspamd(config: Config, reactor: Any, blocking: Blocking, clock: Clock, log: Sink) -> "Rspamd | None":
    wanted = config.rspamd
    if wanted.url is None:
        return None
    from mailserver.net.rspamd import Rspamd, RspamdSettings

    tcp = wanted.url.tcp
    settings = RspamdSettings(
        host="" if tcp is None else tcp.host,
        port=0 if tcp is None else tcp.port,
        socket=wanted.url.socket,
        password_file=wanted.password_file,
        timeout_s=wanted.timeout,
        max_octets=wanted.max_size,
        when_down="mail is put off" if wanted.when_down is WhenDown.DEFER else "mail is taken unchecked",
    )
    return Rspamd(settings, reactor, blocking, clock, log)
