"""DKIM keys on disk: `<state>/dkim/<domain>/<selector>.private` (PEM, PKCS #8) and `<selector>.json`, both 0600.

The JSON holds the public half and the life of the key, and is what makes it a key; replaced atomically. Who changes
anything holds `flock` on `<state>/dkim/lock`.

    {"version": 1, "algorithm": "rsa-sha256", "public": "MIIB...", "created_at": 1750000000.0,
     "activated_at": 0.0, "retired_at": 0.0, "published_until": 0.0}

What a crash can leave, and who cleans it up (tests/store/test_dkim_keys.py):

1. A private half without its JSON: no key; making keys passes its name over, nothing else looks at it.
2. `<selector>.json.new`: the next change of that key removes it first.
3. JSON without its private half (removing a key takes the JSON last): the key signs nothing, and can be removed again.

Blocking, no Twisted.
"""

import contextlib
import fcntl
import json
import os
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mailserver.mail.address import canonical_domain
from mailserver.mail.dkim_key import DkimKey
from mailserver.store.files import DISK, Files
from mailserver.store.spool_json import Damaged, NewerFormat, read_count, read_object, read_text, read_time

DKIM_KEY_VERSION = 1
# RFC 8301 asks for at least 1024 and recommends this; a longer one does not fit into every DNS answer.
RSA_BITS = 2048
_MAX_OCTETS = 64 * 1024
_TIMES = ("created_at", "activated_at", "retired_at", "published_until")
_KEYS = frozenset(("version", "algorithm", "public", *_TIMES))

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class KeyTrouble:
    """A key that cannot be used, and why."""

    path: Path
    reason: str


class DkimKeyFolder:
    """All keys below one state folder."""

    def __init__(self, state: Path, files: Files = DISK) -> None:
        self.path = state / "dkim"
        self._files = files

    def stamp(self) -> tuple[tuple[str, int], ...]:
        """Something else whenever a key may have been made, changed or removed."""
        stamps: list[tuple[str, int]] = []
        for folder in (self.path, *self._domains()):
            with contextlib.suppress(OSError):
                stamps.append((folder.name, folder.stat().st_mtime_ns))
        return tuple(stamps)

    def read(self) -> tuple[list[DkimKey], list[KeyTrouble]]:
        """All keys in order of domain and making, and those that cannot be read. Raises `OSError` for the folder."""
        keys: list[DkimKey] = []
        troubles: list[KeyTrouble] = []
        for folder in self._domains():
            for path in sorted(folder.glob("*.json")):
                try:
                    keys.append(_decoded(folder.name, path.stem, _octets(path)))
                except (Damaged, NewerFormat) as fault:
                    troubles.append(KeyTrouble(path, str(fault)))
                except OSError as error:
                    troubles.append(KeyTrouble(path, error.strerror or str(error)))
        return sorted(keys, key=lambda key: (key.domain, key.created_at, key.selector)), troubles

    def private(self, key: DkimKey) -> PrivateKey | KeyTrouble:
        """The secret half."""
        path = self._file(key.domain, key.selector, "private")
        try:
            found = load_pem_private_key(_octets(path), None)
        except OSError as error:
            return KeyTrouble(path, error.strerror or str(error))
        except (ValueError, TypeError, UnsupportedAlgorithm):
            return KeyTrouble(path, "this is no private key in PEM without a password")
        if isinstance(found, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
            if public_text(found) == key.public:
                return found
            return KeyTrouble(path, "this is not the other half of what the key's JSON says")
        return KeyTrouble(path, "this is neither an RSA nor an Ed25519 key")

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else changes keys meanwhile; waits for who does. Raises `OSError`."""
        self._files.make_folders(str(self.path))
        descriptor = self._files.open_lock(str(self.path / "lock"))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def make(self, domain: str, selector: str, algorithm: str, now: float) -> DkimKey:
        """A new key; both halves are durable when it returns. Within `changing`; raises `OSError`."""
        private: PrivateKey
        if algorithm == "rsa-sha256":
            private = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        else:
            private = ed25519.Ed25519PrivateKey.generate()
        self._files.make_folders(str(self.path / domain))
        octets = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = self._file(domain, selector, "private")
        self._files.replace(str(path), str(path.with_suffix(".private.new")), octets)
        key = DkimKey(domain, selector, algorithm, public_text(private), now)
        self.save(key)
        return key

    def save(self, key: DkimKey) -> None:
        """Put the key's life on disk; durable when it returns. Within `changing`; raises `OSError`."""
        path = self._file(key.domain, key.selector, "json")
        about = {"version": DKIM_KEY_VERSION, "algorithm": key.algorithm, "public": key.public}
        about |= {name: getattr(key, name) for name in _TIMES}
        temporary = path.with_suffix(".json.new")
        self._files.discard(str(temporary))
        self._files.replace(str(path), str(temporary), json.dumps(about, indent=1).encode("ascii") + b"\n")

    def save_all(self, keys: Iterable[DkimKey]) -> None:
        """Put changed keys on disk, within `changing`; raises `OSError`. One that signs no more loses its secret half.

        Those that begin to sign come first, so that some key always does.
        """
        for key in sorted(keys, key=lambda key: key.retired_at):
            self.save(key)
            if key.retired_at:
                self.forget_private(key)

    def forget_private(self, key: DkimKey) -> None:
        """Remove the secret half of a key that will never sign again. Within `changing`."""
        self._files.discard(str(self._file(key.domain, key.selector, "private")))

    def remove(self, key: DkimKey) -> None:
        """Remove both halves. Within `changing`; raises `OSError`."""
        self.forget_private(key)
        self._files.unlink(str(self._file(key.domain, key.selector, "json")))

    def names(self, domain: str) -> set[str]:
        """Selectors that a new key must not have, whatever became of them."""
        if not self._is_there(domain):
            return set()
        return {path.name.partition(".")[0] for path in (self.path / domain).iterdir()}

    def _is_there(self, domain: str) -> bool:
        return (self.path / domain).is_dir()

    def _file(self, domain: str, selector: str, kind: str) -> Path:
        """Names come from the configuration and from us, and go through this one function all the same."""
        for name in (domain, selector):
            if canonical_domain(name) != name or name.startswith("["):
                raise ValueError(f"{name!r} is no name for a key")
        return self.path / domain / f"{selector}.{kind}"

    def _domains(self) -> list[Path]:
        try:
            found = sorted(self.path.iterdir())
        except FileNotFoundError:
            return []
        return [path for path in found if canonical_domain(path.name) == path.name and path.is_dir()]


def public_text(private: PrivateKey) -> str:
    """The value of `p=` for the other half (RFC 6376 3.6.1, RFC 8463 4)."""
    public = private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        octets = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return b64encode(octets).decode("ascii")


def _octets(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MAX_OCTETS)
    finally:
        os.close(descriptor)


def _decoded(domain: str, selector: str, octets: bytes) -> DkimKey:
    about = read_object(octets, _KEYS, "key", are_others_allowed=True)
    version = read_count(about, "version")
    if version > DKIM_KEY_VERSION:
        raise NewerFormat(version, DKIM_KEY_VERSION)
    if canonical_domain(selector) != selector:
        raise Damaged("its name is no selector")
    algorithm = read_text(about, "algorithm")
    if algorithm not in ("rsa-sha256", "ed25519-sha256"):
        raise Damaged("the algorithm is unknown")
    public = read_text(about, "public")
    if not public.isascii():
        raise Damaged("public is not base64")
    times = [read_time(about, name, 0.0) for name in _TIMES]
    return DkimKey(domain, selector, algorithm, public, *times)
