"""A name server for the real process: `tests.fakes.dns_server` in a process of its own, on a port of the loopback."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.integration.server import free_ports

ROOT = Path(__file__).parents[2]


@contextmanager
def name_server(folder: Path, zone: Mapping[str, object]) -> Iterator[int]:
    """Answers from `zone`, see the server; its port."""
    file, (port,) = folder / "zone.json", free_ports(1)
    file.write_text(json.dumps(zone))
    command = [sys.executable, "-m", "tests.fakes.dns_server", "--port", str(port), str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b"ready")
        yield port
        process.kill()
