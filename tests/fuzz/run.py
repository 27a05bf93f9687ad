"""`make fuzz`: all targets on all cores, so many inputs each as `table` says.

    python -m tests.fuzz.run                     everything
    python -m tests.fuzz.run --short             a minute of it, and a planted fault that must be found; for CI
    python -m tests.fuzz.run --only NAME --scale 0.1
    python -m tests.fuzz.run --replay FILE       one input again, without a fuzzer; in any environment

What is found stays in `.cache/fuzz/findings`, named after its target. The exit status is 1 when there is any. Inputs
that reached something new stay in `.cache/fuzz/corpus`, where the next run begins.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from tests.fuzz.table import PLANTED, TARGETS, Target, target_named

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "fuzz"
FINDINGS = CACHE / "findings"
# One process does no more than this, so that the cores are busy to the end.
MOST_AT_ONCE = 100_000
# One input that takes longer, or needs more memory, is a finding. The memory is that of the whole process.
INPUT_TIMEOUT_S = 10
MEMORY_MB = 512
# One share; fewer than eighty inputs a second would be a finding too.
LONGEST_S = 1_200
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


@dataclass(frozen=True)
class Share:
    """What one process does."""

    target: Target
    count: int
    number: int


@dataclass(frozen=True)
class Done:
    """What came of a share. `trouble` is empty, or the end of what the process said."""

    target: Target
    executed: int
    cpu_s: float
    trouble: str


def shares(targets: Sequence[Target], *, short: bool, scale: float) -> list[Share]:
    """The work, the targets mixed, so that a finding in any of them shows early."""
    out = []
    for target in targets:
        left = max(1, int((target.short_count if short else target.count) * scale))
        number = 0
        while left > 0:
            out.append(Share(target, min(left, MOST_AT_ONCE), number))
            left -= MOST_AT_ONCE
            number += 1
    return sorted(out, key=lambda share: share.number)


def write_seeds(target: Target, corpus: Path) -> None:
    """Seeds, and what was found before, where libFuzzer looks for inputs."""
    corpus.mkdir(parents=True, exist_ok=True)
    kept = Path(__file__).parent / "findings"
    found = [path.read_bytes() for path in sorted(kept.glob(f"{target.name}-*"))]
    for number, seed in enumerate([*target.seeds(), *found]):
        (corpus / f"seed-{number}").write_bytes(seed)


class Worker:
    """A process that instruments once and then takes one share after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.one_target"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, share: Share) -> Done:
        """One share, to its end or its first finding."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        name = share.target.name
        log = CACHE / "logs" / f"{name}-{share.number}.log"
        order = [
            str(log), name, f"-runs={share.count}", "-print_final_stats=1", f"-max_len={share.target.max_octets}",
            f"-artifact_prefix={FINDINGS}/{name}-", f"-timeout={INPUT_TIMEOUT_S}", f"-rss_limit_mb={MEMORY_MB}",
            f"-max_total_time={LONGEST_S}", "-reload=0", str(CACHE / "corpus" / name),
        ]  # fmt: skip
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            return Done(share.target, 0, 1.0, "the process that runs the targets has ended; see above")
        status, cpu_s = json.loads(answer)
        said = log.read_text(errors="replace")
        executed = _EXECUTED.search(said)
        count = int(executed[1]) if executed else 0
        is_good = status == 0 and count >= share.count
        return Done(share.target, count, cpu_s, "" if is_good else f"{said[-4000:]}\nexit status {status}")

    def close(self) -> None:
        """No more orders."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def work(todo: "SimpleQueue[Share]") -> list[Done]:
    """One core's part: shares until there are no more."""
    worker, done = Worker(), []
    with contextlib.suppress(Empty):
        while True:
            done.append(worker.do(todo.get_nowait()))
    worker.close()
    return done


def report(done: Sequence[Done]) -> int:
    """The table, and the exit status. Seconds are of processor time: other work on the machine does not count."""
    by_target: dict[str, list[Done]] = defaultdict(list)
    for one in done:
        by_target[one.target.name].append(one)
    print(f"{'target':<20}{'inputs':>12}{'a second':>12}")
    for name, parts in by_target.items():
        executed, cpu_s = sum(one.executed for one in parts), sum(one.cpu_s for one in parts)
        print(f"{name:<20}{executed:>12,}{executed / cpu_s:>12,.0f}")
    print(f"{'all':<20}{sum(one.executed for one in done):>12,}")
    troubled = [one for one in done if one.trouble]
    for one in troubled:
        print(f"\n--- {one.target.name}\n{one.trouble}")
    found = sorted(path for path in FINDINGS.iterdir())
    for path in found:
        print(
            f"\nfound: {path.relative_to(ROOT)}; again with: python -m tests.fuzz.run --replay {path.relative_to(ROOT)}"
        )
    return 1 if troubled or found else 0


def finds_what_is_planted() -> bool:
    """Whether a fault is found at all. Its input does not stay."""
    write_seeds(PLANTED, CACHE / "corpus" / PLANTED.name)
    worker = Worker()
    done = worker.do(Share(PLANTED, PLANTED.count, 0))
    worker.close()
    found = list(FINDINGS.glob(f"{PLANTED.name}-crash-*"))
    for path in found:
        path.unlink()
    if not found:
        print(f"the planted fault was not found:\n{done.trouble}")
    return bool(found)


def forget_what_is_mended() -> None:
    """Of what earlier runs found, only that stays which is still so."""
    for path in FINDINGS.glob("*-crash-*"):
        try:
            replay(path)
        except Exception as error:  # noqa: BLE001 - that is what a finding is
            print(f"{path.name}: still {type(error).__name__}")
        else:
            path.unlink()


def replay(path: Path) -> None:
    """One input again; the traceback of a finding comes out."""
    target_named(path.name.partition("-")[0]).run(path.read_bytes())
    print(f"{path}: nothing was found")


def main(arguments: Sequence[str] | None = None) -> int:
    """0: nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run")
    parser.add_argument("--short", action="store_true", help="the bounded part, for CI")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this target; may be repeated")
    parser.add_argument("--scale", type=float, default=1.0, help="so many times the inputs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at the same time")
    parser.add_argument("--replay", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.replay:
        replay(options.replay)
        return 0
    for folder in (FINDINGS, CACHE / "logs"):
        folder.mkdir(parents=True, exist_ok=True)
    forget_what_is_mended()
    targets = [target_named(name) for name in options.only] or TARGETS
    for target in targets:
        write_seeds(target, CACHE / "corpus" / target.name)
    if not finds_what_is_planted():
        return 1
    todo: SimpleQueue[Share] = SimpleQueue()
    for share in shares(targets, short=options.short, scale=options.scale):
        todo.put(share)
    with ThreadPoolExecutor(options.jobs) as pool:
        parts = list(pool.map(work, [todo] * options.jobs))
    return report([one for part in parts for one in part])


if __name__ == "__main__":
    sys.exit(main())
