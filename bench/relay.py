"""Accept for a remote domain and hand on to a sink: until all messages are there.

The load comes from Postfix's `smtp-source`, and `smtp-sink` takes it all and counts. Each server has a sink of its own,
at a fixed next hop, so no DNS is asked. Both run as they come, but for the right of this machine to relay.
"""

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.deliver import Load, send
from bench.measure import cpu_seconds, median, wait_until
from bench.servers import OURS, SmtpServer, our_server
from tests.peers.postfix import Postfix
from tests.peers.programs import need_peer, peer_environment
from tests.peers.running import HOST, free_port, takes_connections

DOMAIN = "sink.test"
ROUND_TIMEOUT_S = 60.0
LOADS = (
    Load("4 KiB, 1 connection", 1, 2000),
    Load("4 KiB, 10 connections", 10, 2000),
)
_COUNTED = re.compile(rb"mesg=(\d+)")
# The sink's counters are one short line for each message; the last one is enough.
_TAIL_OCTETS = 256


class Sink:
    """Postfix's `smtp-sink`: takes everything, keeps nothing, counts."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._counters = folder / f"sink-{self.port}"
        command = [need_peer("usr/sbin/smtp-sink"), "-4", "-c", "-u", "nobody", f"{HOST}:{self.port}", "200"]
        with self._counters.open("wb") as counters:
            self._process = subprocess.Popen(command, env=peer_environment(), stdout=counters, stderr=counters)
        try:
            wait_until(lambda: takes_connections(self.port), 10.0, "the sink listens")
        except TimeoutError:
            self.stop()
            raise

    @property
    def messages(self) -> int:
        """How many it has taken so far."""
        with self._counters.open("rb") as counters:
            counters.seek(max(0, counters.seek(0, 2) - _TAIL_OCTETS))
            found = _COUNTED.findall(counters.read())
        return int(found[-1]) if found else 0

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(5)


@dataclass(frozen=True, slots=True)
class Relay:
    """A running server and the sink behind it."""

    server: SmtpServer
    sink: Sink


@contextmanager
def ours(folder: Path) -> Iterator[Relay]:
    """Our server, with a fixed route to the sink."""
    sink = Sink(folder.parent)
    settings: dict[str, dict[str, object]] = {
        "smtp": {"max_connections_per_client": 2000, "trusted_networks": [f"{HOST}/32"]},
        "relay": {"routes": {DOMAIN: f"{HOST}:{sink.port}"}},
    }
    try:
        with our_server(folder, settings) as server:
            yield Relay(SmtpServer(OURS, server.ports["smtp"], f"bob@{DOMAIN}", folder, server.pid), sink)
    finally:
        sink.stop()


@contextmanager
def postfix(folder: Path) -> Iterator[Relay]:
    """Postfix, with the sink as its relay host."""
    sink = Sink(folder.parent)
    folder.mkdir()
    settings = {
        "smtpd_client_connection_count_limit": "0",
        "mynetworks": "127.0.0.0/8",
        "relayhost": f"[{HOST}]:{sink.port}",
    }
    running = Postfix(folder, users=(), settings=settings).start()
    try:
        yield Relay(SmtpServer("Postfix", running.port, f"bob@{DOMAIN}", folder, running.pid), sink)
    finally:
        running.stop()
        sink.stop()


def one_round(relay: Relay, load: Load) -> dict[str, float]:
    """Send, wait until the sink has all, and some moments more: who was last must be out of the queue as well."""
    server, sink = relay.server, relay.sink
    target = sink.messages + load.messages
    cpu_before, began = cpu_seconds(server.group), time.perf_counter()
    send(server, load)
    accepted = time.perf_counter() - began
    wait_until(lambda: sink.messages >= target, ROUND_TIMEOUT_S, f"{server.name}, {load.title}")
    took = time.perf_counter() - began
    # The last removals: they count as work of this round, and do not disturb the next one.
    time.sleep(0.5)
    return {
        "messages_per_s": load.messages / took,
        "accepted_per_s": load.messages / accepted,
        "cpu_ms_per_message": (cpu_seconds(server.group) - cpu_before) / load.messages * 1e3,
    }


def measure(relays: Sequence[Relay], rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Medians by load and server, of interleaved rounds."""
    for relay in relays:
        one_round(relay, Load("warm up", 2, 50))
    result: dict[str, dict[str, dict[str, float]]] = {}
    for load in LOADS:
        samples: dict[str, list[dict[str, float]]] = {relay.server.name: [] for relay in relays}
        for _ in range(rounds):
            for relay in relays:
                samples[relay.server.name].append(one_round(relay, load))
        result[load.title] = {
            name: {key: median([one[key] for one in figures]) for key in figures[0]}
            for name, figures in samples.items()
        }
    return result
