"""All checks by name, and the function that runs them: at once, each within its time, none able to harm another."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from mailserver.config.junk import Dnsbl
from mailserver.doctor import certificate, disk, dns, names, neighbors, people, queue, server
from mailserver.doctor.case import Case
from mailserver.doctor.check import Check, skipped, unknown
from mailserver.doctor.places import places, why_not_on_internet
from mailserver.mail.dkim_key import DkimKey
from mailserver.mail.dns import CannotTell, NoRecords, TextAnswer
from mailserver.own_records import own_facts
from mailserver.policy.dkim.keys import Published, published
from mailserver.policy.mta_sts import policy_id
from mailserver.policy.records.publish import records_for
from mailserver.ports import ConnectionFailed, Overloaded, RecordResolver
from mailserver.store.acme_folder import AcmeFolder
from mailserver.store.dkim_keys import DkimKeyFolder
from mailserver.store.last_backup import last_backup
from mailserver.survey.doors import WebTrouble
from mailserver.survey.records import AUTHORITY_S, check_records
from mailserver.survey.time import look_at_clock
from mailserver.survey.values import Time
from mailserver.survey.waiting import together, within

# Longer than the survey takes at worst.
LIMIT_S = 90.0
CLOCK_S = 15.0

Tell = Callable[[str, BaseException], object]


@dataclass(frozen=True, slots=True)
class Examination:
    """One check. `what` is a few words for a list; `is_outward`: it makes sense only for a server on the internet."""

    name: str
    what: str
    look: Callable[[Case], Awaitable[Iterable[Check]]]
    is_outward: bool = False


async def _server(case: Case) -> Iterable[Check]:
    return [server.check_server(case.server)]


async def _listeners(case: Case) -> Iterable[Check]:
    doors = case.doors.survey
    return await server.check_listeners(
        places(case.config), case.config.hostname, case.doors.local, doors.clock, is_running=case.server is not None
    )


async def _reachable(case: Case) -> Iterable[Check]:
    doors = case.doors.survey
    return await server.check_reachable(
        await case.survey(),
        places(case.config),
        case.config.hostname,
        case.doors.local,
        doors.clock,
        is_running=case.server is not None,
    )


async def _hostname(case: Case) -> Iterable[Check]:
    return names.check_hostname(case.config, await case.survey())


async def _names(case: Case) -> Iterable[Check]:
    return names.check_names(case.config, await case.survey())


async def _lists(case: Case) -> Iterable[Check]:
    return names.check_lists(case.config, await case.survey())


async def _port25(case: Case) -> Iterable[Check]:
    if not case.tries_port25:
        return [skipped("port25", "only mailserver doctor tries it, for that means to connect to others")]
    if not case.config.doctor.port25_domains:
        return [skipped("port25", "doctor.port25_domains is empty")]
    return names.check_port25(case.config, await case.survey())


async def _resolver(case: Case) -> Iterable[Check]:
    # Any answer will do: that there is no such name is one.
    answer = await case.doors.survey.resolver.addresses(case.wishes.signed_name, ipv6=False)
    return names.check_resolver(case.config, await case.survey(), not isinstance(answer, CannotTell))


async def _clock(case: Case) -> Iterable[Check]:
    late = Time(None, "nobody could say in time")
    doors = case.doors.survey
    return names.check_clock(
        await within(doors.clock, CLOCK_S, look_at_clock(doors, case.config.doctor.clock_url), late)
    )


async def _certificate(case: Case) -> Iterable[Check]:
    found = await case.blocking(certificate.read_presented, case.config)
    record = await case.blocking(AcmeFolder(case.config.storage.state).remembered)
    in_force = case.server.certificate_until if case.server is not None else None
    return certificate.check_certificate(case.config, found, in_force, record, case.now)


async def _tlsa(case: Case) -> Iterable[Check]:
    found = await case.blocking(certificate.read_presented, case.config)
    if isinstance(found, str):
        return [unknown("tlsa", found)]
    may_tell = (await case.survey()).validating_resolver is not None
    host = case.config.hostname
    answer = await case.doors.signed.tlsa(f"_25._tcp.{host}") if may_tell else NoRecords()
    return [certificate.check_tlsa(host, answer, found.chain_pem, may_tell=may_tell)]


async def _dns(case: Case) -> Iterable[Check]:
    addresses = [one.address for one in (await case.survey()).addresses]
    facts = await case.blocking(own_facts, case.config, addresses, case.now)
    records = [one for one in records_for(facts.site) if one.topic not in dns.ELSEWHERE]
    doors = case.doors
    findings = await check_records(records, facts.site, doors.records, doors.survey.clock, authority=doors.authority)
    return dns.check_records(findings)


async def _text(case: Case, name: str, is_well: Callable[[TextAnswer], bool]) -> TextAnswer:
    """TXT records; those that a cache tells otherwise than they should be come from the zone's own name servers."""
    answer = await case.doors.survey.resolver.text(name)
    authority = case.doors.authority
    if authority is None or isinstance(answer, CannotTell) or is_well(answer):
        return answer
    fresh = await within(case.doors.survey.clock, AUTHORITY_S, _asked(authority, name), CannotTell("no answer in time"))
    return answer if isinstance(fresh, CannotTell) else fresh


async def _asked(resolver: RecordResolver, name: str) -> TextAnswer:
    return await resolver.text(name)


async def _dkim(case: Case) -> Iterable[Check]:
    keys, troubles = await case.blocking(DkimKeyFolder(case.config.storage.state).read)
    found = [unknown("dkim", f"{one.path}: {one.reason}", about=str(one.path)) for one in troubles]

    async def asked(key: DkimKey) -> tuple[str, TextAnswer]:
        return key.name, await _text(case, key.name, lambda answer: published(key, answer) is Published.YES)

    answers = dict(await together(asked(key) for key in keys))
    for domain in case.config.domains:
        own = [key for key in keys if key.domain == domain]
        found += dns.check_dkim(domain, own, answers, case.now, is_direct=not names.goes_by_smarthost(case.config))
    return found


async def _mta_sts(case: Case) -> Iterable[Check]:
    return await together(_mta_sts_of(case, domain) for domain in case.config.domains)


async def _mta_sts_of(case: Case, domain: str) -> Check:
    def is_well(answer: TextAnswer) -> bool:
        is_there = isinstance(answer, tuple) and policy_id(answer) is not None
        return is_there or not case.serves_mta_sts

    record = await _text(case, f"_mta-sts.{domain}", is_well)
    policy: bytes | str = ""
    if isinstance(record, tuple):
        try:
            policy = await case.doors.fetch_policy(domain)
        except ConnectionFailed as failed:
            policy = str(failed)
    found = dns.OwnPolicy(record, policy, await case.doors.survey.resolver.mx(domain))
    return dns.check_mta_sts(domain, found, is_wanted=case.serves_mta_sts)


async def _queue(case: Case) -> Iterable[Check]:
    facts = await case.queue()
    return queue.check_queue(facts, case.now, is_running=case.server is not None)


async def _destinations(case: Case) -> Iterable[Check]:
    return queue.check_destinations(await case.queue(), case.now)


async def _suppression(case: Case) -> Iterable[Check]:
    return [queue.check_suppression(await case.blocking(queue.read_suppression, case.config, case.now))]


async def _disk(case: Case) -> Iterable[Check]:
    return disk.check_room(await case.blocking(disk.rooms, case.config), case.config.storage.min_free)


async def _filesystem(case: Case) -> Iterable[Check]:
    return disk.check_file_systems(await case.blocking(disk.file_systems, case.config))


async def _permissions(case: Case) -> Iterable[Check]:
    return disk.check_permissions(await case.blocking(disk.openings, case.config))


async def _backup(case: Case) -> Iterable[Check]:
    return [disk.check_backup(await case.blocking(last_backup, case.config.storage.state), case.now)]


async def _dnsbl(case: Case) -> Iterable[Check]:
    if not case.config.dnsbl:
        return [skipped("dnsbl", "there is no [[dnsbl]] table")]
    resolver = case.doors.survey.resolver

    async def asked(one: Dnsbl) -> Check:
        always = await resolver.addresses(neighbors.always_listed(one), ipv6=False)
        never = await resolver.addresses(neighbors.never_listed(one), ipv6=False)
        return neighbors.check_dnsbl(one, always, never)

    return await together(asked(one) for one in case.config.dnsbl)


async def _rspamd(case: Case) -> Iterable[Check]:
    where = case.config.rspamd.url
    trouble = ""
    if where is not None and (url := neighbors.ping_url(where)):
        try:
            await case.doors.survey.web.get(url)
        except WebTrouble as caught:
            trouble = str(caught)
    elif where is not None:
        trouble = await case.blocking(neighbors.socket_trouble, where.socket)
    return [neighbors.check_rspamd(case.config, trouble)]


async def _postmaster(case: Case) -> Iterable[Check]:
    if isinstance(case.tables, str):
        return [unknown("postmaster", case.tables)]
    return people.check_postmaster(case.config, case.tables)


async def _passwords(case: Case) -> Iterable[Check]:
    if isinstance(case.tables, str):
        return [unknown("passwords", case.tables)]
    return people.check_passwords(case.tables)


async def _open_files(case: Case) -> Iterable[Check]:
    return [server.check_open_files(case.config, case.server)]


async def _configuration(case: Case) -> Iterable[Check]:
    remarks = () if isinstance(case.tables, str) else case.tables.remarks()
    return server.check_configuration(case.config, remarks)


EXAMINATIONS: Sequence[Examination] = (
    Examination("server", "the server runs", _server),
    Examination("listeners", "each listener answers", _listeners),
    Examination("reachable", "the public address answers", _reachable, is_outward=True),
    Examination("hostname", "DNS leads from the host name to this machine", _hostname, is_outward=True),
    Examination("names", "addresses have reverse names that lead back", _names, is_outward=True),
    Examination("dns", "the records of each domain are published", _dns, is_outward=True),
    Examination("dkim", "mail is signed, with published keys that are not old", _dkim, is_outward=True),
    Examination("mta-sts", "our own MTA-STS policy is served and true", _mta_sts, is_outward=True),
    Examination("tlsa", "TLSA records agree with the certificate", _tlsa, is_outward=True),
    Examination("certificate", "it lasts, and fits the host name", _certificate),
    Examination("lists", "no address is on a block list", _lists, is_outward=True),
    Examination("port25", "other servers can be reached", _port25, is_outward=True),
    Examination("resolver", "name servers answer and validate", _resolver, is_outward=True),
    Examination("clock", "the clock is right", _clock),
    Examination("queue", "the queue is worked on", _queue),
    Examination("destinations", "mail gets where it is to go", _destinations),
    Examination("suppression", "few recipients are suppressed", _suppression),
    Examination("disk", "there is room on the disks", _disk),
    Examination("filesystem", "mail lies on a disk that keeps it", _filesystem),
    Examination("permissions", "keys and mail are the server's alone", _permissions),
    Examination("backup", "the last backup is not old", _backup),
    Examination("dnsbl", "the lists that strangers are looked up in answer", _dnsbl, is_outward=True),
    Examination("rspamd", "rspamd answers", _rspamd),
    Examination("postmaster", "postmaster and abuse reach somebody", _postmaster),
    Examination("passwords", "no stored password hash is weak", _passwords),
    Examination("open-files", "the server may open enough files", _open_files),
    Examination("configuration", "nothing configured is unwise", _configuration),
)
NAMES = tuple(one.name for one in EXAMINATIONS)


async def examine(case: Case, tell: Tell | None = None) -> list[Check]:
    """Run the checks that the case is about, at once; their findings in the order of `EXAMINATIONS`.

    A check that raises is told by `tell` and is not known; the others go on.
    """
    wanted = [one for one in EXAMINATIONS if case.makes(one.name)]
    why_not = why_not_on_internet(case.config)
    running = [Deferred.fromCoroutine(_examined(one, case, why_not, tell)) for one in wanted]
    return [found for one in running for found in await one]


async def _examined(one: Examination, case: Case, why_not: str, tell: Tell | None) -> list[Check]:
    if one.is_outward and why_not:
        return [skipped(one.name, why_not)]
    late = [unknown(one.name, f"not found out within {LIMIT_S:g} seconds")]
    return await within(case.doors.survey.clock, LIMIT_S, _guarded(one, case, tell), late)


async def _guarded(one: Examination, case: Case, tell: Tell | None) -> list[Check]:
    try:
        return list(await one.look(case))
    except Overloaded:
        return [unknown(one.name, "the server was too busy to look")]
    except PermissionError as error:
        words = f"{error.filename} may not be read"
        return [unknown(one.name, words, "run this as root, or as the user the server runs as")]
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return [unknown(one.name, f"{(error.strerror or str(error)).lower()}{where}")]
    except Exception as error:  # noqa: BLE001 - a check that breaks says nothing about mail; the others go on
        if tell is not None:
            tell(f"the check {one.name}", error)
        return [unknown(one.name, f"the check itself broke: {type(error).__name__}: {error}", "report it as a bug")]
