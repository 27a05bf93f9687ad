"""A server that starts with 100,000 queued messages: banner, until all are loaded, memory, and their list.

The real process, with queue files as `queue_load` writes them (nothing is due). `queue_load` alone measures the loading
without everything around it.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.growth import start_ms
from bench.measure import cpu_seconds, median, resident_octets
from bench.queue_load import fill
from bench.servers import our_server
from mailserver.store.spool_format import SpoolPaths
from tests.integration.server import Server

# A server that took no processor time for so long has nothing to load any more.
_QUIET_S = 0.6
_LOAD_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians. `loaded_s` counts from the command that starts the server, like `banner_ms`."""

    banner_ms: float
    loaded_s: float
    octets_per_message: float
    list_s: float


def measure(folder: Path, count: int, rounds: int) -> dict[str, float]:
    """Start with an empty queue and with `count` messages."""
    server = our_server(folder)
    samples = []
    try:
        _start(server)
        empty = resident_octets(server.pid)
        server.stop()
        fill(SpoolPaths(server.state), count)
        for _ in range(rounds):
            banner_ms, loaded_s = _start(server)
            memory = (resident_octets(server.pid) - empty) / count
            samples.append(Figures(banner_ms, loaded_s, memory, _list_s(server, count)))
            server.stop()
    finally:
        server.kill()
    return {key: median([asdict(one)[key] for one in samples]) for key in Figures.__dataclass_fields__}


def _start(server: Server) -> tuple[float, float]:
    """Milliseconds to the first banner, seconds until the server had nothing to do any more."""
    began = time.perf_counter()
    banner_ms = start_ms(server)
    cpu, worked_at = cpu_seconds(server.pid), time.perf_counter()
    while (now := time.perf_counter()) - worked_at < _QUIET_S:
        if now - began > _LOAD_TIMEOUT_S:
            raise TimeoutError(f"still loading after {_LOAD_TIMEOUT_S:g} s")
        time.sleep(0.02)
        if (spent := cpu_seconds(server.pid)) > cpu:
            cpu, worked_at = spent, time.perf_counter()
    return banner_ms, worked_at - began


def _list_s(server: Server, count: int) -> float:
    """`mailserver queue list --json`, as an operator calls it."""
    began = time.perf_counter()
    printed = server.cli("queue", "list", "--json")
    took = time.perf_counter() - began
    listed = printed.count('"received_at"')
    if listed != count:
        raise AssertionError(f"{listed} messages listed instead of {count}")
    return took
