"""Fixtures of the tests against other programs.

Run them with `make test-peers`, after `tests/peers/fetch_peers.sh --clients`. A program that is missing fails the test.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.certificates import Authority, Certificate
from tests.peers.chasquid import Chasquid
from tests.peers.dovecot import Dovecot
from tests.peers.network import own_network
from tests.peers.opensmtpd import OpenSmtpd
from tests.peers.ours import OurServer
from tests.peers.postfix import Postfix
from tests.peers.running import MAILBOX_OWNER, give_to, open_folder
from tests.peers.unbound import Unbound

# Our servers that a test has started: what they logged is part of the report when it fails.
STARTED = pytest.StashKey[list[OurServer]]()
LOG_SHOWN_CHARS = 12_000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A client that hung tells nothing; our log does."""
    report = yield
    if report.failed:
        for server in item.stash.get(STARTED, []):
            report.sections.append(("log of our server", server.log[-LOG_SHOWN_CHARS:]))
    return report


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate authority that everybody in these tests trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> Certificate:
    """One certificate for all servers: they all live on localhost."""
    return authority.issue("localhost", "127.0.0.1", "mx.remote.test")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A temporary folder that other users may pass."""
    with open_folder() as path:
        yield path


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends what a test has started, last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def private_network(stack: ExitStack) -> None:
    """A loopback of its own for the test and all that it starts. Ask for it before anything that starts something."""
    stack.enter_context(own_network())


@pytest.fixture
def start_postfix(folder: Path, stack: ExitStack) -> Callable[..., Postfix]:
    """Starts a Postfix with its own arguments, and stops it at the end."""

    def start(name: str = "postfix", **arguments) -> Postfix:
        (folder / name).mkdir()
        postfix = Postfix(folder / name, **arguments)
        stack.callback(postfix.stop)
        return postfix.start()

    return start


@pytest.fixture
def start_chasquid(folder: Path, stack: ExitStack, certificate: Certificate) -> Callable[..., Chasquid]:
    """Starts a chasquid with its own arguments, and stops it at the end."""

    def start(name: str = "chasquid", **arguments) -> Chasquid:
        (folder / name).mkdir()
        chasquid = Chasquid(folder / name, **{"certificate": certificate, **arguments})
        stack.callback(chasquid.stop)
        return chasquid.start()

    return start


@pytest.fixture
def start_opensmtpd(folder: Path, stack: ExitStack) -> Callable[..., OpenSmtpd]:
    """Starts an OpenSMTPD with its own arguments, and stops it at the end."""

    def start(name: str = "opensmtpd", **arguments) -> OpenSmtpd:
        (folder / name).mkdir(mode=0o711)
        opensmtpd = OpenSmtpd(folder / name, **arguments)
        stack.callback(opensmtpd.stop)
        return opensmtpd.start()

    return start


@pytest.fixture
def start_dovecot(folder: Path, stack: ExitStack) -> Callable[..., Dovecot]:
    """Starts a Dovecot on a folder of Maildirs, and stops it at the end."""

    def start(maildirs: Path, name: str = "dovecot", **arguments) -> Dovecot:
        dovecot = Dovecot(folder / name, maildirs, **arguments)
        stack.callback(dovecot.stop)
        return dovecot.start()

    return start


@pytest.fixture
def start_dns(folder: Path, stack: ExitStack) -> Callable[..., Unbound]:
    """Starts an unbound that knows the given records, and stops it at the end."""

    def start(*records: str, **arguments) -> Unbound:
        unbound = Unbound(folder / "unbound", records, **arguments)
        stack.callback(unbound.stop)
        return unbound.start()

    return start


@pytest.fixture
def an_owned_maildir(folder: Path) -> tuple[Path, Path]:
    """A folder of Maildirs that root does not own, and the empty Maildir of joe@example.test in it."""
    maildirs = folder / "maildirs"
    maildir = maildirs / "example.test" / "joe"
    for part in ("tmp", "new", "cur"):
        (maildir / part).mkdir(parents=True)
    give_to(maildirs, MAILBOX_OWNER)
    return maildirs, maildir


@pytest.fixture
def start_server(
    folder: Path, stack: ExitStack, certificate: Certificate, request: pytest.FixtureRequest
) -> Callable[..., OurServer]:
    """Starts our server with its own settings, and kills it at the end."""

    def start(settings: Mapping[str, object] | None = None, **arguments) -> OurServer:
        (folder / "mailserver").mkdir()
        server = stack.enter_context(OurServer(folder / "mailserver", certificate, settings, **arguments))
        request.node.stash.setdefault(STARTED, []).append(server)
        return server

    return start


@pytest.fixture
def server(start_server: Callable[..., OurServer]) -> OurServer:
    """Our server as it comes."""
    return start_server()
