"""The key of what a login that nobody has is answered with: `<state>/login-secret`, 32 octets, 0600.

SCRAM tells a salt before anything is proved. One that is derived from the name and this key is the same each time and
after a restart, as a real one is. A crash can leave `login-secret.new`, which the next start removes. Without the file
a new one is made, and who compares the answers before and after learns which names were not real.
"""

import contextlib
import os
from pathlib import Path

from mailserver.store.files import Files

SECRET_OCTETS = 32


def login_secret(state: Path, files: Files) -> bytes:
    """The key, made when there is none that is whole. Blocking, durable. Raises `OSError`."""
    path = state / "login-secret"
    with contextlib.suppress(FileNotFoundError):
        found = path.read_bytes()
        if len(found) == SECRET_OCTETS:
            return found
    made = os.urandom(SECRET_OCTETS)
    temporary = f"{path}.new"
    files.discard(temporary)
    files.replace(str(path), temporary, made)
    return made
