"""What systemd is told."""

import socket

import pytest

from mailserver.net.systemd import READY, notify


@pytest.mark.parametrize("is_abstract", [False, True])
def test_systemd_hears_it(tmp_path, is_abstract):
    name = f"@mailserver-test-{tmp_path.name}-{id(tmp_path)}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if is_abstract else name)
        assert notify(READY, {"NOTIFY_SOCKET": name})
        assert systemd.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    "environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/none/x"}, {"NOTIFY_SOCKET": "x"}]
)
def test_without_systemd_nothing_happens(environment):
    assert not notify(READY, environment)
