"""What is published: the records of each domain, DKIM keys, our own MTA-STS policy. Pure; answers are brought along."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mailserver.doctor.check import Check, failed, passed, unknown, warned
from mailserver.mail.dkim_key import DkimKey, KeyState
from mailserver.mail.dns import CannotTell, MxAnswer, TextAnswer
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.mta_sts import StsMode
from mailserver.policy.dkim.keys import Published, published, remarks
from mailserver.policy.mta_sts import covers, parse_policy, policy_id
from mailserver.policy.records.findings import Finding
from mailserver.policy.records.findings import Verdict as Finds
from mailserver.policy.records.values import Need, Topic

# What has a check of its own.
ELSEWHERE = (Topic.ADDRESS, Topic.REVERSE, Topic.DKIM, Topic.TLSA)
_PUBLISHED = (KeyState.ACTIVE, KeyState.RETIRING)


def check_records(findings: Iterable[Finding]) -> Iterator[Check]:
    """The records of `policy.records`, as the world sees them. A record that could be left out may be missing."""
    name, seen = "dns", Counter[str]()
    for one in findings:
        record = one.record
        about = f"{record.kind} {record.name}"
        seen[about] += 1
        if seen[about] > 1:
            about = f"{about} {seen[about]}"
        found = f"{record.kind} {record.name}: {one.reason or one.verdict.value}"
        is_left_out = one.verdict is Finds.MISSING and record.need is Need.OPTIONAL and not one.is_harmful
        if one.verdict is Finds.UNKNOWN:
            yield unknown(name, found, "see the check resolver", about)
        elif one.is_failure:
            yield failed(name, found, f"publish {one.publish}" if one.publish else "mailserver dns --check", about)
        elif one.is_trouble and not is_left_out:
            yield warned(name, found, f"publish {one.publish}" if one.publish else "mailserver dns --check", about)
        elif is_left_out:
            yield passed(name, f"{record.kind} {record.name}: not published, and it need not be", about)
        else:
            yield passed(name, found, about)


def check_dkim(
    domain: str, keys: list[DkimKey], answers: Mapping[str, TextAnswer], now: float, *, is_direct: bool = True
) -> Iterator[Check]:
    """Keys of one domain: some sign, what signs is published, none is too old. `answers` by `DkimKey.name`.

    `is_direct`: mail leaves without a smarthost, which may sign by itself.
    """
    name, count = "dkim", 0
    signing = [key for key in keys if key.state(now) is KeyState.ACTIVE]
    waiting = [key for key in keys if key.state(now) is KeyState.WAITING]
    if not signing:
        if waiting:
            remedy = f"publish what mailserver dkim show {domain} prints"
            yield warned(name, f"mail from {domain} is not signed: its new keys are not published yet", remedy, domain)
        else:
            found = f"mail from {domain} is not signed; many receivers take it for junk"
            tell = failed if is_direct else warned
            yield tell(name, found, f"mailserver dkim create {domain}, then publish the records", domain)
        return
    for key in keys:
        if key.state(now) not in _PUBLISHED:
            continue
        seen = published(key, answers.get(key.name, CannotTell("it was not asked for")))
        if seen in (Published.NO, Published.DIFFERENT):
            what = "it signs" if key.state(now) is KeyState.ACTIVE else "mail that it signed is still on its way"
            remedy = f"publish what mailserver dkim show {domain} prints"
            yield failed(name, f"{key.name}: {seen.value}, and {what}", remedy, key.name)
        elif seen is Published.UNKNOWN:
            yield unknown(name, f"{key.name} {seen.value}", "see the check resolver", key.name)
        else:
            count += 1
    for one in remarks(keys, now):
        yield warned(name, f"{one.key.name}: {one.finding}", one.remedy, f"{one.key.name} age")
    if count and {key.algorithm for key in signing} and count >= len(signing):
        kinds = " and ".join(sorted(key.algorithm.partition("-")[0] for key in signing))
        yield passed(name, f"mail from {domain} is signed ({kinds}), and the keys are published", domain)


@dataclass(frozen=True, slots=True)
class OwnPolicy:
    """A domain's MTA-STS as the world sees it: the record, the policy file (or why there is none), the MX hosts."""

    record: TextAnswer
    policy: bytes | str
    mx: MxAnswer


def check_mta_sts(domain: str, found: OwnPolicy, *, is_wanted: bool) -> Check:
    """RFC 8461: record and policy are there together, and the policy names the hosts that take the mail.

    `is_wanted`: the configuration says that there is to be one.
    """
    name = "mta-sts"
    if isinstance(found.record, CannotTell):
        return unknown(
            name, f"the record _mta-sts.{domain} could not be looked up: {found.record.reason}", about=domain
        )
    is_there = isinstance(found.record, tuple) and policy_id(found.record) is not None
    if not is_there:
        if is_wanted:
            remedy = f"publish what mailserver dns prints for _mta-sts.{domain}"
            return warned(name, f"{domain} has no record _mta-sts, so nobody looks for its policy", remedy, domain)
        return passed(name, f"{domain} has no MTA-STS policy, and promises none", domain)
    if isinstance(found.policy, str):
        remedy = f"see that https://mta-sts.{domain}/.well-known/mta-sts.txt answers, with a certificate for that name"
        return failed(name, f"the policy of {domain} cannot be fetched: {found.policy}", remedy, domain)
    policy = parse_policy(found.policy)
    if isinstance(policy, SyntaxFault):
        return failed(name, f"the policy of {domain} cannot be used: {policy.reason}", "see docs/web.md", domain)
    if policy.mode is StsMode.NONE:
        return passed(name, f'the policy of {domain} is served and says "none"', domain)
    if not isinstance(found.mx, tuple):
        return unknown(name, f"the MX records of {domain} could not be looked up", about=domain)
    lost = [one.exchange for one in found.mx if one.exchange and not covers(policy, one.exchange)]
    if lost:
        tell = failed if policy.mode is StsMode.ENFORCE else warned
        words = f"the policy of {domain} does not name {', '.join(lost)}, where its MX records lead"
        return tell(name, words, "let the policy and the MX records name the same hosts", domain)
    return passed(name, f'the policy of {domain} is served, says "{policy.mode.value}" and names its MX hosts', domain)
