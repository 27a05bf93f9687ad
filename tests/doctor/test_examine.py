"""All checks together, over a made-up world: green, each thing broken in turn, slow, broken themselves."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from mailserver.doctor import examine as examining
from mailserver.doctor.case import Case, CaseDoors, Once
from mailserver.doctor.check import Verdict, passed
from mailserver.doctor.examine import EXAMINATIONS, LIMIT_S, NAMES, Examination, examine
from mailserver.doctor.server import ServerFacts
from mailserver.mail.dns import NoRecords
from mailserver.net.tls import ensure_self_signed
from mailserver.ports import ConnectionFailed, Lane
from mailserver.store.account_tables import read_tables
from mailserver.store.dkim_keys import DkimKeyFolder
from tests.doctor.configs import configured
from tests.fakes.awaiting import run, start
from tests.fakes.clock import EPOCH, FakeClock
from tests.fakes.world import FakeMachine, WorldResolver, world
from tests.fakes.zone import ZoneResolver

PASS, WARN, FAIL, UNKNOWN, SKIP = Verdict
HOST, V4 = "mail.example.org", "203.0.114.7"
QUIET = '[listen]\nsmtp = ["tcp:25"]\nsubmission = []\nsubmissions = []\npop3 = []\npop3s = []\n'
LISTS = ("zen.spamhaus.org", "bl.spamcop.net", "psbl.surriel.com")


class Records:
    """A `RecordResolver` that knows nothing: the check of records has tests of its own."""

    def __init__(self, resolver):
        self._resolver = resolver

    def __getattr__(self, name):
        return getattr(self._resolver, name)


class Signed:
    async def tlsa(self, name):
        return NoRecords()


async def no_policy(domain):
    raise ConnectionFailed(f"the host mta-sts.{domain} is not known to DNS")


RUNNING = ServerFacts("process 1 (server)", 65536)


def case(folder, *, text=QUIET, clock=None, resolver=None, server=RUNNING, **more):
    config = configured(folder, text)
    config.storage.state.mkdir(mode=0o700, exist_ok=True)
    config.storage.maildirs.mkdir(mode=0o700, exist_ok=True)
    ensure_self_signed(config.storage.state / "tls", HOST, EPOCH)
    keys = DkimKeyFolder(config.storage.state)
    with keys.changing():
        made = [keys.make("example.org", "e1", "ed25519-sha256", EPOCH).activated(EPOCH)]
        keys.save_all(made)
    resolver = resolver or WorldResolver(
        addresses={HOST: [V4], "org": ["203.0.114.1"]},
        mx={"example.org": [(10, HOST)]},
        text={key.name: [key.record] for key in made},
        pointers={V4: [HOST]},
    )
    doors = world(
        machine=FakeMachine(("127.0.0.1", V4), (V4,)),
        resolver=resolver,
        hosts={V4: [(b"220 m\r\n",)] * 3, "127.0.0.1": [(b"220 m\r\n",)] * 3},
        validating=(("127.0.0.1", 53),),
        clock=clock or FakeClock(),
    )
    tables = read_tables(b'[accounts."alice@example.org"]\n', config.accounts.file, config.domains, config.postmaster)
    return Case(
        config,
        CaseDoors(doors, Signed(), Records(resolver), doors.dialer, no_policy),
        server,
        tables,
        EPOCH,
        (("127.0.0.1", 53),),
        **more,
    )


def verdicts(found):
    return {name: {one.verdict for one in found if one.name == name} for name in NAMES}


WITHOUT_DNS = tuple(name for name in NAMES if name != "dns")


def test_a_healthy_server(tmp_path):
    found = verdicts(run(examine(case(tmp_path, only=frozenset(WITHOUT_DNS)))))
    expected = {name: {PASS} for name in NAMES} | {
        "dns": set(),
        "port25": {SKIP},
        "backup": {SKIP},
        "dnsbl": {SKIP},
        "rspamd": {SKIP},
    }
    # The certificate of our own making.
    expected["certificate"] = {PASS, WARN}
    expected = {name: expected[name] for name in found}
    assert found == expected


def test_findings_come_in_the_order_of_the_checks_each_with_a_key_of_its_own(tmp_path):
    found = run(examine(case(tmp_path, only=frozenset(WITHOUT_DNS))))
    order = [NAMES.index(one.name) for one in found]
    assert order == sorted(order)
    assert len({one.key for one in found}) == len(found)


def test_only_what_is_asked_for_is_done(tmp_path):
    asked = case(tmp_path, only=frozenset(("disk", "clock")))
    found = run(examine(asked))
    assert [one.name for one in found] == ["clock", "disk"]
    assert asked.doors.survey.resolver.questions == []


def test_a_practice_server_skips_what_makes_no_sense(tmp_path):
    text = QUIET.replace("tcp:25", "tcp:2525:interface=127.0.0.1")
    found = run(examine(case(tmp_path, text=text)))
    skipped = {one.name for one in found if one.verdict is SKIP}
    assert {one.name for one in EXAMINATIONS if one.is_outward} <= skipped
    assert {one.finding for one in found if one.name == "names"} == {
        "SMTP listens on this machine only, so no other server reaches it"
    }


def test_port_25_is_tried_only_when_that_is_wanted(tmp_path):
    (found,) = run(examine(case(tmp_path, only=frozenset(("port25",)))))
    assert (found.verdict, "connect to others" in found.finding) == (SKIP, True)
    text = QUIET + '[doctor]\nport25_domains = ["example.org"]\n'
    (found,) = run(examine(case(tmp_path, text=text, tries_port25=True, only=frozenset(("port25",)))))
    assert found.verdict is PASS


def test_neighbors_are_asked(tmp_path):
    text = QUIET + '[rspamd]\nurl = "http://127.0.0.1:11333"\n[[dnsbl]]\nzone = "bl.example"\n'
    resolver = WorldResolver(addresses={"2.0.0.127.bl.example": ["127.0.0.2"]})
    asked = case(tmp_path, text=text, resolver=resolver, only=frozenset(("dnsbl", "rspamd")))
    found = run(examine(asked))
    assert [(one.name, one.verdict) for one in found] == [("dnsbl", PASS), ("rspamd", WARN)]
    assert asked.doors.survey.web.asked == ["http://127.0.0.1:11333/ping"]


def test_a_server_that_is_down(tmp_path):
    found = verdicts(
        run(examine(case(tmp_path, server=None, only=frozenset(("server", "listeners", "reachable", "open-files")))))
    )
    assert [found[name] for name in ("server", "listeners", "reachable", "open-files")] == [
        {FAIL},
        {UNKNOWN},
        {UNKNOWN},
        {UNKNOWN},
    ]


def test_accounts_that_cannot_be_read(tmp_path):
    asked = case(tmp_path, only=frozenset(("postmaster", "passwords")))
    asked.tables = "accounts.toml: cannot be read: permission denied"
    found = run(examine(asked))
    assert [one.verdict for one in found] == [UNKNOWN, UNKNOWN]
    assert found[0].finding == asked.tables


def test_what_a_cache_remembers_is_looked_at_at_the_name_servers_themselves(tmp_path):
    """Records that were published a minute ago are not called missing."""
    names = frozenset(("dkim", "mta-sts", "dns"))
    text = QUIET + '[mta_sts]\nmode = "testing"\n'
    asked = case(tmp_path, text=text, resolver=WorldResolver(addresses={HOST: [V4]}), only=names)
    keys, _ = DkimKeyFolder(asked.config.storage.state).read()
    zone = {key.name: {"TXT": [key.record]} for key in keys}
    zone |= {"_mta-sts.example.org": {"TXT": ["v=STSv1; id=1"]}, "example.org": {"MX": [[10, HOST]]}}
    asked.doors = replace(asked.doors, records=ZoneResolver({"example.org": {}, HOST: {"A": [V4]}}))
    before = {one.key: one.verdict for one in run(examine(asked))}
    assert (before[f"dkim {keys[0].name}"], before["mta-sts example.org"], before["dns MX example.org"]) == (
        FAIL,
        WARN,
        FAIL,
    )
    asked = replace(asked, doors=replace(asked.doors, authority=ZoneResolver(zone)))
    found = run(examine(asked))
    after = {one.key: one.verdict for one in found}
    assert after["dkim example.org"] is PASS
    # The record is there, and so the policy was asked for.
    assert "cannot be fetched" in next(one.finding for one in found if one.key == "mta-sts example.org")
    assert after["dns MX example.org"] is PASS
    assert "a cache still tells the old one" in next(one.finding for one in found if one.key == "dns MX example.org")


# --- trouble with the checks themselves -------------------------------------------------------------------------------


def test_a_check_that_breaks_is_not_known_and_harms_no_other(tmp_path, monkeypatch):
    async def breaks(case):
        raise RuntimeError("a fault of ours")

    async def fine(case):
        return [passed("fine", "all is well")]

    told = []
    monkeypatch.setattr(examining, "EXAMINATIONS", (Examination("ill", "", breaks), Examination("fine", "", fine)))
    found = run(examine(case(tmp_path), tell=lambda what, error: told.append((what, error))))
    assert [(one.name, one.verdict) for one in found] == [("ill", UNKNOWN), ("fine", PASS)]
    assert found[0].finding == "the check itself broke: RuntimeError: a fault of ours"
    assert [what for what, _ in told] == ["the check ill"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "/x/y"), "/x/y may not be read"),
        (OSError(5, "Input/output error", "/x"), "input/output error (/x)"),
        (OSError("odd"), "odd"),
    ],
)
def test_a_disk_that_does_not_answer_is_not_known(tmp_path, monkeypatch, error, words):
    async def breaks(case):
        raise error

    monkeypatch.setattr(examining, "EXAMINATIONS", (Examination("ill", "", breaks),))
    (found,) = run(examine(case(tmp_path)))
    assert (found.verdict, found.finding) == (UNKNOWN, words)


def test_a_busy_server_is_not_disturbed(tmp_path):
    asked = case(tmp_path, only=frozenset(("disk", "queue", "destinations")))
    asked.doors.survey.blocking.full.add(Lane.GENERAL)
    found = run(examine(asked))
    assert {one.finding for one in found} == {"the server was too busy to look"}


def test_no_check_takes_longer_than_its_time(tmp_path, monkeypatch):
    async def never(case):
        await Deferred()

    clock = FakeClock()
    monkeypatch.setattr(examining, "EXAMINATIONS", (Examination("slow", "", never),))
    looking = start(examine(case(tmp_path, clock=clock)))
    clock.advance(LIMIT_S - 1)
    assert not looking.called
    clock.advance(1)
    assert [one.verdict for one in looking.result] == [UNKNOWN]


def test_who_gives_up_waiting_takes_nothing_from_others():
    waiting = Deferred()
    calls = []

    async def find():
        calls.append(1)
        return await waiting

    once = Once(find)
    first, second = start(once.get()), start(once.get())
    first.addErrback(lambda _: "gave up")
    first.cancel()
    waiting.callback("found")
    assert (first.result, second.result, run(once.get()), calls) == ("gave up", "found", "found", [1])


def test_what_cannot_be_found_out_is_told_to_all_who_ask():
    async def find():
        raise OSError("broken")

    once = Once(find)
    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            run(once.get())
