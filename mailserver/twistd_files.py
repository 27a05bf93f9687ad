"""The two files that twistd itself writes, pid and log: can it?

It opens them after the service was built, in the background after it has left the terminal; what is wrong with them
would be a traceback that nobody sees. So they are looked at before anything else is done.
"""

import os
from collections.abc import Mapping
from pathlib import Path

# twistd's own default, which its options do not tell.
DEFAULT_LOG = "twistd.log"


def trouble_with_twistd_files(options: Mapping[str, object]) -> str:
    """What is wrong with `--pidfile` and `--logfile`, one line each; empty when nothing is. Makes nothing."""
    log = options.get("logfile")
    if not log and not options.get("nodaemon") and not options.get("syslog") and not options.get("logger"):
        log = DEFAULT_LOG
    if options.get("chroot"):
        return ""  # where the files will be cannot be looked at from here
    troubles = []
    if log and log != "-":
        troubles.append(_trouble("--logfile", Path(str(log))))
    if pidfile := options.get("pidfile"):
        # twistd has changed into --rundir by the time it writes this one.
        troubles.append(_trouble("--pidfile", Path(str(options.get("rundir") or "."), str(pidfile))))
    return "\n".join(filter(None, troubles))


def _trouble(option: str, name: Path) -> str:
    path = name.absolute()
    folder = path.parent
    advice = "name another place" if option == "--logfile" else f"name another place, or none with {option}="
    if not folder.is_dir():
        return f"{option}: {path}: the folder {folder} does not exist; make it, or {advice}"
    if path.is_dir():
        return f"{option}: {path}: this is a folder; {advice}"
    if not os.access(path if path.exists() else folder, os.W_OK, effective_ids=True):
        return f"{option}: {path}: cannot be written by user {os.geteuid()}; {advice}"
    return ""
