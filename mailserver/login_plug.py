"""Who may log in, plugged together: the passwords, what becomes of them after a login, and when they were used."""

from mailserver.config import Config
from mailserver.last_uses import LastUses
from mailserver.login_upgrades import LoginUpgrades
from mailserver.maillog import Sink
from mailserver.ports import Blocking, Clock
from mailserver.store.accounts import AccountsFile
from mailserver.store.files import Files
from mailserver.store.last_use import LastUseFile
from mailserver.store.logins import Logins


def login_parts(
    config: Config, accounts: AccountsFile, files: Files, *, blocking: Blocking, clock: Clock, log: Sink
) -> tuple[LoginUpgrades, LastUses, Logins]:
    """The three of them; nothing is read or written yet."""

    def has_device(folded: str, device: str) -> bool:
        credentials = accounts.tables.credentials.get(folded)
        return credentials is not None and credentials.device(device) is not None

    upgrades = LoginUpgrades(accounts, blocking=blocking, clock=clock, sink=log, makes_keys=config.auth.scram)
    last_uses = LastUses(LastUseFile(config.storage.state, files), has_device, blocking=blocking, clock=clock, sink=log)
    logins = Logins(
        accounts,
        blocking,
        clock,
        log,
        upgrades=upgrades,
        note_use=last_uses.note,
        uses_scram=config.auth.scram,
    )
    return upgrades, last_uses, logins
