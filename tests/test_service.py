"""The whole server inside the test's process, on the real reactor and loopback."""

import poplib
import smtplib
import time

import pytest
import pytest_twisted
import trustme
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from mailserver.config import load_config
from mailserver.foundation import lay_foundation
from mailserver.maillog import Accepted, Filed, Reloaded, ReloadRefused, Started, Stopping
from mailserver.net.listener_text import check_listener
from mailserver.net.listeners import bind_listeners
from mailserver.service import build_service, listeners_of
from mailserver.store.state_lock import StateLock

HOST = "127.0.0.1"
ALICE = "alice@example.test"


class Running:
    """One server, started; `events` is its mail log."""

    def __init__(self, folder, extra=""):
        self.path = folder / "etc" / "mailserver.toml"
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(
            'hostname = "mail.example.test"\ndomains = ["example.test"]\npostmaster = "alice@example.test"\n'
            f'[practice]\naccounts = ["{ALICE}"]\n[storage]\nmin_free = "1MB"\n[listen]\n'
            + "".join(
                f'{name} = ["tcp:0:interface={HOST}"]\n'
                for name in ("smtp", "submission", "submissions", "pop3", "pop3s")
            )
            + extra
        )
        config = load_config(self.path, check_listener)
        bound = bind_listeners(reactor, listeners_of(config))
        self.ports = {one.service: one.port for one in bound}
        self.bound = bound
        self.foundation = lay_foundation(config, time.time())
        self.state = config.storage.state
        self.events = []
        self.service = build_service(
            config, reactor, self.foundation, bound, log=self.events.append, takes_hangup=False
        )

    def give_up(self):
        """For a server that was not started."""
        self.foundation.lock.release()
        for one in self.bound:
            one.close()

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    async def wait_for(self, kind, count=1):
        for _ in range(2000):
            if len(self.of(kind)) >= count:
                return self.of(kind)
            turn = Deferred()
            reactor.callLater(0.005, turn.callback, None)
            await turn
        raise AssertionError(f"no {kind.__name__} among {self.events}")


@pytest.fixture
def running(tmp_path):
    return Running(tmp_path)


def send(port):
    with smtplib.SMTP(HOST, port, timeout=30) as client:
        client.sendmail("stranger@outside.example", [ALICE], b"Subject: hello\r\n\r\nIt works.\r\n")


def fetch(port, password):
    client = poplib.POP3(HOST, port, timeout=30)
    client.user(ALICE)
    client.pass_(password)
    letter = client.retr(1)[1]
    client.quit()
    return letter


@pytest_twisted.ensureDeferred
async def test_a_letter_goes_in_and_out_and_everything_is_gone_after_the_stop(running):
    running.service.startService()
    [started] = running.of(Started)
    assert started.listening[0] == f"smtp {HOST}:{running.ports['smtp']}"
    await deferToThread(send, running.ports["smtp"])
    assert (await deferToThread(fetch, running.ports["pop3"], running.foundation.practice[0].password))[
        -1
    ] == b"It works."
    assert len(running.of(Accepted)) == len(running.of(Filed)) == 1
    await running.service.stopService()
    assert len(running.of(Stopping)) == 1
    with pytest.raises(OSError):
        await deferToThread(send, running.ports["smtp"])
    StateLock(running.state, "test").release()
    assert not (running.state / "control.sock").exists()


@pytest_twisted.ensureDeferred
async def test_the_parts_have_names_and_start_in_the_order_of_the_module(running):
    running.service.startService()
    names = [child.name for child in running.service]
    assert names == [
        "lulls",
        "log",
        "state lock",
        "lanes",
        "journal",
        "recovery",
        "committer",
        "history of peers",
        "caps",
        "logins",
        "last uses",
        "MTA-STS policies",
        "transmitter",
        "suppression list",
        "queue",
        "control",
        "pickup",
        "drop",
        "MTA-STS refresh",
        "DKIM keys",
        "reports",
        "accounts",
        "farewell",
        "listeners",
    ]
    assert all(child.running for child in running.service)
    await running.service.stopService()
    assert not any(child.running for child in running.service)


@pytest_twisted.ensureDeferred
async def test_reload_tells_of_accounts_and_certificate(running):
    running.service.startService()
    await running.service.reload()
    assert [event.what for event in running.of(Reloaded)] == ["accounts", "certificate"]
    await running.service.stopService()


@pytest_twisted.ensureDeferred
async def test_a_hangup_over_an_accounts_file_that_is_still_broken_never_says_reloaded(running):
    running.service.startService()
    running.foundation.accounts.path.write_text("[accounts.")
    for count in (1, 2):
        await running.service.reload()
        # The look at each second may have told it too.
        assert [event.what for event in running.of(ReloadRefused)][:count] == ["accounts"] * count
        assert [event.what for event in running.of(Reloaded)] == ["certificate"] * count
    await running.service.stopService()


@pytest_twisted.ensureDeferred
async def test_a_reload_that_is_refused_says_what_and_why_and_the_rest_is_reloaded(tmp_path):
    issued = trustme.CA().issue_cert("mail.example.test")
    (tmp_path / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (tmp_path / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    running = Running(tmp_path, f'[tls]\ncertificate = "{tmp_path}/chain.pem"\nprivate_key = "{tmp_path}/key.pem"\n')
    running.service.startService()
    (tmp_path / "key.pem").unlink()
    await running.service.reload()
    [refused] = running.of(ReloadRefused)
    assert refused.what == "certificate"
    assert "does not exist" in refused.reason
    assert [event.what for event in running.of(Reloaded)] == ["accounts"]
    await running.service.stopService()


@pytest_twisted.ensureDeferred
async def test_a_changed_accounts_file_is_seen_by_itself(running):
    running.service.startService()
    accounts = running.path.parent / "accounts.toml"
    accounts.write_text(accounts.read_text() + '\n[aliases]\n"all@example.test" = ["alice@example.test"]\n')
    await running.wait_for(Reloaded)
    await running.service.stopService()


@pytest_twisted.ensureDeferred
async def test_stopping_what_never_started_is_fine(running):
    await running.service.stopService()
    assert running.of(Stopping) == []
    running.give_up()


@pytest_twisted.ensureDeferred
async def test_what_a_crash_left_is_cleaned_up_before_anything_is_accepted(running):
    left = running.state / "queue" / "tmp" / "half-written"
    left.parent.mkdir(parents=True)
    left.write_text("half of a message")
    running.service.startService()
    assert not left.exists()
    await running.service.stopService()


def test_root_gives_its_files_away_while_it_is_still_root(tmp_path):
    calls = []
    running = Running(tmp_path)
    service = build_service(
        load_config(running.path), reactor, running.foundation, [], files_of_root=lambda: calls.append(1)
    )
    service.privilegedStartService()
    assert calls == [1]
    running.give_up()
