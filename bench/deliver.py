"""Receive by SMTP and file into a Maildir: small messages at several numbers of connections, and large ones.

The load comes from Postfix's `smtp-source`. A round counts until every file is really in the Maildir: for us that is
when the last 250 is out, for Postfix it is some time later.
"""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from bench.measure import count_files, cpu_seconds, median, reset_peaks, resident_octets, wait_until
from bench.servers import SmtpServer
from tests.peers.programs import need_peer, peer_environment

ROUND_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What one round sends. `keeps_open`: many messages on each connection instead of a new one for each."""

    title: str
    connections: int
    messages: int
    length_octets: int = 4096
    keeps_open: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds of one load against one server."""

    messages_per_s: float
    megabytes_per_s: float
    cpu_ms_per_message: float
    peak_rss_mb: float


SMALL = (
    Load("4 KiB, 1 connection", 1, 400),
    Load("4 KiB, 10 connections", 10, 1500),
    Load("4 KiB, 50 connections", 50, 2000),
    Load("4 KiB, 1 kept open", 1, 600, keeps_open=True),
    Load("4 KiB, 10 kept open", 10, 2000, keeps_open=True),
)
# For servers that take their time, and no more than a hundred messages on one connection.
FEW = tuple(replace(load, messages=load.messages // 6) for load in SMALL)
LARGE = (
    Load("25 MiB, 1 at a time", 1, 3, 25 << 20),
    Load("25 MiB, 8 at once", 8, 16, 25 << 20),
)


def send(server: SmtpServer, load: Load) -> None:
    """Send it all; CalledProcessError when the server refuses anything."""
    command = [
        need_peer("usr/sbin/smtp-source"),
        "-4",
        "-M",
        "load.test",
        "-f",
        "ann@load.test",
        "-t",
        server.recipient,
    ]
    command += ["-s", str(load.connections), "-m", str(load.messages), "-l", str(load.length_octets)]
    if load.keeps_open:
        command.append("-d")
    command.append(f"127.0.0.1:{server.port}")
    subprocess.run(command, env=peer_environment(), check=True, timeout=ROUND_TIMEOUT_S, capture_output=True)


def one_round(server: SmtpServer, load: Load) -> Figures:
    """Empty the Maildir, send, wait for the last file."""
    server.empty()
    new = server.maildir / "new"
    reset_peaks(server.group)
    cpu_before, began = cpu_seconds(server.group), time.perf_counter()
    send(server, load)
    wait_until(lambda: count_files(new) >= load.messages, ROUND_TIMEOUT_S, f"{server.name}, {load.title}")
    took, cpu = time.perf_counter() - began, cpu_seconds(server.group) - cpu_before
    return Figures(
        messages_per_s=load.messages / took,
        megabytes_per_s=load.messages * load.length_octets / took / 1e6,
        cpu_ms_per_message=cpu / load.messages * 1e3,
        peak_rss_mb=resident_octets(server.group, "VmHWM") / 1e6,
    )


def measure(servers: Sequence[SmtpServer], loads: Sequence[Load], rounds: int) -> dict[str, dict[str, dict]]:
    """Medians by load and server. Rounds are interleaved, so that a slow minute of the machine hits all alike."""
    for server in servers:
        send(server, Load("warm up", min(2, server.most_connections), 20))
        server.empty()
    result: dict[str, dict[str, dict]] = {}
    for load in loads:
        able = [server for server in servers if load.connections <= server.most_connections]
        samples: dict[str, list[Figures]] = {server.name: [] for server in able}
        for _ in range(rounds):
            for server in able:
                samples[server.name].append(one_round(server, load))
        result[load.title] = {name: asdict(_medians(figures)) for name, figures in samples.items()}
    return result


def _medians(figures: Sequence[Figures]) -> Figures:
    return Figures(*(median([getattr(one, name) for one in figures]) for name in Figures.__dataclass_fields__))
