"""What is remembered of other servers: answers from memory, writes behind the back of mail. Async over doors."""

from mailserver.maillog import Sink
from mailserver.ports import Blocking, Clock, Lane, PeerTls
from mailserver.relay.gathered_writes import GatheredWrites
from mailserver.store.tls_history import TlsHistoryFile

MAX_HOSTS = 10_000
# Changes are gathered for so long before they are written: losing them costs a warning or two.
_GATHER_S = 60.0


class PeerHistory:
    """`mailserver.ports.HistoryStore`. Construct, `load` under the state lock (blocking); `stop` writes the rest."""

    def __init__(self, file: TlsHistoryFile, blocking: Blocking, clock: Clock, sink: Sink) -> None:
        self._file = file
        self._blocking = blocking
        self._sink = sink
        self._hosts: dict[str, PeerTls] = {}
        self._writes = GatheredWrites(file.path, self._write, _GATHER_S, "tried again every minute", clock, sink)

    def load(self) -> None:
        """Read the file (blocking). What cannot be read is told, and mail goes on without it."""
        effect = "servers that stop to offer TLS are noticed only within this run"
        self._hosts = self._writes.read(self._file, "the list begins empty", effect) or {}

    def tls(self, host: str) -> PeerTls | None:
        """What is known of a host."""
        return self._hosts.get(host)

    def remember_tls(self, host: str, seen: PeerTls) -> None:
        """Know this of it from now on; on disk within a minute or so."""
        self._hosts.pop(host, None)
        self._hosts[host] = seen
        if len(self._hosts) > MAX_HOSTS:
            del self._hosts[next(iter(self._hosts))]
        self._writes.later()

    async def _write(self) -> None:
        await self._blocking.run(Lane.GENERAL, self._file.write, dict(self._hosts))

    async def stop(self) -> None:
        """Write what was not written yet."""
        await self._writes.stop()
