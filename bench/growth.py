"""How costs grow: with the messages in a mailbox, with accounts, with what is queued, with connections.

What should be flat is shown as a cost per message. The load comes from Postfix's `smtp-source`; only our server is
measured, because what is asked is the shape of its own curve.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.deliver import Load, send
from bench.idle import allow_descriptors, greeted
from bench.measure import count_files, cpu_seconds, median, own_folder, reset_peaks, resident_octets, wait_until
from bench.plot import Points, line_chart
from bench.pop3 import LOGIN, Client
from bench.pop3 import fill as fill_maildir
from bench.queue_load import fill as fill_queue
from bench.servers import OURS, SmtpServer, add_accounts, our_server
from mailserver.store.spool_format import SpoolPaths
from tests.integration.server import Server, takes_connections

MAILBOX_SIZES = (10, 100, 1_000, 10_000, 100_000)
ACCOUNTS = (1, 10, 100, 1_000)
QUEUED = (0, 1_000, 10_000, 100_000)
IDLE = (0, 250, 500, 1_000)
LARGE_AT_ONCE = (1, 5, 10, 20)
LARGE_OCTETS = 50 << 20
MESSAGES, CONNECTIONS = 600, 10


@dataclass(slots=True)
class Chart:
    """One picture: name of its file, what it shows, and the lines in it."""

    name: str
    title: str
    across: str
    up: str
    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, line: str, size: float, cost: float) -> None:
        """One point more on one of the lines."""
        self.series.setdefault(line, []).append((size, cost))

    def svg(self) -> str:
        """The picture."""
        lines: dict[str, Points] = dict(self.series)
        return line_chart(self.title, self.across, self.up, lines)


def measure(folder: Path, rounds: int) -> list[Chart]:
    """Everything; some minutes. `folder` must not exist and is left full of mail."""
    folder.mkdir()
    allow_descriptors(IDLE[-1] + 500)
    return [
        *of_mailboxes(own_folder(folder, "mailboxes"), rounds),
        of_accounts(own_folder(folder, "accounts"), rounds),
        *of_queue(own_folder(folder, "queue"), rounds),
        of_idle(own_folder(folder, "idle")),
        of_large(own_folder(folder, "large")),
    ]


# --- messages in a mailbox --------------------------------------------------------------------------------------------


def of_mailboxes(folder: Path, rounds: int) -> list[Chart]:
    """Filing a message, and a POP3 session, by the messages that are there already."""
    filing = Chart("filing-by-mailbox", "Filing one message", "messages in the mailbox", "cpu ms")
    fetching = Chart("login-by-mailbox", "POP3 login and STAT, for each message there", "messages in the mailbox", "µs")
    for size in MAILBOX_SIZES:
        server = our_server(folder / str(size))
        mailbox = server.mailbox(LOGIN)
        fill_maildir(mailbox, size, length_octets=512)
        with server:
            filing.add("filing", size, _filing_cpu_ms(_smtp(server), rounds, is_growing=True))
            before = count_files(mailbox / "new")
            fetching.add("login", size, _login_ms(server, rounds) * 1e3 / before)
    return [filing, fetching]


def _login_ms(server: Server, rounds: int) -> float:
    """A warm login and STAT."""
    took = []
    for _ in range(rounds + 1):
        client = Client(server.ports["pop3"])
        began = time.perf_counter()
        client.login_and_stat()
        took.append((time.perf_counter() - began) * 1e3)
        client.close()
    return median(took[1:])


# --- accounts ---------------------------------------------------------------------------------------------------------


def of_accounts(folder: Path, rounds: int) -> Chart:
    """Filing a message by the number of accounts there are."""
    chart = Chart("filing-by-accounts", "Filing one message", "accounts", "cpu ms")
    for count in ACCOUNTS:
        server = our_server(folder / str(count))
        add_accounts(server, [f"user{number}@example.test" for number in range(count - 1)])
        with server:
            chart.add("filing", count, _filing_cpu_ms(_smtp(server), rounds))
    return chart


# --- the queue --------------------------------------------------------------------------------------------------------


def of_queue(folder: Path, rounds: int) -> list[Chart]:
    """The start, memory, and new mail, by what waits in the queue."""
    start = Chart("start-by-queue", "From start to the first banner", "messages queued", "ms")
    filing = Chart("filing-by-queue", "Filing one message", "messages queued", "cpu ms")
    memory = Chart("memory-by-queue", "Resident memory", "messages queued", "MB")
    for count in QUEUED:
        server = our_server(folder / str(count))
        with server:
            server.stop()  # makes the folders
        fill_queue(SpoolPaths(server.state), count)
        took = []
        for _ in range(rounds):
            took.append(start_ms(server))
            server.stop()
        start.add("start", count, median(took))
        with server:
            _wait_until_quiet(server)
            memory.add("resident", count, resident_octets(server.pid) / 1e6)
            filing.add("filing", count, _filing_cpu_ms(_smtp(server), rounds))
    return [start, filing, memory]


def start_ms(server: Server) -> float:
    """From the command to the first octet of a banner; the server runs after that."""
    began = time.perf_counter()
    server.launch()
    while True:
        if takes_connections(server.ports["smtp"]):
            connection = greeted(server.ports["smtp"])
            if connection is not None:
                took = (time.perf_counter() - began) * 1e3
                connection.close()
                return took
        if time.perf_counter() - began > 60:
            raise TimeoutError(f"no banner: {server.log}")
        time.sleep(0.001)


def _wait_until_quiet(server: Server) -> None:
    """Until the whole queue is loaded: the server has nothing to do any more."""

    def is_quiet() -> bool:
        before = cpu_seconds(server.pid)
        time.sleep(0.3)
        return cpu_seconds(server.pid) - before < 0.02

    wait_until(is_quiet, 120.0, "the queue is loaded")


def start_with(folder: Path, rounds: int, *, filed: int, queued: int) -> float:
    """Milliseconds from the command to the first banner, the median."""
    server = our_server(folder)
    with server:
        server.stop()  # makes the folders
    fill_maildir(server.mailbox(LOGIN), filed, length_octets=512)
    fill_queue(SpoolPaths(server.state), queued)
    took = []
    for _ in range(rounds):
        took.append(start_ms(server))
        server.stop()
    return median(took)


# --- connections ------------------------------------------------------------------------------------------------------


def of_idle(folder: Path) -> Chart:
    """Resident memory by connections that do nothing."""
    chart = Chart("memory-by-connections", "Resident memory", "idle connections", "MB")
    with our_server(folder) as server:
        held: list[socket.socket] = []
        try:
            for count in IDLE:
                while len(held) < count:
                    connection = greeted(server.ports["smtp"])
                    if connection is None:
                        raise RuntimeError(f"connection {len(held) + 1} was turned away")
                    connection.sendall(b"EHLO idle.test\r\n")
                    connection.recv(4096)
                    held.append(connection)
                chart.add("idle", count, resident_octets(server.pid) / 1e6)
        finally:
            for connection in held:
                connection.close()
    return chart


def of_large(folder: Path) -> Chart:
    """The highest resident memory by the number of 50 MiB messages that come at the same time."""
    chart = Chart("memory-by-large", "Peak resident memory", "messages of 50 MiB at once", "MB")
    with our_server(folder, {"smtp": {"max_message_size": "60MB", "max_connections_per_client": 2000}}) as server:
        smtp = _smtp(server)
        send(smtp, Load("warm up", 2, 20))
        for count in LARGE_AT_ONCE:
            smtp.empty()
            reset_peaks(server.pid)
            send(smtp, Load(f"{count} large", count, count, LARGE_OCTETS))
            chart.add("peak", count, resident_octets(server.pid, "VmHWM") / 1e6)
    return chart


# --- what they share --------------------------------------------------------------------------------------------------


def _smtp(server: Server) -> SmtpServer:
    return SmtpServer(OURS, server.ports["smtp"], LOGIN, server.mailbox(LOGIN), server.pid)


def _filing_cpu_ms(server: SmtpServer, rounds: int, *, is_growing: bool = False) -> float:
    """Processor time for each message of a load; the mailbox is emptied between rounds unless it is what grows."""
    load = Load("growth", CONNECTIONS, MESSAGES)
    send(server, Load("warm up", 2, 20))
    took = []
    for _ in range(rounds):
        if not is_growing:
            server.empty()
        before = cpu_seconds(server.group)
        send(server, load)
        took.append((cpu_seconds(server.group) - before) / load.messages * 1e3)
    return median(took)


def write_plots(charts: list[Chart], folder: Path, say: Callable[[str], object] = print) -> None:
    """One SVG file for each chart."""
    folder.mkdir(parents=True, exist_ok=True)
    for chart in charts:
        (folder / f"{chart.name}.svg").write_text(chart.svg(), encoding="utf-8")
    say(f"plots are in {folder}")
