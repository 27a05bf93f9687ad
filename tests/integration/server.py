"""Starts the real server as a process, waits until it answers, and surely ends it.

    with Server(tmp_path) as server:
        with smtplib.SMTP("127.0.0.1", server.ports["smtp"]) as client: ...

Everything is on loopback, in one folder, with two practice accounts: alice@example.test and bob@example.test. Change
any key of the configuration with `settings={"smtp": {"max_errors": 3}}`; None removes a key.
"""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tomlkit

HOST = "127.0.0.1"
LIMIT_S = 30.0
SERVICES = ("smtp", "submission", "submissions", "pop3", "pop3s")
# Off unless a test asks for them: `web=True`.
WEB = ("http", "https")
ALICE, BOB = "alice@example.test", "bob@example.test"
TWISTD = Path(sys.executable).with_name("twistd")
MAILSERVER = Path(sys.executable).with_name("mailserver")

# The server writes them in its next lull (net/lulls.py), 30 ms later at most.
LINES_COME_WITHIN_S = 0.05


def wait_until(is_done: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
    """Ask `is_done` again and again until it answers something true; AssertionError after `limit_s`."""
    end = time.monotonic() + limit_s
    while not is_done():
        assert time.monotonic() < end, f"still waiting after {limit_s:g} s: {what}"
        time.sleep(0.01)


def free_ports(count: int) -> list[int]:
    """So many different ports of the loopback that nobody uses now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def takes_connections(port: int) -> bool:
    """Whether somebody listens on `port`."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


class Server:
    """One mailserver. Files: `<folder>/etc/mailserver.toml`, `<folder>/var` (state), `<folder>/maildirs`."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, object] | None = None,
        *,
        accounts: Sequence[str] = (ALICE, BOB),
        twistd_options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        preexec: Callable[[], object] | None = None,
        pass_fds: Sequence[int] = (),
        web: bool = False,
    ) -> None:
        self.folder = folder
        self.state = folder / "var"
        self.maildirs = folder / "maildirs"
        self.config_path = folder / "etc" / "mailserver.toml"
        self.output = folder / "output.log"
        names = (*SERVICES, *WEB) if web else SERVICES
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.twistd_options = list(twistd_options)
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._preexec = preexec
        self._pass_fds = tuple(pass_fds)
        self.process: subprocess.Popen[bytes] | None = None
        self.configure({"practice": {"accounts": list(accounts)}, **(settings or {})})

    # --- configuration ------------------------------------------------------------------------------------------------

    def configure(self, settings: Mapping[str, object]) -> None:
        """Write the configuration anew: the tests' defaults with these settings on top."""
        values: dict[str, object] = {
            "hostname": "mail.example.test",
            "domains": ["example.test"],
            "postmaster": ALICE,
            "storage": {"maildirs": "../maildirs", "state": "../var", "min_free": "1MB"},
            "listen": {name: [f"tcp:{port}:interface={HOST}"] for name, port in self.ports.items()},
            "sendmail": {"drop": "../drop"},
            # No test speaks to anybody's name server.
            "dns": {"servers": [f"{HOST}:1"]},
        }
        self.config_path.parent.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(tomlkit.dumps(_merged(values, settings)))

    # --- the process --------------------------------------------------------------------------------------------------

    @property
    def command(self) -> list[str]:
        """How the process is started."""
        return [str(TWISTD), "-n", "--pidfile=", *self.twistd_options, "mailserver", "--config", str(self.config_path)]

    def launch(self) -> None:
        """Start the process and do not wait for anything."""
        assert self.process is None, "it runs already"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=self._preexec,
                pass_fds=self._pass_fds,
            )

    def start(self) -> "Server":
        """Start it and wait until every listener has greeted; AssertionError with its log when it does not."""
        self.launch()
        try:
            wait_until(lambda: self._has_ended() or self._answers(), "the server's greeting")
            assert not self._has_ended()
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"the server did not start ({error}); its output:\n{self.log}") from None
        return self

    def stop(self, limit_s: float = LIMIT_S) -> int:
        """SIGTERM, and the exit status; AssertionError when it does not end in time."""
        process = self.process
        assert process is not None, "it does not run"
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not stop in {limit_s:g} s; its output:\n{self.log}") from None
        self.process = None
        return status

    def kill(self) -> None:
        """SIGKILL, as a power cut for the process; harmless when it does not run."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> "Server":
        """Stop it and start it again: same folder, same ports."""
        self.stop()
        return self.start()

    def reload(self) -> None:
        """SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, *details: object) -> None:
        self.kill()

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _answers(self) -> bool:
        """Whether every listener takes connections, and the plain ones greet."""
        for name in self.listening:
            try:
                with socket.create_connection((HOST, self.ports[name]), timeout=5) as connection:
                    if not name.endswith("s") and not connection.recv(512):
                        return False
            except OSError:
                return False
        return True

    @property
    def listening(self) -> list[str]:
        """The services that the configuration lets listen on a port of `ports`."""
        listen = tomlkit.parse(self.config_path.read_text())["listen"]
        return [name for name in SERVICES if any(f":{self.ports[name]}" in text for text in listen.get(name, []))]

    # --- what tests look at -------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Process id."""
        assert self.process is not None, "it does not run"
        return self.process.pid

    @property
    def log(self) -> str:
        """Everything it has printed and logged so far, over all starts; lines come a moment after what they tell."""
        if self.process is not None:
            time.sleep(LINES_COME_WITHIN_S)
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def wait_for_log(self, words: str, count: int = 1, limit_s: float = LIMIT_S) -> None:
        """Wait until these words stand in the log (so many times)."""
        try:
            wait_until(lambda: self.log.count(words) >= count, repr(words), limit_s)
        except AssertionError as late:
            raise AssertionError(f"{late} in the log:\n{self.log}") from None

    @property
    def ca(self) -> Path:
        """The self-signed certificate, as clients take it for `--cacert`."""
        return self.state / "tls" / "certificate.pem"

    @property
    def tls(self) -> ssl.SSLContext:
        """A client's context that trusts the self-signed certificate and checks names."""
        return ssl.create_default_context(cafile=str(self.ca))

    def password(self, address: str) -> str:
        """The practice password of an account."""
        for line in (self.state / "practice-passwords").read_text().splitlines():
            name, _, password = line.partition(" ")
            if name == address:
                return password
        raise AssertionError(f"no practice password of {address}")

    def mailbox(self, address: str) -> Path:
        """The Maildir of an account."""
        local_part, _, domain = address.rpartition("@")
        return self.maildirs / domain / local_part

    def messages(self, address: str, folder: str = ".") -> list[bytes]:
        """The files in new/ and cur/ of an account, oldest first."""
        maildir = self.mailbox(address) / folder
        paths = [path for part in ("new", "cur") for path in (maildir / part).glob("*")]
        return [path.read_bytes() for path in sorted(paths, key=lambda path: path.name)]

    def wait_for_messages(self, address: str, count: int) -> list[bytes]:
        """Wait until so many messages are filed for an account."""
        wait_until(lambda: len(self.messages(address)) >= count, f"{count} messages for {address}; log:\n{self.log}")
        return self.messages(address)

    def cli(self, *arguments: str, stdin: str = "", status: int | None = 0) -> str:
        """Run `mailserver --config ... arguments`, check its exit status, and return its standard output."""
        done = subprocess.run(
            [str(MAILSERVER), "--config", str(self.config_path), *arguments],
            input=stdin.encode(),
            capture_output=True,
            timeout=LIMIT_S,
            cwd=self.folder,
        )
        output, errors = done.stdout.decode(), done.stderr.decode()
        assert status is None or done.returncode == status, f"exit status {done.returncode}: {output}{errors}"
        return output


def _merged(values: Mapping[str, object], settings: Mapping[str, object]) -> dict[str, object]:
    """`settings` over `values`, table by table; None removes a key."""
    merged = dict(values)
    for key, value in settings.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            old = merged.get(key, {})
            merged[key] = _merged(old if isinstance(old, Mapping) else {}, value)
        else:
            merged[key] = value
    # Plain keys before tables, or TOML would take them for a table's.
    return dict(sorted(merged.items(), key=lambda item: isinstance(item[1], Mapping)))
