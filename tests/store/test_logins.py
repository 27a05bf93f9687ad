"""Who may log in: right and wrong passwords, what is remembered, and hashes that are replaced."""

import base64
import hashlib
from collections import Counter

import pytest

from mailserver.login_upgrades import GATHER_S, LoginUpgrades
from mailserver.maillog import Trouble
from mailserver.ports import Lane, Overloaded, Use
from mailserver.store.accounts import AccountsFile
from mailserver.store.accounts_edit import editing
from mailserver.store.app_passwords import Device, hash_app_password
from mailserver.store.logins import MAX_REMEMBERED, REMEMBERED_S, Logins
from mailserver.store.passwords import Passwords, Verdict
from mailserver.store.scram_keys import make_keys, scram_line
from tests.fakes.awaiting import run
from tests.fakes.clock import FakeClock
from tests.fakes.directory import box

ALICE, BOB = box("alice@example.org"), box("bob@example.org")
# openssl passwd -5 -salt abcdefgh 'correct horse'
FOREIGN = "$5$abcdefgh$ruMep1ijHnJPZbETDNiumskxcX3kN4lzZd5VlsqE7eB"


class AtOnce:
    """The `Blocking` door without threads; `before` runs between the question and the work."""

    def __init__(self):
        self.lanes = []
        self.before = lambda: None
        self.is_full = False

    def run(self, lane, call, *args):
        if self.is_full:
            raise Overloaded(lane.value)
        self.lanes.append(lane)

        async def work():
            self.before()
            return call(*args)

        return work()


class CountingPasswords(Passwords):
    """Counts what each stored hash was checked for."""

    def __init__(self):
        super().__init__(memory_kib=8, passes=1)
        self.checked = Counter()

    def check(self, stored, password):
        self.checked[stored] += 1
        return super().check(stored, password)


class House:
    """An accounts file with alice and bob, and the logins over it."""

    def __init__(self, folder, *, makes_keys=False, **hashes):
        self.path = folder / "accounts.toml"
        self.passwords = CountingPasswords()
        self.alice = self.passwords.hash("alice's")
        self.bob = self.passwords.hash("bob's")
        with editing(self.path) as document:
            document.add_account(ALICE, hashes.get("alice", self.alice))
            document.add_account(BOB, hashes.get("bob", self.bob))
        self.accounts = AccountsFile(self.path, ["example.org"], ALICE)
        self.accounts.load()
        self.blocking = AtOnce()
        self.clock = FakeClock()
        self.events = []
        self.uses = []
        self.upgrades = LoginUpgrades(
            self.accounts,
            blocking=self.blocking,
            clock=self.clock,
            sink=self.events.append,
            passwords=self.passwords,
            makes_keys=makes_keys,
        )
        self.logins = Logins(
            self.accounts,
            self.blocking,
            self.clock,
            self.events.append,
            self.passwords,
            upgrades=self.upgrades,
            note_use=lambda *use: self.uses.append(use),
            uses_scram=makes_keys,
        )

    def verify(self, login, password, use=Use.SUBMISSION):
        return run(self.logins.verify(login, password, use))

    def settle(self):
        """Time passes in which upgrades are written, and the server sees the file."""
        self.clock.advance(GATHER_S)
        if self.accounts.has_changed():
            self.accounts.reload()

    @property
    def work(self):
        return sum(self.passwords.checked.values())

    def edit(self):
        return editing(self.path)


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def test_right_password_gives_the_account_and_wrong_ones_nothing(house):
    assert house.verify("alice@example.org", "alice's").account.mailbox == ALICE
    assert house.verify("ALICE@EXAMPLE.ORG", "alice's").account.mailbox == ALICE
    assert house.verify("alice", "alice's").account.mailbox == ALICE
    for login, password in (
        ("alice@example.org", "bob's"),
        ("alice@example.org", ""),
        ("alice@example.org", "alice's "),
        ("carol@example.org", "alice's"),
        ("alice+x@example.org", "alice's"),
        ("", ""),
    ):
        assert house.verify(login, password) is None
    assert set(house.blocking.lanes) == {Lane.PASSWORDS}
    assert house.events == []


def test_success_is_remembered_for_some_minutes_and_failure_never(house):
    for _ in range(3):
        assert house.verify("alice@example.org", "alice's")
    assert house.work == 1
    house.clock.advance(REMEMBERED_S - 1)
    assert house.verify("alice@example.org", "alice's")
    assert house.work == 1
    house.clock.advance(2)
    assert house.verify("alice@example.org", "alice's")
    assert house.work == 2
    for _ in range(3):
        assert house.verify("alice@example.org", "wrong") is None
    assert house.work == 5


def test_what_is_remembered_is_bounded(house):
    assert house.verify("alice@example.org", "alice's")
    remembered = house.logins._remembered
    for number in range(MAX_REMEMBERED):
        remembered.add(number.to_bytes(32))
    assert len(remembered._until) == MAX_REMEMBERED
    house.verify("alice@example.org", "alice's")
    assert house.work == 2


def test_nothing_remembered_holds_a_password(house):
    house.verify("alice@example.org", "alice's")
    assert all(len(digest) == 32 and b"alice" not in digest for digest in house.logins._remembered._until)


def test_changed_password_ends_the_old_one_at_once(house):
    assert house.verify("alice@example.org", "alice's")
    with house.edit() as document:
        document.set_password(ALICE, house.passwords.hash("new one"))
    house.accounts.reload()
    assert house.verify("alice@example.org", "alice's") is None
    assert house.verify("alice@example.org", "new one")


def test_disabled_account_is_refused_at_once_whatever_is_remembered(house):
    assert house.verify("alice@example.org", "alice's")
    with house.edit() as document:
        document.set_disabled(ALICE, True)
    house.accounts.reload()
    assert house.verify("alice@example.org", "alice's") is None
    assert house.verify("alice@example.org", "wrong") is None
    with house.edit() as document:
        document.set_disabled(ALICE, False)
    house.accounts.reload()
    assert house.verify("alice@example.org", "alice's")


def test_account_removed_or_disabled_while_the_hash_is_computed_is_refused(house):
    def disable():
        with house.edit() as document:
            document.set_disabled(ALICE, True)
        house.accounts.reload()

    house.blocking.before = disable
    assert house.verify("alice@example.org", "alice's") is None

    def remove():
        with house.edit() as document:
            document.remove_account(BOB)
        house.accounts.reload()

    house.blocking.before = remove
    assert house.verify("bob@example.org", "bob's") is None


def test_two_that_wait_share_one_check(house):
    """A program that opens several connections at once pays for one slow hash."""
    house.blocking.before = lambda: (
        setattr(house.blocking, "before", lambda: None),
        house.verify("alice@example.org", "alice's"),
    )
    assert house.verify("alice@example.org", "alice's")
    assert house.work == 1


def test_unknown_login_costs_one_check_of_a_hash_like_the_others(house):
    for login in ("carol@example.org", "dave@example.org", "erin", "x@far.example", "", "\udc80"):
        assert house.verify(login, "alice's") is None
    assert house.work == 6
    assert set(house.passwords.checked) <= {house.alice, house.bob}
    before = house.passwords.checked.copy()
    house.verify("carol@example.org", "x")
    house.verify("CAROL@example.org", "y")
    assert sorted((house.passwords.checked - before).values()) == [2]


def test_first_of_all_logins_is_checked_against_a_decoy(tmp_path):
    accounts = AccountsFile(tmp_path / "accounts.toml", ["example.org"], ALICE)
    passwords = CountingPasswords()
    logins = Logins(accounts, AtOnce(), FakeClock(), lambda event: None, passwords)
    assert run(logins.verify("alice@example.org", "x", Use.POP3)) is None
    assert passwords.checked.total() == 1


def test_account_without_a_password_cannot_log_in(house):
    with house.edit() as document:
        document.set_password(ALICE, "")
    house.accounts.reload()
    for password in ("", "alice's"):
        assert house.verify("alice@example.org", password) is None
    assert house.work == 2


def test_full_lane_is_told(house):
    house.blocking.is_full = True
    for login in ("alice@example.org", "carol@example.org"):
        with pytest.raises(Overloaded):
            house.verify(login, "alice's")


def test_foreign_hash_is_replaced_at_the_first_login(tmp_path):
    house = House(tmp_path, alice=FOREIGN)
    assert house.verify("alice@example.org", "wrong") is None
    assert FOREIGN in house.path.read_text()
    assert house.verify("alice@example.org", "correct horse")
    house.settle()
    assert FOREIGN not in house.path.read_text()
    stored = house.accounts.tables.hashes[ALICE.folded]
    assert house.passwords.check(stored, "correct horse") == Verdict(True)
    assert house.verify("alice@example.org", "correct horse")
    assert house.events == []


def test_replacing_a_hash_never_undoes_a_change_of_the_password(tmp_path):
    house = House(tmp_path, alice=FOREIGN)
    new = house.passwords.hash("new one")

    def change():
        with house.edit() as document:
            document.set_password(ALICE, new)

    assert house.verify("alice@example.org", "correct horse")
    change()
    house.settle()
    assert house.accounts.tables.hashes[ALICE.folded] == new
    assert house.verify("alice@example.org", "correct horse") is None


def test_removed_account_is_not_brought_back_by_a_replaced_hash(tmp_path):
    house = House(tmp_path, alice=FOREIGN)

    def remove():
        with house.edit() as document:
            document.remove_account(ALICE)

    house.verify("alice@example.org", "correct horse")
    remove()
    house.settle()
    assert house.accounts.account(ALICE) is None
    assert house.events == []


def test_hash_that_cannot_be_replaced_is_told_and_the_login_is_fine(tmp_path):
    house = House(tmp_path, alice=FOREIGN)
    house.path.write_text("[broken")
    assert house.verify("alice@example.org", "correct horse")
    house.clock.advance(GATHER_S)
    (event,) = house.events
    assert isinstance(event, Trouble)
    assert event.what == "password of alice@example.org"
    assert event.effect == "the old hash stays; the login is fine"
    assert "correct horse" not in event.line()


def test_damaged_hash_is_a_wrong_password_and_told(tmp_path):
    house = House(tmp_path, alice="$2b$05$damaged")
    assert house.verify("alice@example.org", "alice's") is None
    (event,) = house.events
    assert event.line() == (
        'trouble what="password of alice@example.org" reason="the stored password hash cannot be checked: ValueError" '
        'effect="treated as a wrong password"'
    )


# --- a login that succeeded, later ------------------------------------------------------------------------------------


def _reloaded(house, change):
    with house.edit() as document:
        change(document)
    house.accounts.reload()


def test_a_login_holds_until_the_account_is_disabled_removed_or_has_another_password(house):
    new = house.passwords.hash("new")
    for change, undo in (
        (lambda it: it.set_disabled(ALICE, True), lambda it: it.set_disabled(ALICE, False)),
        (lambda it: it.set_password(ALICE, new), lambda it: it.set_password(ALICE, house.alice)),
        (lambda it: it.remove_account(ALICE), lambda it: it.add_account(ALICE, house.alice)),
    ):
        proof = house.accounts.tables.hashes[ALICE.folded]
        assert house.logins.still_holds(ALICE, proof)
        _reloaded(house, change)
        assert not house.logins.still_holds(ALICE, proof)
        _reloaded(house, undo)
    assert not house.logins.still_holds(ALICE, "")


def test_a_login_holds_when_its_own_hash_is_replaced_by_a_better_one(tmp_path):
    old = "{SSHA}" + base64.b64encode(hashlib.sha1(b"alice'ssalt").digest() + b"salt").decode()
    house = House(tmp_path, alice=old)
    proof = house.verify("alice@example.org", "alice's").proof
    house.settle()
    assert house.accounts.tables.hashes[ALICE.folded] != old
    assert house.logins.still_holds(ALICE, proof)
    _reloaded(house, lambda document: document.set_password(ALICE, house.passwords.hash("new")))
    assert not house.logins.still_holds(ALICE, proof)


# --- SCRAM: what a challenge tells ------------------------------------------------------------------------------------

FORMS = (
    "{}@example.org",
    "{}@EXAMPLE.org",
    '"{}"@example.org',
    "{}+phone@example.org",
    "{}+PHONE@example.org",
    "{}+a+b@example.org",
    "{}+!!@example.org",
    "{}@b\u00fccher.example",
    "{}@xn--bcher-kva.example",
    "{}@BU\u0308CHER.example",
    "{}+phone@b\u00fccher.example",
    "{}",
    "{}+phone",
    "{}+!!",
    " {}",
)


def _with_keys(folder, *addresses):
    house = House(folder, makes_keys=True)
    with house.edit() as document:
        document.remove_account(BOB)
        for address in addresses:
            stored = house.passwords.hash(address)
            document.add_account(box(address), stored, scram_line(address, stored))
    house.accounts = AccountsFile(house.path, ["example.org", "xn--bcher-kva.example"], ALICE)
    house.accounts.load()
    house.logins = Logins(house.accounts, house.blocking, house.clock, house.events.append, house.passwords)
    house.logins.use_secret(b"the same each time")
    return house


def _shape(house, name):
    """Which ways to write a name have one challenge; which domain a bare name is of is anybody's guess."""
    offers = [(one.salt, one.iterations) for one in (house.logins.scram(form.format(name), Use.POP3) for form in FORMS)]
    at_home, abroad, bare = offers[0], offers[7], offers[11]
    assert bare in (at_home, abroad)
    return [(one == at_home, one == abroad) for one in offers[:11]], [one == bare for one in offers[11:]]


def test_a_challenge_does_not_tell_who_exists_however_the_name_is_written(tmp_path):
    """RFC 5802 9: who compares the salts of several ways to write a name finds nobody and somebody alike."""
    house = _with_keys(tmp_path, "carol@example.org", "dora@xn--bcher-kva.example", "both@example.org",
                       "both@xn--bcher-kva.example")  # fmt: skip
    nobody = _shape(house, "nobody")
    assert nobody == _shape(house, "else")
    assert [_shape(house, name) for name in ("carol", "dora", "both")] == [nobody] * 3


def test_the_domain_of_a_bare_name_that_nobody_has_differs_from_name_to_name(tmp_path):
    house = _with_keys(tmp_path, "carol@example.org")

    def salt(login):
        return house.logins.scram(login, Use.POP3).salt

    assert len({salt(f"n{number}") == salt(f"n{number}@example.org") for number in range(40)}) == 2


def test_a_device_that_comes_while_keys_are_made_has_the_same_salt_in_the_end(tmp_path):
    """Of two salts a client that gives the account's name could prove one password only, for good."""
    house = House(tmp_path, makes_keys=True)
    assert house.verify("alice@example.org", "alice's")
    with house.edit() as document:
        assert document.salt(ALICE) is None
        document.add_device(ALICE, Device("phone", hash_app_password("x"), make_keys("x", document.salt(ALICE))))
    house.settle()
    house.clock.advance(REMEMBERED_S)
    assert house.verify("alice@example.org", "alice's")
    house.settle()
    own = house.accounts.tables.credentials[ALICE.folded]
    assert own.keys is not None
    assert own.keys.salt == own.devices[0].keys.salt
    assert len(house.logins.scram("alice@example.org", Use.POP3).candidates) == 2
