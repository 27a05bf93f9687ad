"""How an account proves itself, as one table of `accounts.toml` says it:

    password = "$argon2id$..."
    scram = "SCRAM-SHA-256$30000:...$...:...$..."      # of the same password; made by the server
    require_app_passwords = true                       # the password above is for no client

    [accounts."alice@example.org".devices.phone]
    password = "$app$..."
    scram = "SCRAM-SHA-256$30000:...$...:..."
    created = 2026-11-25T13:08:00Z
    only = "pop3"                                      # or "submission"; left out: for both

Keys that do not belong to the password beside them are as good as none: they are made anew at the next plain login.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mailserver.config.fault import nearest, shown
from mailserver.mail.reply import printable
from mailserver.mail.scram import ScramKeys
from mailserver.ports import Use
from mailserver.store.app_passwords import DEVICE_RULE, MAX_DEVICES, Device, is_app_hash, is_device
from mailserver.store.scram_keys import is_keys_text, read_keys

CREDENTIAL_KEYS = ("password", "scram", "require_app_passwords", "devices")
_DEVICE_KEYS = ("password", "scram", "created", "only")


@dataclass(frozen=True, slots=True)
class AccountCredentials:
    """The stored password hash (empty: none), its SCRAM keys, the devices."""

    hash: str = field(default="", repr=False)
    keys: ScramKeys | None = field(default=None, repr=False)
    devices: tuple[Device, ...] = ()
    requires_app_passwords: bool = False

    @property
    def own_hash(self) -> str:
        """The hash of the password that clients may log in with; empty when there is none."""
        return "" if self.requires_app_passwords else self.hash

    @property
    def has_all_keys(self) -> bool:
        """Whether everything that can log in can do it with SCRAM."""
        return (not self.own_hash or self.keys is not None) and all(one.keys is not None for one in self.devices)

    def device(self, name: str) -> Device | None:
        """The device of this name."""
        return next((one for one in self.devices if one.name == name), None)

    def all_keys(self) -> Iterator[ScramKeys]:
        """All SCRAM keys; those of the account's own password first."""
        if self.keys is not None:
            yield self.keys
        yield from (one.keys for one in self.devices if one.keys is not None)


def offers_scram(all_credentials: Iterable[AccountCredentials]) -> bool:
    """Whether everybody can use SCRAM: a client that prefers it would else fail for whoever cannot."""
    found = [one for one in all_credentials if one.own_hash or one.devices]
    return bool(found) and all(one.has_all_keys for one in found)


def read_credentials(where: str, table: Mapping[str, object], fault: Callable[[str], None]) -> AccountCredentials:
    """What the account's table says; each error is told to `fault` as a whole line."""
    password = table.get("password", "")
    if not isinstance(password, str):
        fault(f"{where}.password: must be text in quotes")
        password = ""
    requires = table.get("require_app_passwords", False)
    if not isinstance(requires, bool):
        fault(f"{where}.require_app_passwords: {shown(requires)}: must be true or false, without quotes")
        requires = False
    keys = _keys(f"{where}.scram", table.get("scram"), fault, of=password) if password else None
    devices = table.get("devices", {})
    if not isinstance(devices, dict):
        fault(f"{where}.devices: must be a table")
        devices = {}
    if len(devices) > MAX_DEVICES:
        fault(f"{where}.devices: {len(devices)} of them; an account has at most {MAX_DEVICES}")
    read = (_device(f"{where}.devices.{printable(name)}", name, one, fault) for name, one in devices.items())
    return AccountCredentials(password, keys, tuple(one for one in read if one is not None), requires)


def _keys(where: str, value: object, fault: Callable[[str], None], of: str = "") -> ScramKeys | None:
    if value is None:
        return None
    if not isinstance(value, str) or not is_keys_text(value):
        # Never shown: it stands for a password.
        fault(f"{where}: not SCRAM keys as the server writes them; leave the line out, they are made anew")
        return None
    return read_keys(value, of)


def _device(where: str, name: str, value: object, fault: Callable[[str], None]) -> Device | None:
    if not is_device(name):
        fault(f"{where}: {DEVICE_RULE}")
        return None
    if not isinstance(value, dict):
        fault(f"{where}: must be a table")
        return None
    for key in value:
        if key not in _DEVICE_KEYS:
            guess = nearest(key, _DEVICE_KEYS)
            hint = f" (did you mean {where}.{guess}?)" if guess else ""
            fault(f"{where}.{printable(key)}: there is no such key{hint}")
    stored = value.get("password", "")
    if not isinstance(stored, str) or not is_app_hash(stored):
        fault(f"{where}.password: not an app password as `mailserver account app-password add` makes it")
        return None
    only = value.get("only")
    if only is not None and only not in {one.value for one in Use}:
        fault(f'{where}.only: {shown(only)}: must be "submission" or "pop3"')
        return None
    created = value.get("created")
    moment = created if isinstance(created, datetime) else None
    if created is not None and moment is None:
        fault(f"{where}.created: {shown(created)}: must be a date and time such as 2026-11-25T13:08:00Z")
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Device(
        name,
        stored,
        _keys(f"{where}.scram", value.get("scram"), fault),
        None if only is None else Use(only),
        0.0 if moment is None else moment.timestamp(),
    )
