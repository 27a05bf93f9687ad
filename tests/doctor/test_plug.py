"""How the running server takes part: when there is a daily look, and one whole look against names on loopback."""

import email
import email.policy
import json

import pytest
import pytest_twisted
from twisted.internet import reactor

from mailserver.doctor.keeper import DAY_S
from mailserver.doctor.plug import FACTS_COMMAND, doctor_commands, doctor_services
from mailserver.maillog import DoctorLooked
from mailserver.net.blocking import BlockingLanes
from mailserver.net.clock import ReactorClock
from mailserver.net.tls import ServerTls, ensure_self_signed
from mailserver.store.accounts import AccountsFile
from mailserver.store.control_socket import Request
from tests.doctor.configs import configured
from tests.fakes.awaiting import run
from tests.fakes.clock import FakeClock
from tests.fakes.dns_server import DnsServer

LOOPBACK = """[listen]
smtp = ["tcp:2525:interface=127.0.0.1"]
submission = []
submissions = []
pop3 = []
pop3s = []
"""


ZONE = {
    "mail.example.org": {"A": ["203.0.114.9"]},
    "org": {"signed": True, "SOA": ["ns.test. host.test. 1 2 3 4 5"]},
}


class LaterClock(ReactorClock):
    """The real one, whose monotonic time is a few days ahead when a test wants it."""

    ahead_s = 0.0

    def monotonic(self):
        return super().monotonic() + self.ahead_s


@pytest.fixture
def tls(tmp_path):
    return ServerTls(ensure_self_signed(tmp_path / "tls", "mail.example.org", FakeClock().now()))


def services(config, tls, clock, told, events, blocking=None):
    accounts = AccountsFile(config.accounts.file, config.domains, config.postmaster)
    accounts.load()

    async def tell(subject, text):
        told.append((subject, text))
        return True

    return doctor_services(config, reactor, tls, accounts, tell, blocking=blocking, clock=clock, log=events.append)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("[doctor]\ndaily = false\n", 0),
        (LOOPBACK, 0),
        (LOOPBACK + '[doctor]\naddresses = ["127.0.0.1"]\n', 1),
    ],
)
def test_when_there_is_a_daily_look(tmp_path, tls, text, count):
    assert len(services(configured(tmp_path, text), tls, FakeClock(), [], [])) == count


def test_the_server_tells_what_only_it_knows(tls):
    answer = run(doctor_commands(tls)[FACTS_COMMAND](Request(FACTS_COMMAND)))
    facts = json.loads(answer.about["facts"])
    assert facts["open_files"] > 0
    assert facts["certificate_until"] == tls.facts.not_after


@pytest_twisted.ensureDeferred
async def test_one_whole_look_writes_to_the_postmaster_and_connects_to_nobody(tmp_path, tls):
    names = DnsServer(ZONE).start(reactor)
    lanes, clock, told, events = BlockingLanes(reactor), LaterClock(reactor), [], []
    settings = f'[dns]\nservers = ["127.0.0.1:{names.port}"]\n[doctor]\naddresses = ["127.0.0.1"]\nlists = []\n'
    config = configured(tmp_path, LOOPBACK.replace("2525", "1") + settings)
    config.storage.state.mkdir()
    try:
        (poll,) = services(config, tls, clock, told, events, lanes)
        await poll._look()
        assert (told, events) == ([], [])
        clock.ahead_s = DAY_S
        await poll._look()
    finally:
        await lanes.close()
        await names.stop()
    ((subject, text),) = told
    assert subject.startswith("mail.example.org: ")
    assert "* hostname: mail.example.org leads to 203.0.114.9" in text.replace("\n  ", " ")
    (event,) = events
    assert isinstance(event, DoctorLooked)
    assert "hostname" in event.worse
    assert (tmp_path / "var" / "doctor.json").exists()
    message = email.message_from_string(f"Subject: {subject}\n\n{text}", policy=email.policy.default)
    assert message.get_content().isascii()
