"""Tells systemd when the server is ready, reloads and stops (sd_notify(3), for units of `Type=notify`).

Without it `systemctl start` would report success for a start that is refused a moment later.
"""

import os
import socket
from collections.abc import MutableMapping

READY = "READY=1"
STOPPING = "STOPPING=1"


def notify(state: str, environment: MutableMapping[str, str] = os.environ) -> bool:
    """Send one state; False when nobody wants to know. Never raises: mail goes on without systemd."""
    name = environment.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return False
    # `@` stands for the NUL of an abstract name.
    address = "\0" + name[1:] if name.startswith("@") else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect(address)
            channel.send(state.encode())
    except OSError:
        return False
    return True
