"""`<state>/acme/`: the account key, the certificate that was obtained, and what came of the last order. All 0600.

- `account.pem`: the key that is our account at the authority.
- `certificate.pem`: the private key and then the chain. One file holds both, so that no crash can leave a key in force
  beside the certificate of another.
- `record.json`: `{"version": 1, "settings": "...", "failures": 0, "failed_at": 0.0, "next_attempt_at": 0.0,
  "reason": "", "remedy": "", "suggested_at": 0.0, "asked_at": 0.0, "obtained_at": 0.0, "obtained_from": "",
  "warned_for": 0.0}`. It is kept over restarts, so that a server that is restarted again and again asks the authority
  no more often than another.

Each file is replaced atomically and durable when the call returns. What a crash can leave, and who cleans it up
(tests/store/test_acme_folder.py):

1. `<name>.new`: removed when that file is next written.
2. An account key that the authority has not seen: it is told with the next order, as each time.
3. A certificate without its record, or with an older one: it is in force at the next start; a failure that the record
   still tells only puts off what is not due.

Blocking, no Twisted.
"""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mailserver.store.certificates import make_key
from mailserver.store.files import DISK, Files
from mailserver.store.spool_json import Damaged, NewerFormat, read_count, read_object, read_text, read_time

ACME_RECORD_VERSION = 1
_MAX_OCTETS = 1 << 20


@dataclass(frozen=True, slots=True)
class AcmeRecord:
    """What is remembered of earlier orders. Times are seconds since the epoch, 0 for never.

    `settings` tells for which configuration: what failed under another one says nothing. `suggested_at` is the
    authority's advice (RFC 9773) as it was heard at `asked_at`. `obtained_from` is the directory of the authority that
    the certificate in force came from; empty when that is not known. `warned_for` is the end of the
    certificate that the postmaster was warned about.
    """

    settings: str = ""
    failures: int = 0
    failed_at: float = 0.0
    next_attempt_at: float = 0.0
    reason: str = ""
    remedy: str = ""
    suggested_at: float = 0.0
    asked_at: float = 0.0
    obtained_at: float = 0.0
    obtained_from: str = ""
    warned_for: float = 0.0


_KEYS = frozenset(("version", *(field.name for field in fields(AcmeRecord))))


class AcmeFolder:
    """The folder of one state folder."""

    def __init__(self, state: Path, files: Files = DISK) -> None:
        self.path = state / "acme"
        self.certificate = self.path / "certificate.pem"
        self._files = files

    def account_key(self) -> bytes:
        """The account's key as PEM; made, and durable, when there is none. Raises `OSError`."""
        path = self.path / "account.pem"
        try:
            return _octets(path)
        except FileNotFoundError:
            key = make_key("p256")
            self._replace(path, key)
            return key

    def install(self, key_pem: bytes, chain_pem: bytes) -> None:
        """Put a pair in place of the one there is. Raises `OSError`; then the old pair is untouched."""
        self._replace(self.certificate, key_pem.rstrip() + b"\n" + chain_pem)

    def pair(self) -> bytes | None:
        """Key and chain in one PEM text; None when there is none yet. Raises `OSError`."""
        try:
            return _octets(self.certificate)
        except FileNotFoundError:
            return None

    def read_record(self) -> AcmeRecord:
        """What is remembered; nothing when there is no file. Raises `OSError`, `Damaged`, `NewerFormat`."""
        try:
            octets = _octets(self.path / "record.json")
        except FileNotFoundError:
            return AcmeRecord()
        about = read_object(octets, _KEYS, "record", are_others_allowed=True)
        version = read_count(about, "version")
        if version > ACME_RECORD_VERSION:
            raise NewerFormat(version, ACME_RECORD_VERSION)
        return AcmeRecord(
            settings=read_text(about, "settings", ""),
            failures=read_count(about, "failures", 0),
            failed_at=read_time(about, "failed_at", 0.0),
            next_attempt_at=read_time(about, "next_attempt_at", 0.0),
            reason=read_text(about, "reason", ""),
            remedy=read_text(about, "remedy", ""),
            suggested_at=read_time(about, "suggested_at", 0.0),
            asked_at=read_time(about, "asked_at", 0.0),
            obtained_at=read_time(about, "obtained_at", 0.0),
            obtained_from=read_text(about, "obtained_from", ""),
            warned_for=read_time(about, "warned_for", 0.0),
        )

    def write_record(self, record: AcmeRecord) -> None:
        """Remember it. Raises `OSError`."""
        about = {"version": ACME_RECORD_VERSION, **asdict(record)}
        self._replace(self.path / "record.json", json.dumps(about, indent=1).encode("ascii") + b"\n")

    def remembered(self) -> AcmeRecord:
        """The same as `read_record`, but what cannot be read is as if there were none: it is never the truth."""
        try:
            return self.read_record()
        except (OSError, Damaged, NewerFormat):
            return AcmeRecord()

    def _replace(self, path: Path, octets: bytes) -> None:
        self._files.make_folders(str(self.path))
        temporary = path.with_name(path.name + ".new")
        self._files.discard(str(temporary))
        self._files.replace(str(path), str(temporary), octets)


def _octets(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MAX_OCTETS)
    finally:
        os.close(descriptor)
