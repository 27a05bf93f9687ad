"""aiosmtpd filing into one Maildir, each file synced before the 250: the leanest server that Python people write.

python -m bench.aiosmtpd_maildir PORT MAILDIR
"""

import asyncio
import itertools
import os
import sys
import time
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session


class FileIt:
    """Writes, syncs and renames; no Received field, no checks of any kind."""

    def __init__(self, maildir: Path) -> None:
        self._maildir = maildir
        self._counter = itertools.count()
        for part in ("tmp", "new", "cur"):
            (maildir / part).mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """One message; aiosmtpd's loop waits for the disk meanwhile."""
        del server, session
        name = f"{int(time.time())}.P{os.getpid()}Q{next(self._counter)}.host"
        temporary = self._maildir / "tmp" / name
        with temporary.open("wb") as file:
            file.write(envelope.content or b"")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._maildir / "new" / name)
        return "250 OK"


async def serve(port: int, maildir: Path) -> None:
    """Until the process is killed."""
    handler = FileIt(maildir)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, data_size_limit=60 << 20), "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
