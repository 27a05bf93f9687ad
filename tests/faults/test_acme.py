"""The certificate under power cuts and failures: the old pair or the new one, never a key beside the wrong one."""

import contextlib
from pathlib import Path

from mailserver.acme_keeper import files_of
from mailserver.net.tls import CertificateTrouble, ServerTls
from mailserver.store.acme_folder import AcmeFolder, AcmeRecord
from mailserver.store.certificates import make_key
from mailserver.store.spool_json import Damaged
from tests.fakes.authority import FakeAuthority
from tests.faults.changes import Change, failures_of, power_cuts_of
from tests.faults.disk import NoSync
from tests.faults.server import Lost

NOW = 1_750_000_000.0
NAMES = [(f"mail{number}.example.org",) for number in range(3)]
AUTHORITY = FakeAuthority()
KEYS = [make_key("p256") for _ in NAMES]
CHAINS = [AUTHORITY.issue(key, names, NOW) for key, names in zip(KEYS, NAMES, strict=True)]


def make_state(root):
    Path(root, "var").mkdir()


def obtain(root, disk):
    """The account's key, and then three pairs in turn, each with its own key."""
    folder = AcmeFolder(root / "var", disk)
    with contextlib.suppress(OSError):
        folder.account_key()
        disk.told("account")
    for number, (key, chain) in enumerate(zip(KEYS, CHAINS, strict=True)):
        with contextlib.suppress(OSError):
            folder.install(key, chain)
            disk.told(number)
            folder.write_record(AcmeRecord(failures=number))


def check(root, told):
    folder = AcmeFolder(root / "var", NoSync())
    installed = [one for one in told if one != "account"]
    if folder.certificate.exists():
        try:
            found = ServerTls(files_of(folder)).facts.names
        except CertificateTrouble as trouble:
            raise Lost(str(trouble)) from None
        if installed and NAMES.index(found) < max(installed):
            raise Lost(f"{found} is in force, and {NAMES[max(installed)]} was told")
    elif installed:
        raise Lost("the certificate is gone")
    key = folder.account_key()
    if folder.account_key() != key:
        raise Lost("the account is another one each time")
    try:
        folder.read_record()
    except Damaged as damage:
        raise Lost(str(damage)) from None
    folder.install(KEYS[0], CHAINS[0])
    folder.write_record(AcmeRecord())
    left = sorted(path.name for path in folder.path.iterdir())
    if left != ["account.pem", "certificate.pem", "record.json"]:
        raise Lost(f"left behind: {left}")


CHANGE = Change("a certificate", make_state, obtain, check)


def test_a_power_cut_at_any_point_leaves_a_pair_that_fits(base):
    points, _ = power_cuts_of(CHANGE, base)
    assert points > 10


def test_a_failure_at_any_point_leaves_a_pair_that_fits(base):
    points, _ = failures_of(CHANGE, base, 1)
    assert points > 10
