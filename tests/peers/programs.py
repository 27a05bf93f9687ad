"""Finds the real programs that the peer tests and the benchmarks run, or says how to get them.

Client programs are installed on the machine; servers are only unpacked (see `fetch_peers.sh`), because their packages
exclude each other. A program that is missing is a failure, never a reason to skip.
"""

import os
import shutil
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PEERS_ROOT = Path(os.environ.get("PEERS_DIR", CHECKOUT / ".cache" / "peers")) / "root"

# Debian packages whose name is not the program's.
_PACKAGES = {
    "getmail": "getmail6",
    "swaks": "swaks libnet-ssleay-perl libio-socket-ssl-perl",
    "setpriv": "util-linux",
    "script": "bsdutils",
}


class ProgramMissing(AssertionError):
    """A program the test needs is not on this machine; the text says how to get it."""


def need(name: str) -> str:
    """The path of a client program. Raises `ProgramMissing`."""
    found = shutil.which(name)
    if found is None:
        package = _PACKAGES.get(name, name)
        raise ProgramMissing(
            f"{name} is not installed: run `apt-get install --no-install-recommends {package}`, "
            "or `tests/peers/fetch_peers.sh --clients` for all clients"
        )
    return found


def need_peer(path: str) -> str:
    """The path of a file of an unpacked server, such as `usr/sbin/smtp-source`. Raises `ProgramMissing`."""
    found = PEERS_ROOT / path
    if not found.exists():
        raise ProgramMissing(f"{found} is not there: run `tests/peers/fetch_peers.sh` (after `apt-get update`)")
    return str(found)


def need_root(what: str) -> None:
    """Postfix and Dovecot change users, so only root can start them. Raises `ProgramMissing`."""
    if os.geteuid() != 0:
        raise ProgramMissing(f"{what} can only be started by root: run `make test-peers` as root (CI does)")


def peer_environment() -> dict[str, str]:
    """The environment for an unpacked program: its libraries are found inside the unpacked tree."""
    lib = PEERS_ROOT / "usr" / "lib"
    folders = [lib / "postfix", lib / "dovecot", lib, *sorted(lib.glob("*-linux-gnu*"))]
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C",
        "LD_LIBRARY_PATH": ":".join(str(folder) for folder in folders),
    }
