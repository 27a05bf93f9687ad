"""Starts the next hop (`sink`) as a process of its own, and surely ends it."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from tests.soak import moments as at

_MOMENTS = {"took": at.TOOK, "refused": at.REFUSED}


class SinkProcess:
    """`port` is where it listens; `reached` is told what it does, from a thread."""

    def __init__(self, ledger: Path, reached: Callable[[str], None]) -> None:
        self._reached = reached
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.sink", str(ledger)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._process.stdout.readline())
        self._reader = threading.Thread(target=self._listen)
        self._reader.start()

    def _listen(self) -> None:
        for line in self._process.stdout:
            self._reached(_MOMENTS[line.strip()])

    def __enter__(self) -> "SinkProcess":
        return self

    def __exit__(self, *details: object) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._reader.join(10)
        self._process.stdout.close()
