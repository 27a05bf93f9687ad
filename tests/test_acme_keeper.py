"""The running server's certificate: ordered when it is due, in force at once, and failures that ask less and less."""

import errno
import os
import random
from itertools import pairwise
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from mailserver.acme_keeper import SOON_S, AcmeKeeper, Stopped, obtained_tls
from mailserver.config import load_config
from mailserver.mail.dns import CannotTell, NoRecords, NoSuchName
from mailserver.net.acme_names import NamesInDns
from mailserver.net.acme_order import in_force
from mailserver.net.acme_values import AcmeTrouble, Fresh
from mailserver.net.tls import ServerTls, ensure_self_signed
from mailserver.policy.renewal import DAY_S, HOUR_S
from mailserver.ports import Lane
from mailserver.store.acme_folder import AcmeFolder
from mailserver.store.certificates import check_obtained, make_key, private_part
from mailserver.store.control_socket import Request
from mailserver.store.files import Files
from tests.fakes.authority import FakeAuthority
from tests.fakes.awaiting import run
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import FakeClock

NAME = "mail.example.org"
CONFIG = f"""
hostname = "{NAME}"
domains = ["example.org"]
postmaster = "alice@example.org"
[acme]
directory = "letsencrypt"
agree_terms = true
webroot = "www"
"""


class FullDisk(Files):
    """A disk that need not survive a power cut, until it `is_full`."""

    is_full = False

    def sync(self, descriptor):
        pass

    def sync_folder(self, path):
        pass

    def write(self, descriptor, pieces):
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(descriptor, pieces)


class Keeping:
    """A keeper over a real folder; the authority gives what `answer` says: a life in days, or something is raised."""

    def __init__(self, root: Path, more: str = "", directory: str = "letsencrypt") -> None:
        (root / "etc").mkdir(exist_ok=True)
        path = root / "etc" / "mailserver.toml"
        path.write_text(CONFIG.replace("letsencrypt", directory) + more)
        self.config = load_config(path)
        self.state = self.config.storage.state
        self.disk = FullDisk()
        self.folder = AcmeFolder(self.state, self.disk)
        self.clock, self.events, self.letters = FakeClock(), [], []
        self.blocking = DirectBlocking()
        self.tls = obtained_tls(self.state) or ServerTls(
            ensure_self_signed(self.state / "tls", NAME, self.clock.now())
        )  # fmt: skip
        self.authority = FakeAuthority()
        self.answer: object = 90.0
        self.suggested: float | None = None
        self.orders: list[float] = []
        self.ordered: list[tuple[str, ...]] = []
        self.refused: set[str] = set()
        self.dns: dict[str, object] = {}
        self.asked: list[float] = []
        self.keeper = self.new_keeper()

    def new_keeper(self) -> AcmeKeeper:
        return AcmeKeeper(
            self.config,
            self.folder,
            self.tls,
            None,
            NamesInDns(self.config, self, self.events.append),
            blocking=self.blocking,
            clock=self.clock,
            log=self.events.append,
            tell_postmaster=self.tell,
            rng=random.Random(1),
            place=self.place,
            suggest=self.suggest,
        )

    async def tell(self, subject, text):
        self.letters.append((subject, text))
        return True

    async def addresses(self, name):
        return self.dns.get(name, ("192.0.2.1",))

    def place(self, config, folder, names, showing, wait, now):
        self.orders.append(self.clock.now())
        self.ordered.append(names)
        if isinstance(self.answer, BaseException):
            raise self.answer
        refused = tuple(name for name in names if name in self.refused)
        if refused:
            raise AcmeTrouble(f"not ours: {', '.join(refused)}", "open port 80", names=refused)
        before = in_force(folder)
        key = make_key("p256") if before is None else private_part(before.pem)
        chain = self.authority.issue(key, names, self.clock.now(), self.answer)
        return Fresh(key, chain, check_obtained(key, chain, names, self.clock.now()))

    def suggest(self, config, folder, now):
        self.asked.append(self.clock.now())
        return self.suggested

    def look(self, after_s=0.0):
        self.clock.advance(after_s)
        run(self.keeper.look())
        lines = [event.line() for event in self.events]
        self.events.clear()
        return lines

    def look_for(self, seconds, step_s=4 * HOUR_S):
        """Time passes, and it is looked all along."""
        lines = []
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            lines += self.look(step_s)
        return lines


@pytest.fixture
def keeping(tmp_path):
    return Keeping(tmp_path)


REFUSED = AcmeTrouble("the authority refused: it rains (connection)", "open port 80")


def test_the_first_one_is_in_force_at_once(keeping):
    assert keeping.tls.facts.is_self_signed
    (line,) = keeping.look()
    assert line == (
        f'certificate-obtained names={NAME} issuer="Test Issuer" expires=2025-09-13 why="there is none yet"'
    )
    assert not keeping.tls.facts.is_self_signed
    assert keeping.tls.files.certificate == keeping.folder.certificate
    assert keeping.look() == []
    assert len(keeping.orders) == 1


def test_it_is_there_at_the_next_start(keeping, tmp_path):
    keeping.look()
    again = Keeping(tmp_path)
    assert not again.tls.facts.is_self_signed
    assert again.look() == []
    assert again.orders == []


def test_a_damaged_pair_is_no_reason_not_to_start(keeping, tmp_path):
    keeping.look()
    keeping.folder.certificate.write_bytes(b"damaged")
    again = Keeping(tmp_path)
    assert again.tls.facts.is_self_signed
    (line,) = again.look()
    assert line.startswith("certificate-obtained ")


def test_it_is_renewed_in_the_last_third(keeping):
    keeping.look()
    first = keeping.tls.facts.not_after
    assert keeping.look_for(59.8 * DAY_S) == []
    (line,) = keeping.look_for(1.2 * DAY_S)
    assert line.startswith("certificate-renewed ")
    assert keeping.tls.facts.not_after > first
    assert len(keeping.orders) == 2


def test_a_short_life_is_renewed_in_time(keeping):
    keeping.answer = 6.0
    keeping.look()
    lines = keeping.look_for(40 * DAY_S)
    assert 8 <= len(lines) <= 12
    assert keeping.tls.facts.not_after > keeping.clock.now()


def test_failures_ask_less_and_less_and_say_what_to_do(keeping):
    keeping.answer = REFUSED
    (line,) = keeping.look()
    assert line.startswith("certificate-failed ")
    assert f"names={NAME} " in line
    assert 'reason="the authority refused: it rains (connection)" remedy="open port 80"' in line
    assert "next_attempt=2025-06-15T16:06Z" in line
    assert "days_left" not in line
    keeping.look_for(7 * DAY_S, 60.0)
    waits = [(later - before) / HOUR_S for before, later in pairwise(keeping.orders)]
    assert [round(one) for one in waits[:5]] == [1, 2, 4, 8, 16]
    assert all(24 <= one < 27 for one in waits[5:])


def test_a_restart_does_not_ask_earlier(keeping, tmp_path):
    keeping.answer = REFUSED
    keeping.look()
    for _ in range(20):
        again = Keeping(tmp_path)
        again.answer = REFUSED
        again.look()
        assert again.orders == []


def test_another_configuration_is_tried_at_once(keeping, tmp_path):
    keeping.answer = REFUSED
    keeping.look()
    again = Keeping(tmp_path, 'names = ["mail.example.org", "mta-sts.example.org"]')
    again.answer = REFUSED
    assert len(again.look()) == 1
    assert again.folder.read_record().failures == 1


def test_after_trying_with_the_lab_the_real_authority_is_asked_at_once(tmp_path):
    trying = Keeping(tmp_path, directory="letsencrypt-staging")
    trying.look()
    real = Keeping(tmp_path)
    (line,) = real.look()
    assert 'why="another authority is wanted"' in line
    assert real.look_for(2 * DAY_S) == []
    # Without its record nobody knows where a certificate came from, and it is kept.
    (real.folder.path / "record.json").unlink()
    assert Keeping(tmp_path).look() == []


def test_what_breaks_does_not_break_each_second(keeping):
    keeping.keeper._names.look = None
    with pytest.raises(TypeError):
        run(keeping.keeper.look())
    assert keeping.look(1.0) == []
    with pytest.raises(TypeError):
        keeping.look(SOON_S)


def test_success_forgets_the_failures(keeping):
    keeping.answer = REFUSED
    keeping.look()
    keeping.answer = 90.0
    lines = keeping.look_for(1.1 * HOUR_S)
    assert [line.partition(" ")[0] for line in lines] == ["certificate-obtained"]
    record = keeping.folder.read_record()
    assert (record.failures, record.reason, record.next_attempt_at) == (0, "", 0.0)


def test_the_authority_may_ask_for_patience(keeping):
    keeping.answer = AcmeTrouble("too many (rateLimited)", "wait", wait_s=3 * DAY_S, is_limited=True)
    keeping.look()
    keeping.answer = 90.0
    assert keeping.look_for(2.9 * DAY_S, HOUR_S) == []
    assert len(keeping.look_for(0.2 * DAY_S)) == 1


def test_the_postmaster_gets_one_mail_when_few_days_are_left(keeping):
    keeping.look()
    keeping.answer = REFUSED
    keeping.look_for(79 * DAY_S)
    assert keeping.letters == []
    keeping.look_for(10 * DAY_S)
    ((subject, text),) = keeping.letters
    assert subject == f"The certificate of {NAME} expires in 9 days and cannot be renewed"
    assert "it rains" in text and "open port 80" in text and "mailserver certificate renew" in text
    # The next certificate is another story.
    keeping.answer = 90.0
    keeping.look_for(2 * DAY_S)
    keeping.answer = REFUSED
    keeping.look_for(88 * DAY_S)
    assert len(keeping.letters) == 2


def test_a_letter_that_could_not_be_written_is_tried_again(keeping):
    keeping.look()
    keeping.answer = REFUSED

    async def cannot(subject, text):
        keeping.letters.append(subject)
        return False

    keeping.keeper._tell_postmaster = cannot
    keeping.look_for(84 * DAY_S)
    assert len(keeping.letters) > 1


def test_a_full_disk_costs_no_second_order(keeping):
    keeping.look()
    before, pair = keeping.tls.facts, keeping.folder.pair()
    keeping.disk.is_full = True
    outcome = run(keeping.keeper.renew(is_forced=True))
    assert outcome.error == "a certificate was obtained and could not be written: No space left on device"
    assert keeping.tls.facts == before
    assert keeping.folder.pair() == pair
    keeping.disk.is_full = False
    lines = keeping.look(SOON_S)
    assert any(line.startswith("certificate-renewed ") for line in lines)
    assert len(keeping.orders) == 2
    assert keeping.folder.pair() != pair


def test_what_nobody_named_is_a_failure_like_another(keeping):
    keeping.answer = ZeroDivisionError()
    (line,) = keeping.look()
    assert "unexpected trouble in the server: ZeroDivisionError" in line
    assert keeping.folder.read_record().failures == 1


def test_advice_is_asked_for_once_a_day_and_followed(keeping, tmp_path):
    keeping.look()
    keeping.look_for(10 * DAY_S)
    assert 9 <= len(keeping.asked) <= 12
    again = Keeping(tmp_path)
    again.clock.step(keeping.clock.now() - again.clock.now())
    again.look()
    assert again.asked == []
    keeping.suggested = keeping.clock.now() + 10 * HOUR_S
    (line,) = keeping.look_for(1.1 * DAY_S)
    assert 'why="the authority suggests renewal"' in line


def test_other_names_are_ordered_at_once(keeping, tmp_path):
    keeping.look()
    again = Keeping(tmp_path, 'names = ["*.example.org", "mail.example.org", "more.example.org"]'.replace("*.", "a."))
    again.answer = REFUSED
    (line,) = again.look()
    assert line.startswith("certificate-failed ")
    assert "days_left=89" in line


def test_the_operator_may_ask_and_is_told(keeping):
    ask = keeping.keeper.commands()["certificate-renew"]
    response = run(ask(Request("certificate-renew")))
    assert response.about["names"] == NAME
    response = run(ask(Request("certificate-renew")))
    assert response.error.startswith("it is not due before 2025-08-14, and authorities give only a few")
    response = run(ask(Request("certificate-renew", about={"force": "yes"})))
    assert not response.error
    keeping.answer = REFUSED
    response = run(ask(Request("certificate-renew", about={"force": "yes"})))
    assert response.error == "the authority refused: it rains (connection): open port 80"
    assert len(keeping.orders) == 3


def test_an_order_that_failed_may_be_asked_for_at_once(keeping):
    keeping.answer = REFUSED
    keeping.look()
    keeping.answer = 90.0
    assert run(keeping.keeper.renew(is_forced=False)).summary is not None


def test_one_order_at_a_time_and_the_stop_ends_it(keeping):
    """The order waits in its thread; what it sleeps by says when the server stops."""
    waiting: Deferred[object] = Deferred()
    direct = keeping.blocking.run

    async def in_a_thread(lane, call, *arguments):
        return await (waiting if lane is Lane.CERTIFICATES else direct(lane, call, *arguments))

    keeping.blocking.run = in_a_thread
    Deferred.fromCoroutine(keeping.keeper.look())
    assert run(keeping.keeper.renew(is_forced=True)).error.startswith("an order is under way already")
    stopping = Deferred.fromCoroutine(keeping.keeper.stop())
    with pytest.raises(Stopped):
        keeping.keeper._sleep(3600.0)
    waiting.errback(Stopped())
    keeping.clock.advance(0.1)
    assert stopping.called
    assert keeping.events == []
    assert keeping.folder.read_record().failures == 0


def test_a_busy_server_looks_again_later(keeping):
    keeping.blocking.full.add(Lane.CERTIFICATES)
    assert keeping.look() == []
    assert run(keeping.keeper.renew(is_forced=False)).error == "the server is too busy; try again"
    keeping.blocking.full.clear()
    assert keeping.look(1.0) == []
    assert len(keeping.look(SOON_S)) == 1


def test_what_could_not_be_cleaned_up_is_told(keeping):
    place = keeping.keeper._place

    def untidy(*arguments):
        fresh = place(*arguments)
        return Fresh(fresh.key_pem, fresh.chain_pem, fresh.summary, ("`hook remove` ended with status 1",))

    keeping.keeper._place = untidy
    lines = keeping.look()
    assert lines[1].startswith('trouble what="cleaning up after an order"')


# --- names that are not there yet -------------------------------------------------------------------------------------

WITH_AUTOCONFIG = '[listen]\nhttp = ["tcp:8080"]\nhttps = ["tcp:8443"]\n'
AUTOCONFIG = "autoconfig.example.org"


@pytest.fixture
def serving(tmp_path):
    """A server that answers under a second name, too."""
    return Keeping(tmp_path, WITH_AUTOCONFIG)


def test_a_name_without_an_address_is_left_out_until_it_has_one(serving):
    serving.dns[AUTOCONFIG] = NoSuchName()
    told, obtained = serving.look()
    assert f'no A or AAAA record in DNS: {AUTOCONFIG}" effect="the certificate goes without' in told
    assert obtained.startswith(f"certificate-obtained names={NAME} ")
    assert serving.look_for(DAY_S) == []
    del serving.dns[AUTOCONFIG]
    (line,) = serving.look_for(1.5 * HOUR_S, HOUR_S)
    assert line.startswith(f"certificate-obtained names={NAME},{AUTOCONFIG} ")
    assert serving.look_for(30 * DAY_S) == []


def test_nobody_is_asked_before_the_host_name_has_an_address(serving):
    serving.dns = {NAME: NoRecords(), AUTOCONFIG: NoSuchName()}
    (told,) = serving.look()
    assert "no certificate is ordered before it has one" in told
    assert serving.look_for(DAY_S, SOON_S) == []
    assert serving.orders == []
    serving.dns = {}
    (line,) = serving.look(SOON_S)
    assert line.startswith(f"certificate-obtained names={NAME},{AUTOCONFIG} ")


def test_a_silent_dns_is_no_reason_to_leave_a_name_out(serving):
    serving.dns = {NAME: CannotTell("no answer"), AUTOCONFIG: CannotTell("SERVFAIL")}
    serving.look()
    assert serving.ordered == [(NAME, AUTOCONFIG)]


def test_a_name_that_leads_elsewhere_keeps_the_host_name_from_nothing(serving):
    serving.refused = {AUTOCONFIG}
    failed, obtained = serving.look()
    assert failed.startswith(f"certificate-failed names={NAME},{AUTOCONFIG} ")
    assert obtained.startswith(f"certificate-obtained names={NAME} ")
    assert serving.folder.read_record().failures == 1
    # Only the larger order is tried again, less and less, and no certificate is used up by that.
    serving.ordered.clear()
    lines = serving.look_for(50 * DAY_S)
    assert {line.partition(" ")[0] for line in lines} == {"certificate-failed"}
    assert set(serving.ordered) == {(NAME, AUTOCONFIG)}
    assert 50 <= len(serving.ordered) <= 56
    # It is renewed in time all the same.
    lines = serving.look_for(20 * DAY_S)
    assert any(line.startswith(f"certificate-renewed names={NAME} ") for line in lines)
    assert serving.letters == []
    serving.refused.clear()
    lines = serving.look_for(2 * DAY_S)
    assert any(line.startswith(f"certificate-obtained names={NAME},{AUTOCONFIG} ") for line in lines)
    assert serving.folder.read_record().failures == 0


def test_after_a_restart_the_smaller_certificate_is_good_enough(serving, tmp_path):
    serving.refused = {AUTOCONFIG}
    serving.look()
    again = Keeping(tmp_path, WITH_AUTOCONFIG)
    again.refused = {AUTOCONFIG}
    assert again.look() == []
    assert again.orders == []


def test_names_that_are_configured_are_ordered_together_or_not_at_all(tmp_path):
    keeping = Keeping(tmp_path, f'names = ["{NAME}", "more.example.org"]\n')
    keeping.dns["more.example.org"] = NoSuchName()
    keeping.refused = {"more.example.org"}
    (line,) = keeping.look()
    assert line.startswith("certificate-failed ")
    assert keeping.ordered == [(NAME, "more.example.org")]
