"""opendkim, as a verifier of files and as a signer that is spoken to by the milter protocol."""

import os
import signal
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.peers.programs import need
from tests.peers.running import HOST, Daemon, free_port

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C"}
# Header values come with the blanks in front of them (SMFIP_HDR_LEADSPC).
_LEADING_BLANKS = 0x100000
_MAY_DO_ALL = 0x1FF


def verify(home: Path, messages: Iterable[bytes], records: dict[str, str]) -> list[str]:
    """What opendkim says about each message, with these TXT records by name and no DNS.

    `t/m0: verification (s=..., d=..., 2048-bit key) succeeded`, or another sentence.
    """
    keys = home / "records"
    keys.write_text("".join(f"{name} {record}\n" for name, record in records.items()))
    configuration = home / "verify.conf"
    configuration.write_text(f"Mode v\nTestPublicKeys {keys}\n")
    names = []
    for number, message in enumerate(messages):
        path = home / f"m{number}"
        path.write_bytes(message)
        names.append(path.name)
    command = [need("opendkim"), "-x", str(configuration), "-t", ",".join(names)]
    done = subprocess.run(command, cwd=home, env=_ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    return [line.partition("opendkim: ")[2] for line in (done.stdout + done.stderr).splitlines() if line]


class OpenDkimSigner:
    """Signs for one domain with one RSA key (PEM), in one canonical form such as `relaxed/simple`."""

    def __init__(self, home: Path, domain: str, selector: str, pem: bytes, form: str) -> None:
        home.mkdir()
        key = home / "key.pem"
        key.touch(0o600)
        key.write_bytes(pem)
        self._port = free_port()
        configuration = home / "sign.conf"
        configuration.write_text(
            f"Mode s\nDomain {domain}\nSelector {selector}\nKeyFile {key}\nCanonicalization {form}\n"
            f"Socket inet:{self._port}@{HOST}\nRequireSafeKeys no\nSyslog no\n"
        )
        self._daemon = Daemon("opendkim", home, [need("opendkim"), "-f", "-x", str(configuration)], _ENVIRONMENT)

    def start(self) -> "OpenDkimSigner":
        """Start it and wait until it takes connections."""
        self._daemon.start(self._port, b"")
        return self

    def stop(self) -> None:
        """Stop it: asked to, it would think about it for ten seconds."""
        os.killpg(self._daemon.pid, signal.SIGKILL)
        self._daemon.stop()

    def signed(self, messages: Iterable[tuple[list[tuple[bytes, bytes]], bytes]]) -> Iterator[bytes]:
        """The signature field of each message, given as fields (name and value as they are) and body, with CRLF."""
        with socket.create_connection((HOST, self._port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            milter = _Milter(connection)
            milter.ask(b"O", struct.pack(">III", 6, _MAY_DO_ALL, _LEADING_BLANKS))
            milter.ask(b"C", b"localhost\0" + b"4" + struct.pack(">H", 4711) + b"127.0.0.1\0")
            milter.ask(b"H", b"localhost\0")
            for fields, body in messages:
                yield milter.sign(fields, body)


class _Milter:
    """The mail server's side of the milter protocol (libmilter, version 6), as far as it is needed."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._input = connection.makefile("rb")

    def ask(self, command: bytes, data: bytes = b"") -> tuple[bytes, bytes]:
        """One command and its answer."""
        self._connection.sendall(_packet(command, data))
        return self._answer()

    def sign(self, fields: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        """One message; the field that the milter inserts."""
        # Values have LF in their folds and no line end.
        values = [(name, value.removesuffix(b"\r\n").replace(b"\r\n", b"\n")) for name, value in fields]
        commands = [
            (b"M", b"<alice@example.org>\0"),
            (b"R", b"<bob@example.net>\0"),
            (b"T", b""),
            *((b"L", name + b"\0" + value + b"\0") for name, value in values),
            (b"N", b""),
            *((b"B", body[start : start + 65535]) for start in range(0, len(body), 65535)),
            (b"E", b""),
        ]
        self._connection.sendall(b"".join(_packet(*command) for command in commands))
        for command in commands[:-1]:
            kind, data = self._answer()
            assert kind == b"c", (command, kind, data)
        kind, data = self._answer()
        inserted = b""
        while kind not in (b"a", b"c"):
            assert kind in (b"i", b"h"), (kind, data)
            name, value, _ = (data[4:] if kind == b"i" else data).split(b"\0")
            if name == b"DKIM-Signature":
                inserted = name + b":" + value.replace(b"\n", b"\r\n") + b"\r\n"
            kind, data = self._answer()
        return inserted

    def _answer(self) -> tuple[bytes, bytes]:
        # opendkim waits for the acknowledgment of one answer before it sends the next.
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        (length,) = struct.unpack(">I", self._input.read(4))
        packet = self._input.read(length)
        return packet[:1], packet[1:]


def _packet(command: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 1 + len(data)) + command + data
