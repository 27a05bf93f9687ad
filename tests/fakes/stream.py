"""A `Stream` whose other side follows a script.

The script is a list. Octets are what the peer says when the client reads. `C(b"...")` is what the client must have
written by then, exactly. Further steps: `EOF`, `BREAK` (reset), `SILENCE` (nothing more until the client gives up),
`TLS_OK` and `TLS_BROKEN` (the answer to a handshake), `STUCK` (the next write finds no room).
"""

from dataclasses import dataclass
from enum import Enum

from twisted.internet.defer import Deferred

from mailserver.ports import ConnectionFailed, TlsDetails, TlsFailed


@dataclass(frozen=True)
class C:
    octets: bytes


class Act(Enum):
    EOF = "eof"
    BREAK = "break"
    SILENCE = "silence"
    TLS_OK = "tls ok"
    TLS_BROKEN = "tls broken"
    STUCK = "stuck"
    WRITE_BREAKS = "write breaks"


EOF, BREAK, SILENCE = Act.EOF, Act.BREAK, Act.SILENCE
TLS_OK, TLS_BROKEN, STUCK, WRITE_BREAKS = Act.TLS_OK, Act.TLS_BROKEN, Act.STUCK, Act.WRITE_BREAKS


class ScriptedStream:
    """`mailserver.ports.Stream` in memory. `written` is everything the client said, `ending` how it left."""

    def __init__(self, *script, peer="192.0.2.1:25"):
        self.peer = peer
        self.script = list(script)
        self.written = b""
        self.ending = None
        self.requirements = []
        self._unmatched = b""
        self._waiting = None

    async def read(self):
        self._match()
        step = self.script[0] if self.script else SILENCE
        if isinstance(step, bytes):
            del self.script[0]
            return step
        if self.ending == "aborted":
            raise ConnectionFailed("the connection was given up")
        if step is EOF:
            return b""
        if step in (BREAK, WRITE_BREAKS):
            raise ConnectionFailed("the connection was lost")
        assert step is SILENCE, f"the client reads where the script says {step}; it wrote {self._unmatched!r}"
        await self._wait()
        raise AssertionError("unreachable")

    async def write(self, octets):
        if self.ending is not None:
            raise ConnectionFailed("the connection was given up")
        self.written += octets
        self._unmatched += octets
        self._match()
        if self.script and self.script[0] is STUCK:
            del self.script[0]
            await self._wait()
        if self.script and self.script[0] is WRITE_BREAKS:
            del self.script[0]
            raise ConnectionFailed("the connection was lost")

    async def start_tls(self, requirement):
        self._match()
        self.requirements.append(requirement)
        step = self.script.pop(0) if self.script else SILENCE
        if step is TLS_OK:
            return TlsDetails("TLSv1.3", "TLS_AES_256_GCM_SHA384")
        if step is TLS_BROKEN:
            raise TlsFailed("no shared cipher")
        if step is EOF:
            raise TlsFailed("the host closed the connection during the handshake")
        assert step is SILENCE, step
        await self._wait()
        raise AssertionError("unreachable")

    def close(self):
        self.ending = self.ending or "closed"

    def abort(self):
        if self.ending != "closed":
            self.ending = "aborted"
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.errback(ConnectionFailed("the connection was given up"))

    def _wait(self):
        self._waiting = Deferred()
        return self._waiting

    def _match(self):
        """Compare what was written with what the script expects at this point."""
        while self.script and isinstance(self.script[0], C):
            expected = self.script[0].octets
            if len(self._unmatched) < len(expected):
                assert expected.startswith(self._unmatched), (
                    f"expected {expected!r}, the client said {self._unmatched!r}"
                )
                return
            assert self._unmatched.startswith(expected), f"expected {expected!r}, the client said {self._unmatched!r}"
            self._unmatched = self._unmatched[len(expected) :]
            del self.script[0]

    @property
    def is_done(self):
        """Whether the whole script was played."""
        self._match()
        return not [step for step in self.script if step is not SILENCE]


class MemoryContent:
    """`mailserver.ports.ContentSource` from octets, in pieces; `claimed` lies about the length, `error` is raised."""

    def __init__(self, octets, piece=1 << 18, claimed=None, error_at=None):
        self.octets = octets
        self.length = len(octets) if claimed is None else claimed
        self._piece = piece
        self._error_at = error_at

    async def pieces(self):
        for number, start in enumerate(range(0, len(self.octets), self._piece)):
            if number == self._error_at:
                raise OSError(5, "Input/output error")
            yield self.octets[start : start + self._piece]
