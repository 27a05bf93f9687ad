"""Kills the server with SIGKILL under mixed load, and looks for everything it has acknowledged.

Clients send to port 25 and by submission, programs drop messages, users fetch and delete by POP3, an operator holds
and releases, and a next hop in a process of its own takes, puts off, refuses or hangs up. What was acknowledged stands
in a ledger (`book`); after each kill it is compared with the disk and with the next hop's own ledger (`check`). Kills
come at random moments, at aimed ones (`moments`), and while the server starts; some rounds end with SIGTERM, some have
a SIGHUP.

    python -m tests.soak.kill_rounds --rounds 1000 [--seed N] [--keep FOLDER]

At the end everything is drained: then all of it must have arrived. Exit status 1, and a list, when anything is wrong.
"""

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.server import LIMIT_S, Server, wait_until
from tests.soak import moments as at
from tests.soak.check import Check
from tests.soak.load import Load
from tests.soak.log_watch import LogWatch, journal_problems
from tests.soak.places import temporary_files
from tests.soak.sink_process import SinkProcess

# Processor time from the start of the process to the greeting of every port: a busy machine is not the server's fault.
# The greetings themselves must come within `LIMIT_S`.
START_LIMIT_S = 3.0
_STOP_LIMIT_S = 10.0
_JOURNAL_EVERY = 25
# How a round goes, and how often.
_KINDS = {"random": 30, "aimed": 45, "starting": 12, "term": 5, "hup": 8}


@dataclass(slots=True)
class Summary:
    """What a run did and found."""

    kills: int = 0
    rounds: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    fetched: int = 0
    repeated: dict[str, int] = field(default_factory=dict)
    starts_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For people."""
        starts = sorted(self.starts_s)
        lines = [
            f"{self.kills} kills in {sum(self.rounds.values())} rounds: "
            + ", ".join(f"{count} {kind}" for kind, count in sorted(self.rounds.items())),
            f"{self.acknowledged} messages acknowledged",
            *(f"  copies beyond the first {why}: {count}" for why, count in self.repeated.items()),
            f"processor time to the greetings: median {statistics.median(starts):.2f} s, longest {starts[-1]:.2f} s",
        ]
        return "\n".join(lines + ([f"PROBLEM {one}" for one in self.problems] or ["nothing lost, nothing wrong"]))


class Soak:
    """One run in `folder`."""

    def __init__(self, folder: Path, sink: SinkProcess, moments: at.Moments, seed: int) -> None:
        self._chance = random.Random(seed)
        self._moments = moments
        hop = f"127.0.0.1:{sink.port}"
        settings = {
            "relay": {"routes": {"remote.test": hop, "elsewhere.test": hop}, "retry": ["300ms"]},
            # The clients of port 25 speak for strangers' domains and send to the remote one, without logging in.
            "smtp": {"trusted_networks": ["127.0.0.0/8"]},
            # Most submissions do without TLS here, to be quick.
            "submission": {"auth_without_tls": "loopback"},
            # They send more in an hour than people do in a week.
            "caps": {"messages": 0, "recipients": 0, "new_recipients": 0},
        }
        self.server = Server(folder, settings)
        self.load = Load(self.server, folder / "ledger", moments)
        self.check = Check(folder, folder / "ledger", folder / "sink")
        self._log = LogWatch(self.server.output)
        self.summary = Summary()

    # --- rounds -------------------------------------------------------------------------------------------------------

    def run(self, kills: int) -> Summary:
        """So many kills, unless something is wrong before; then the drain."""
        try:
            self._start()
            self._end("term")
            while self.summary.kills < kills and not self.summary.problems:
                kind = self._chance.choices(list(_KINDS), list(_KINDS.values()))[0]
                self._round(kind)
                self.summary.rounds[kind] += 1
            if not self.summary.problems:
                self._drain()
        finally:
            self.server.kill()
            self.load.book.close()
        self.summary.acknowledged = sum(one.is_taken is True for one in self.check.tries.values())
        self.summary.repeated = self.check.copies_beyond_the_first()
        return self.summary

    def _round(self, kind: str) -> None:
        if kind == "starting":
            # Recovery itself must bear it; programs drop messages meanwhile.
            self.server.launch()
            time.sleep(self._chance.uniform(0.05, 0.7))
            self._end("kill")
        else:
            self._start()
            with self.load.at_work(self._chance):
                self._wait_for_the_moment(kind)
                self._end("term" if kind == "term" else "kill")
        self._look()

    def _wait_for_the_moment(self, kind: str) -> None:
        chance = self._chance
        if kind == "aimed":
            time.sleep(chance.uniform(0.0, 0.15))
            moment = chance.choice(at.ALL)
            if self._moments.wait(moment, 0.4):
                time.sleep(at.spread_s(moment, chance))
            return
        time.sleep(chance.uniform(0.02, 0.4))
        if kind == "hup":
            self.server.reload()
            time.sleep(chance.uniform(0.0, 0.1))

    def _start(self) -> None:
        """Start, in time; what was being written when it was killed is gone afterwards."""
        left = temporary_files(self.server.maildirs, self.server.state)
        try:
            self.server.start()
        except AssertionError:
            last = "\n".join(self.server.log.splitlines()[-20:])
            raise AssertionError(f"the server did not start; the end of its log:\n{last}") from None
        took = _processor_s(self.server.pid)
        self.summary.starts_s.append(took)
        if took > START_LIMIT_S:
            self.summary.problems.append(f"the start took {took:.1f} s of processor time")
        still = left & temporary_files(self.server.maildirs, self.server.state)
        self.summary.problems += [f"{path} was left behind by a start" for path, _ in sorted(still)]
        self.load.book.write("started", pid=self.server.pid)

    def _end(self, how: str) -> None:
        pid = self.server.pid
        if how == "kill":
            self.server.kill()
            self.load.book.write("kill", pid=pid)
            self.summary.kills += 1
            return
        status = self.server.stop(_STOP_LIMIT_S + LIMIT_S)
        self.load.book.write("stopped", pid=pid)
        # twistd ends by the signal it was sent, once everything is done.
        if status not in (0, -signal.SIGTERM):
            self.summary.problems.append(f"SIGTERM ended with status {status}")

    def _look(self) -> None:
        found = self.check.problems()
        found += self._log.problems()
        if sum(self.summary.rounds.values()) % _JOURNAL_EVERY == 0:
            found += journal_problems(self.server.state / "journal.sqlite3")
        self.summary.problems += found

    def _drain(self) -> None:
        """Let everything that is held go, wait until nothing is left to do, and look for the last time."""
        self._start()
        self.load.let_all_go()
        wait_until(self.load.is_drained, f"an empty queue; log:\n{self.server.log[-4000:]}", 4 * LIMIT_S)
        self.summary.problems += self._asked_for_its_history()
        self._end("term")
        self.summary.problems += self.check.problems_at_the_end()
        self.summary.problems += self._log.problems()
        self.summary.problems += journal_problems(self.server.state / "journal.sqlite3")
        left = temporary_files(self.server.maildirs, self.server.state)
        self.summary.problems += [f"{path} was left behind" for path, _ in sorted(left)]

    def _asked_for_its_history(self) -> list[str]:
        """The journal answers."""
        if self.server.cli("why", "alice@example.test", "--json").strip():
            return []
        return ["mailserver why knows nothing"]


def _processor_s(pid: int) -> float:
    """What a process has used so far (proc(5), utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_rounds(folder: Path, kills: int, seed: int) -> Summary:
    """So many kills in an empty folder."""
    moments = at.Moments()
    with SinkProcess(folder / "sink", moments.reached) as sink:
        return Soak(folder, sink, moments, seed).run(kills)


def main() -> None:
    parser = argparse.ArgumentParser(prog="kill_rounds", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1000, metavar="KILLS")
    parser.add_argument("--seed", type=int, default=None, help="draw the same loads and moments again")
    parser.add_argument("--keep", type=Path, default=None, help="an empty folder; it is left as it is at the end")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    print(f"{arguments.rounds} kills, seed {seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mailserver-kill-", ignore_cleanup_errors=True) as folder:
        summary = run_rounds(arguments.keep or Path(folder), arguments.rounds, seed)
    print(f"{summary.text()}\n{time.monotonic() - began:.0f} s")
    sys.exit(1 if summary.problems else 0)


if __name__ == "__main__":
    main()
