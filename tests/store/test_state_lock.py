"""One writer for each state folder."""

import os
import stat
import subprocess
import sys

import pytest

from mailserver.store.state_lock import StateLock, StateLocked


def test_a_second_holder_is_told_who_holds_it(tmp_path):
    lock = StateLock(tmp_path / "var", "server")
    with pytest.raises(StateLocked, match=rf"is in use by process {os.getpid()} \(server\)"):
        StateLock(tmp_path / "var", "queue retry")
    lock.release()
    with StateLock(tmp_path / "var", "queue retry"), pytest.raises(StateLocked, match="queue retry"):
        StateLock(tmp_path / "var", "server")


def test_the_lock_goes_with_a_process_that_is_killed(tmp_path):
    program = (
        "import sys, pathlib, os, signal; from mailserver.store.state_lock import StateLock; "
        f"lock = StateLock(pathlib.Path({str(tmp_path)!r}), 'server'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode < 0
    StateLock(tmp_path, "server").release()


def test_the_file_is_private_and_stays(tmp_path):
    StateLock(tmp_path / "a" / "b", "server").release()
    assert stat.S_IMODE((tmp_path / "a" / "b" / "lock").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_noise_in_the_file_is_not_shown(tmp_path):
    lock = StateLock(tmp_path, "server")
    (tmp_path / "lock").write_bytes(b"\x1b[2J\xff" * 100)
    with pytest.raises(StateLocked, match="in use by another process"):
        StateLock(tmp_path, "server")
    lock.release()
