"""Runs the benchmarks and prints medians and ratios; see README.md.

usage: python -m bench.run [--rounds N] [--only PART ...] [--without-peers] [--json FILE]; parts as in README.md.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import deliver, fetch, growth, idle, mailboxes, pop3, queue_start, relay, servers, sessions
from bench.goals import GOALS, Goal
from bench.measure import median, own_folder
from tests.peers.running import open_folder

KINDS = (
    "deliver", "large", "others", "relay", "pop3", "foreign", "boxes", "fetch", "logins", "handshakes", "idle", "start",
    "queue", "growth",
)  # fmt: skip
MAILBOX_SIZE, RETRIEVED = 10_000, 1_000
IDLE_CONNECTIONS = 1_000
FILED, QUEUED = 100_000, 10_000
LONG_QUEUE = 100_000
PLOTS = Path(__file__).parents[1] / "docs" / "growth"

Row = tuple[str, str, float, float | None, bool]  # what, unit, ours, theirs, whether more is better


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.run", description="What this server does beside Postfix and Dovecot.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each measurement (default 3)")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="what to measure (default: everything)")
    parser.add_argument("--without-peers", action="store_true", help="this server alone, without ratios")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    arguments = parser.parse_args()
    # An installed server does not compile its modules at each start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.monotonic()
    results: dict[str, object] = {
        "machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "rounds": arguments.rounds,
    }
    with open_folder() as folder:
        for kind in arguments.only:
            measured, rows = _MEASUREMENTS[kind](folder / kind, arguments.rounds, not arguments.without_peers)
            results[kind] = measured
            if rows:
                print_rows(kind, rows)
    print(f"\n{time.monotonic() - began:.0f} s in all")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def measure_deliver(
    loads: Iterable[deliver.Load], folder: Path, rounds: int, with_peers: bool
) -> tuple[dict[str, dict[str, dict]], list[Row]]:
    """Receiving and filing, ours and Postfix's."""
    with ExitStack() as stack:
        folder.mkdir(mode=0o711)
        running = [stack.enter_context(servers.ours(own_folder(folder, "ours")))]
        if with_peers:
            running.append(stack.enter_context(servers.postfix(own_folder(folder, "postfix"))))
        measured = deliver.measure(running, list(loads), rounds)
    rows: list[Row] = []
    for title, by_server in measured.items():
        ours, theirs = by_server[servers.OURS], by_server.get("Postfix", {})
        is_large = "MiB" in title
        rate = "megabytes_per_s" if is_large else "messages_per_s"
        rows.append((title, "MB/s" if is_large else "msg/s", ours[rate], theirs.get(rate), True))
        rows.append(("", "cpu ms/msg", ours["cpu_ms_per_message"], theirs.get("cpu_ms_per_message"), False))
        if is_large:
            rows.append(("", "peak RSS, MB", ours["peak_rss_mb"], theirs.get("peak_rss_mb"), False))
    return measured, rows


def measure_others(folder: Path, rounds: int, with_peers: bool) -> tuple[dict[str, dict[str, dict]], list[Row]]:
    """Receiving and filing beside everybody else, without ratios: few of them have on disk what they acknowledge."""
    folder.mkdir(mode=0o711)
    starters = {"ours": servers.ours}
    if with_peers:
        starters |= {
            "postfix": servers.postfix,
            "chasquid": servers.chasquid,
            "opensmtpd": servers.opensmtpd,
            "aiosmtpd": servers.aiosmtpd,
            "skeleton": servers.skeleton,
        }
    with ExitStack() as stack:
        running = [stack.enter_context(start(own_folder(folder, name))) for name, start in starters.items()]
        measured = deliver.measure(running, deliver.FEW, rounds)
    titles = [load.title.removeprefix("4 KiB, ") for load in deliver.SMALL]
    print(f"\n{'others, 4 KiB, msg/s':<24}{'syncs':<18}{''.join(f'{title:>16}' for title in titles)}{'cpu ms/msg':>12}")
    for server in running:
        figures = [by_server.get(server.name) for by_server in measured.values()]
        rates = "".join(f"{_figure(one['messages_per_s']) if one else '-':>16}" for one in figures)
        cpu_ms = median([one["cpu_ms_per_message"] for one in figures if one])
        print(f"{server.name:<24}{server.syncs:<18}{rates}{_figure(cpu_ms):>12}", flush=True)
    return measured, []


def measure_relay(folder: Path, rounds: int, with_peers: bool) -> tuple[dict[str, dict[str, dict]], list[Row]]:
    """Receiving for another domain and handing on, ours and Postfix's."""
    with ExitStack() as stack:
        folder.mkdir(mode=0o711)
        running = [stack.enter_context(relay.ours(own_folder(folder, "ours")))]
        if with_peers:
            running.append(stack.enter_context(relay.postfix(own_folder(folder, "postfix"))))
        measured = relay.measure(running, rounds)
    rows: list[Row] = []
    for title, by_server in measured.items():
        ours, theirs = by_server[servers.OURS], by_server.get("Postfix", {})
        rows.append((title, "msg/s", ours["messages_per_s"], theirs.get("messages_per_s"), True))
        rows.append(("", "cpu ms/msg", ours["cpu_ms_per_message"], theirs.get("cpu_ms_per_message"), False))
    return measured, rows


def measure_pop3(
    sizes_in_names: bool, folder: Path, rounds: int, with_peers: bool
) -> tuple[dict[str, dict], list[Row]]:
    """Fetching from a large mailbox, ours and Dovecot's."""
    with ExitStack() as stack:
        folder.mkdir(mode=0o711)
        pop3.fill(folder / "source", MAILBOX_SIZE, sizes_in_names=sizes_in_names)
        fill = partial(pop3.copy, folder / "source")
        running = [stack.enter_context(servers.ours_with_mailbox(own_folder(folder, "ours"), fill))]
        if with_peers:
            running.append(stack.enter_context(servers.dovecot(own_folder(folder, "dovecot"), fill)))
        measured = pop3.measure(running, MAILBOX_SIZE, RETRIEVED, rounds)
    columns = (
        ("login and STAT, cold", "cold_login_ms", "ms", False),
        ("login and STAT, warm", "warm_login_ms", "ms", False),
        ("LIST and UIDL", "list_uidl_ms", "ms", False),
        ("RETR one by one", "retr_one_by_one_per_s", "msg/s", True),
        ("RETR pipelined", "retr_pipelined_per_s", "msg/s", True),
    )
    return measured, _rows(measured, "Dovecot", columns)


def measure_boxes(folder: Path, rounds: int, with_peers: bool) -> tuple[dict[str, dict], list[Row]]:
    """Logins to a small and a very large mailbox, ours and Dovecot's."""
    with ExitStack() as stack:
        running = _with_mailboxes(stack, folder, fetch.ACCOUNTS, with_peers)
        measured = fetch.measure_boxes(running, rounds)
    columns = [
        (f"{count:,}: login, STAT, {state}", f"{count:,} {state}", "ms", False)
        for count in fetch.BOXES
        for state in ("cold", "warm")
    ]
    return measured, _rows(measured, "Dovecot", columns)


def measure_fetch(folder: Path, rounds: int, with_peers: bool) -> tuple[dict[str, dict], list[Row]]:
    """Many clients at once, a large message, and deleting all, ours and Dovecot's."""
    with ExitStack() as stack:
        running = _with_mailboxes(stack, folder, fetch.ACCOUNTS, with_peers)
        measured = fetch.measure_fetching(running, own_folder(folder, "sources"), rounds)
    columns = (
        ("RETR, 20 clients", "many_clients_per_s", "msg/s", True),
        ("RETR of 25 MiB", "large_mb_per_s", "MB/s", True),
        ("DELE 1,000 and QUIT", "delete_all_ms", "ms", False),
    )
    return measured, _rows(measured, "Dovecot", columns)


def measure_logins(folder: Path, rounds: int, with_peers: bool) -> tuple[dict[str, dict], list[Row]]:
    """POP3 sessions a second, ours and Dovecot's."""
    with ExitStack() as stack:
        measured = sessions.measure_logins(_with_mailboxes(stack, folder, sessions.ACCOUNTS, with_peers), rounds)
    columns = (("POP3 logins", "plain", "/s", True), ("POP3S logins", "tls", "/s", True))
    return measured, _rows(measured, "Dovecot", columns)


def _with_mailboxes(
    stack: ExitStack, folder: Path, accounts: Sequence[str], with_peers: bool
) -> list[mailboxes.MailboxServer]:
    folder.mkdir(mode=0o711)
    running = [stack.enter_context(mailboxes.ours(own_folder(folder, "ours"), accounts))]
    if with_peers:
        running.append(stack.enter_context(mailboxes.dovecot(own_folder(folder, "dovecot"), accounts)))
    return running


def measure_handshakes(folder: Path, rounds: int, with_peers: bool) -> tuple[dict[str, dict], list[Row]]:
    """STARTTLS, alone and with a message, ours and Postfix's."""
    with ExitStack() as stack:
        folder.mkdir(mode=0o711)
        running = [stack.enter_context(sessions.ours(own_folder(folder, "ours")))]
        if with_peers:
            running.append(stack.enter_context(sessions.postfix(own_folder(folder, "postfix"))))
        measured = sessions.measure_handshakes(running, rounds)
    columns = (
        ("STARTTLS", "handshakes", "/s", True),
        ("STARTTLS", "handshakes_cpu_ms", "cpu ms each", False),
        ("STARTTLS and 4 KiB", "messages", "msg/s", True),
        ("STARTTLS and 4 KiB", "messages_cpu_ms", "cpu ms/msg", False),
    )
    return measured, _rows(measured, "Postfix", columns)


def measure_idle(folder: Path, rounds: int, with_peers: bool) -> tuple[dict[str, dict], list[Row]]:
    """Idle connections, ours and Postfix's."""
    folder.mkdir(mode=0o711)
    with servers.ours(own_folder(folder, "ours")) as server:
        measured = {server.name: idle.measure(server, IDLE_CONNECTIONS)}
    if with_peers:
        with servers.postfix(own_folder(folder, "postfix")) as server:
            measured[server.name] = idle.measure(server, IDLE_CONNECTIONS)
    columns = (
        ("connections served", "served", "of 1000", True),
        ("memory", "octets_per_connection", "octets each", False),
        ("banner with all idle", "banner_ms", "ms", False),
    )
    return measured, _rows(measured, "Postfix", columns)


def measure_start(folder: Path, rounds: int, with_peers: bool) -> tuple[dict[str, float], list[Row]]:
    """From the command to the first banner. No peer: what a server of several programs calls its start differs."""
    del with_peers
    folder.mkdir(mode=0o711)
    empty_ms = growth.start_with(own_folder(folder, "empty"), 2 * rounds + 1, filed=0, queued=0)
    full_ms = growth.start_with(own_folder(folder, "full"), 2 * rounds + 1, filed=FILED, queued=QUEUED)
    rows: list[Row] = [
        ("start, empty", "ms", empty_ms, None, False),
        ("100,000 filed, 10,000 queued", "ms", full_ms, None, False),
    ]
    return {"empty_ms": empty_ms, "full_ms": full_ms}, rows


def measure_queue(folder: Path, rounds: int, with_peers: bool) -> tuple[dict[str, float], list[Row]]:
    """A start with a very long queue."""
    del with_peers
    folder.mkdir(mode=0o711)
    measured = queue_start.measure(own_folder(folder, "ours"), LONG_QUEUE, rounds)
    rows: list[Row] = [
        ("100,000 queued: banner", "ms", measured["banner_ms"], None, False),
        ("100,000 queued: all loaded", "s", measured["loaded_s"], None, False),
        ("100,000 queued: memory", "octets each", measured["octets_per_message"], None, False),
        ("queue list --json", "s", measured["list_s"], None, False),
    ]
    return measured, rows


def measure_growth(folder: Path, rounds: int, with_peers: bool) -> tuple[dict[str, dict], list[Row]]:
    """How our own costs grow, as plots in docs/growth and as rows."""
    del with_peers
    charts = growth.measure(folder, rounds)
    growth.write_plots(charts, PLOTS)
    rows: list[Row] = []
    for chart in charts:
        for line in chart.series.values():
            rows += [(f"{chart.name}, {size:,.0f}", chart.up, cost, None, False) for size, cost in line]
    return {chart.name: dict(chart.series) for chart in charts}, rows


def _rows(measured: dict[str, dict], peer: str, columns: Iterable[tuple[str, str, str, bool]]) -> list[Row]:
    """A row for each column: its title, the key of the figure, its unit, and whether more is better."""
    ours, theirs = measured[servers.OURS], measured.get(peer, {})
    return [(title, unit, ours[key], theirs.get(key), more) for title, key, unit, more in columns]


def print_rows(kind: str, rows: Iterable[Row]) -> None:
    """One table; a ratio above 1 is in our favor, whichever way the figure counts."""
    print(f"\n{kind:<30}{'':<14}{'ours':>12}{'peer':>12}{'ratio':>10}  goal")
    last = ""
    for title, unit, ours, theirs, more_is_better in rows:
        last = title or last
        peer = "-" if theirs is None else _figure(theirs)
        better, worse = (ours, theirs) if more_is_better else (theirs, ours)
        ratio = None if better is None or worse is None or not worse or better == float("inf") else better / worse
        ratio_text = "-" if ratio is None else f"{ratio:.2f}x"
        goal = _goal_text(GOALS.get((kind, last, unit)), ours, ratio)
        line = f"{title:<30}{unit:<14}{_figure(ours):>12}{peer:>12}{ratio_text:>10}  {goal}"
        print(line.rstrip(), flush=True)


def _goal_text(goal: Goal | None, ours: float, ratio: float | None) -> str:
    if goal is None:
        return ""
    is_met = goal.is_met(ours, ratio)
    return f"{goal} {'' if is_met is None else 'met' if is_met else 'MISSED'}"


def _figure(value: float) -> str:
    if value == float("inf"):
        return "never"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


_MEASUREMENTS = {
    "deliver": partial(measure_deliver, deliver.SMALL),
    "large": partial(measure_deliver, deliver.LARGE),
    "others": measure_others,
    "relay": measure_relay,
    "pop3": partial(measure_pop3, True),
    # A mailbox that another program has filled: its names do not tell the sizes.
    "foreign": partial(measure_pop3, False),
    "boxes": measure_boxes,
    "fetch": measure_fetch,
    "logins": measure_logins,
    "handshakes": measure_handshakes,
    "idle": measure_idle,
    "start": measure_start,
    "queue": measure_queue,
    "growth": measure_growth,
}

if __name__ == "__main__":
    main()
