"""One writer for each state folder (design section 5): `flock` on `<state>/lock`. Blocks only for a moment.

The lock is the kernel's and goes with the process, however it ends; the file stays, its text (pid and what holds it) is
only for people. The file is never removed: two processes could otherwise hold locks on two files of the same name.
"""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from mailserver.store.files import DISK, Files


class StateLocked(Exception):
    """Another process holds the state folder. The text says which, and is fit for an operator's eyes."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path.parent} is in use by {holder or 'another process'}")
        self.holder = holder


class StateLock:
    """Holds the lock from construction to `release`. `purpose` is one or two words, such as `server`.

    Raises `StateLocked` at once when another process (or another `StateLock` of this one) holds it, `OSError` when the
    folder or the file cannot be made. Keep the object: the lock lives in its descriptor, also across a `fork`.
    """

    def __init__(self, state: Path, purpose: str, files: Files = DISK) -> None:
        files.make_folders(str(state))
        self._files = files
        self.path = state / "lock"
        self._purpose = purpose
        self._descriptor = files.open_lock(str(self.path))
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as trouble:
            holder = _shown(os.pread(self._descriptor, 200, 0))
            os.close(self._descriptor)
            self._descriptor = -1
            if trouble.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise StateLocked(self.path, holder) from trouble
            raise
        self.tell()

    def tell(self) -> None:
        """Write the present pid into the file; again after a process has become a daemon.

        The text is for people only: a full disk must keep nobody from starting, for a server is what empties it.
        """
        with contextlib.suppress(OSError):
            self._files.overwrite(self._descriptor, f"process {os.getpid()} ({self._purpose})\n".encode())

    def release(self) -> None:
        """Let go. Twice is not an error."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "StateLock":
        return self

    def __exit__(self, *details: object) -> None:
        self.release()


def _shown(octets: bytes) -> str:
    text = octets.decode("ascii", "replace").strip()
    return text if text.isprintable() else ""
