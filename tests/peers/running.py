"""Starts foreign servers for a test, waits until they answer, and surely stops them."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

HOST = "127.0.0.1"
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0

# Owns mailboxes that Dovecot is to read: it refuses root. Every Debian has this user.
MAILBOX_OWNER = "mail"


def give_to(folder: Path, user: str) -> None:
    """Make `user` and its group the owner of `folder` and all that is in it."""
    group = pwd.getpwnam(user).pw_gid
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, user, group)


def free_port() -> int:
    """A TCP port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def wait_until(is_done: Callable[[], object], what: str, timeout_s: float = START_TIMEOUT_S) -> None:
    """Ask `is_done` again and again until it answers something true; AssertionError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not is_done():
        assert time.monotonic() < end, f"still waiting after {timeout_s:g} s: {what}"
        time.sleep(0.02)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user may pass, for servers that change their user; removed at the end.

    Not pytest's `tmp_path`: its parents are closed to other users, and each new run of pytest closes them again.
    """
    with tempfile.TemporaryDirectory(prefix="mailserver-peers-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def banner(port: int, host: str = HOST) -> bytes:
    """The first octets a server on `port` says; empty while there is none."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            return connection.recv(512)
    except OSError:
        return b""


def takes_connections(port: int) -> bool:
    """Whether somebody listens on `port`."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


class Daemon:
    """One foreign server in a process group of its own; output goes to `<home>/output.log`."""

    def __init__(self, name: str, home: Path, command: Sequence[str], environment: dict[str, str]) -> None:
        self.name = name
        self.home = home
        self.log = home / "output.log"
        self._command = list(command)
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of its first process, which is also the id of the group."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def start(self, port: int, greeting: bytes, host: str = HOST) -> None:
        """Start it and wait until `port` answers with `greeting`; AssertionError with its log when it does not.

        An empty greeting stands for a server that lets its clients speak first.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.home,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + START_TIMEOUT_S
        while not (banner(port, host).startswith(greeting) if greeting else takes_connections(port)):
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise AssertionError(f"{self.name} did not answer on port {port}; its log:\n{self.read_log()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask it to end, then kill the whole group. Harmless when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_TIMEOUT_S)

    def read_log(self) -> str:
        """The end of what it said so far."""
        return self.log.read_text(errors="replace")[-8_000:] if self.log.exists() else ""


def maildir_files(maildir: Path) -> list[Path]:
    """The messages of a Maildir's `new` and `cur`, in the order of their names."""
    found = [path for part in ("new", "cur") for path in (maildir / part).glob("*") if path.is_file()]
    return sorted(found, key=lambda path: path.name)


def wait_for_messages(maildir: Path, count: int, log: Callable[[], str], timeout_s: float = 20.0) -> list[bytes]:
    """The contents of at least `count` messages of a Maildir, once they are there; AssertionError with a log if not."""
    try:
        wait_until(lambda: len(maildir_files(maildir)) >= count, f"{count} messages in {maildir}", timeout_s)
    except AssertionError as late:
        raise AssertionError(f"{late}; found {len(maildir_files(maildir))}\n{log()}") from None
    return [path.read_bytes() for path in maildir_files(maildir)]
