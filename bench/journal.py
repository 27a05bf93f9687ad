"""What the journal costs: the same load with and without it, in interleaved rounds.

usage: python -m bench.journal [--rounds N] [--json FILE]

Two of our servers run side by side, one with `[journal] enabled = false`; each round sends to one and then to the
other, in turns about who comes first. The medians count. Nothing is compared with other programs here.
"""

import argparse
import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench.deliver import Figures, Load, one_round, send
from bench.measure import median, own_folder
from bench.pop3 import LOGIN
from bench.servers import SmtpServer, our_server
from tests.peers.running import open_folder

LOADS = (
    Load("4 KiB, 10 connections", 10, 1500),
    Load("4 KiB, 10 kept open", 10, 2000, keeps_open=True),
    Load("4 KiB, 1 kept open", 1, 600, keeps_open=True),
)
ON, OFF = "with journal", "without"
# What the journal may cost of the throughput.
ALLOWED = 0.10


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.journal", description="What the journal costs.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each load (default 7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    arguments = parser.parse_args()
    with open_folder() as folder, ExitStack() as stack:
        base = folder / "journal"
        base.mkdir(mode=0o711)
        servers = [
            started(stack, base, ON, {"journal": {"enabled": True}}),
            started(stack, base, OFF, {"journal": {"enabled": False}}),
        ]
        results = {load.title: measure(servers, load, arguments.rounds) for load in LOADS}
    print_results(results)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def started(stack: ExitStack, base: Path, name: str, settings: dict[str, dict[str, object]]) -> SmtpServer:
    """A running server of ours, warmed up."""
    running = stack.enter_context(our_server(own_folder(base, name.replace(" ", "-")), settings))
    server = SmtpServer(name, running.ports["smtp"], LOGIN, running.mailbox(LOGIN), running.pid)
    send(server, Load("warm up", 4, 200))
    server.empty()
    return server


def measure(servers: list[SmtpServer], load: Load, rounds: int) -> dict[str, dict[str, float]]:
    """Medians by server."""
    samples: dict[str, list[Figures]] = {server.name: [] for server in servers}
    for number in range(rounds):
        for server in servers if number % 2 else reversed(servers):
            samples[server.name].append(one_round(server, load))
    return {
        name: {key: median([asdict(one)[key] for one in figures]) for key in Figures.__dataclass_fields__}
        for name, figures in samples.items()
    }


def print_results(results: dict[str, dict[str, dict[str, float]]]) -> None:
    """A line for each load and figure; a positive cost is what the journal takes."""
    print(f"{'':<26}{'':<12}{ON:>14}{OFF:>14}{'cost':>9}")
    for title, by_server in results.items():
        on, off = by_server[ON], by_server[OFF]
        cost = 1 - on["messages_per_s"] / off["messages_per_s"]
        verdict = "" if cost <= ALLOWED else f"  more than {ALLOWED:.0%}"
        print_row(title, "msg/s", ",.0f", on["messages_per_s"], off["messages_per_s"], cost, verdict)
        cost = on["cpu_ms_per_message"] / off["cpu_ms_per_message"] - 1
        print_row("", "cpu ms/msg", ".3f", on["cpu_ms_per_message"], off["cpu_ms_per_message"], cost, "")


def print_row(title: str, unit: str, shape: str, on: float, off: float, cost: float, verdict: str) -> None:
    print(f"{title:<26}{unit:<12}{on:>14{shape}}{off:>14{shape}}{cost:>9.1%}{verdict}", flush=True)


if __name__ == "__main__":
    main()
