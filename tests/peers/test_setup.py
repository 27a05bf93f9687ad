"""`mailserver setup` as root in the system's places, of which it gets a view of its own; and the real fail2ban."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.programs import PEERS_ROOT, need, need_peer, need_root

LIMIT_S = 120
MAILSERVER = Path(sys.executable).with_name("mailserver")

# /etc is a copy, the other places are empty; what is written there goes with the process.
PRIVATE = """
set -eu
mount --make-rprivate /
mkdir {copy}
cp -a /etc/. {copy}/
mount --bind {copy} /etc
mount -t tmpfs none /var/lib -o mode=755
mount -t tmpfs none /var/spool -o mode=755
mount -t tmpfs none /etc/systemd/system -o mode=755
rm -rf /etc/mailserver
getent passwd mailserver > /dev/null && userdel mailserver
cd /
{commands}
"""


def in_private_places(tmp_path, commands):
    """What the commands print, run as root where nothing of this machine can be changed."""
    need_root("a view of /etc of its own")
    script = PRIVATE.format(copy=tmp_path / "etc", commands=commands)
    done = subprocess.run(
        [need("unshare"), "-m", "bash", "-c", script], capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_root_gets_a_whole_server_in_the_usual_places(tmp_path):
    output = in_private_places(
        tmp_path,
        f"""
        {MAILSERVER} setup example.org --user alice --offline --yes --sockets
        echo FILES
        find /etc/mailserver /var/lib/mailserver /var/spool /etc/systemd/system -printf '%M %u %p\\n'
        echo AGAIN
        {MAILSERVER} setup example.org --offline
        echo CHECKED
        {MAILSERVER} check-config
        {need("systemd-analyze")} verify /etc/systemd/system/mailserver.service 2>&1
        {need("systemd-analyze")} verify /etc/systemd/system/*.socket 2>&1
        """,
    )
    first, _, rest = output.partition("FILES\n")
    files, _, rest = rest.partition("AGAIN\n")
    again, _, checked = rest.partition("CHECKED\n")
    assert "new: the system user mailserver" in first
    listed = set(files.splitlines())
    for line in (
        "-rw-r--r-- root /etc/mailserver/mailserver.toml",
        "-rw-r--r-- root /etc/mailserver/records.zone",
        "-rw-r--r-- root /etc/systemd/system/mailserver.service",
        "-rw-r--r-- root /etc/systemd/system/mailserver-smtp.socket",
        "drwx------ mailserver /var/lib/mailserver",
        "-rw------- mailserver /var/lib/mailserver/accounts.toml",
    ):
        assert line in listed
    (drop,) = [line for line in listed if line.endswith("/var/spool/mailserver-drop")]
    assert drop.split()[1] == "mailserver" and drop.startswith("drwx-w") and drop.split()[0].endswith("t")
    assert not [line for line in listed if "/var/lib/mailserver" in line and line.split()[1] != "mailserver"]
    assert "nothing is to be changed" in again
    assert "no errors" in checked
    assert "mailserver" not in "".join(line for line in checked.splitlines() if line.startswith("/etc/systemd"))


@pytest.mark.parametrize("beginning", ["", "host twistd[812]: "])
def test_the_real_fail2ban_finds_guessers_by_the_sample(tmp_path, beginning):
    filters = Path(__file__).parents[2] / "mailserver" / "setup" / "files" / "fail2ban-filter.conf"
    lines = [
        '[mail#info] login-refused [192.0.2.1:4711] service=pop3 login=a mechanism=USER reason="wrong password"',
        '[mail#info] login-refused [[2001:db8::1]:4711] service=smtp login=a mechanism=PLAIN reason="wrong password"',
        '[mail#info] login-refused [192.0.2.3:1] service=pop3 login=a mechanism=USER reason="too many maildrops wait"',
        '[mail#info] refused [192.0.2.4:1] about="[mail#info] login-refused [192.0.2.9:1] reason=\\"wrong password\\""',
    ]
    log = tmp_path / "log"
    log.write_text("".join(f"2026-01-05T10:00:00+0000 {beginning}{line}\n" for line in lines))
    done = subprocess.run(
        ["/usr/bin/python3", need_peer("usr/bin/fail2ban-regex"), "--print-all-matched", log, filters],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={"PYTHONPATH": str(PEERS_ROOT / "usr" / "lib" / "python3" / "dist-packages"), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 lines, 0 ignored, 2 matched, 2 missed" in done.stdout, done.stdout
    assert "192.0.2.1:4711" in done.stdout and "2001:db8::1" in done.stdout
