"""App passwords: the lines they are kept by, logins with them, and logins by SCRAM over the accounts file."""

import pytest

from mailserver.mail.scram import ScramKeys
from mailserver.ports import Lane, LoggedIn, Use
from mailserver.store.app_passwords import Device, fits, hash_app_password, is_app_hash, is_device
from mailserver.store.files import Files
from mailserver.store.login_secret import login_secret
from mailserver.store.scram_keys import ITERATIONS, make_keys, scram_line
from tests.fakes.directory import box
from tests.store.test_logins import ALICE, BOB, FOREIGN, House

PHONE, SCANNER = "k7dmq-3xwzp-9fhtr-b2vns", "aaaaa-bbbbb-ccccc-ddddd"
ALL = list(Use)


@pytest.fixture
def house(tmp_path):
    """Alice has a phone for everything and a scanner that only sends; bob has his password. All with keys."""
    house = House(tmp_path, makes_keys=True)
    with house.edit() as document:
        document.set_password(ALICE, house.alice, scram_line("alice's", house.alice))
        document.set_password(BOB, house.bob, scram_line("bob's", house.bob))
        salt = document.salt(ALICE)
        document.add_device(ALICE, Device("phone", hash_app_password(PHONE), make_keys(PHONE, salt), None, 1.0))
        scanner = Device("scanner", hash_app_password(SCANNER), make_keys(SCANNER, salt), Use.SUBMISSION, 1.0)
        document.add_device(ALICE, scanner)
    house.accounts.reload()
    return house


def changed(house, change):
    with house.edit() as document:
        change(document)
    house.accounts.reload()


# --- lines ------------------------------------------------------------------------------------------------------------


def test_a_line_fits_its_password_only():
    line = hash_app_password(PHONE)
    assert is_app_hash(line) and PHONE not in line
    assert fits(line, PHONE)
    assert not fits(line, PHONE.upper()) and not fits(line, SCANNER) and not fits(line, "") and not fits(line, "\udc80")
    assert hash_app_password(PHONE) != line


@pytest.mark.parametrize("line", ["", "$app$", "$app$YQ==$YQ==", "$argon2id$x", "$app$$" + "A" * 44, "$app$!$!"])
def test_other_lines_fit_nothing(line):
    assert not is_app_hash(line) and not fits(line, "")


@pytest.mark.parametrize(
    ("name", "is_good"),
    [("phone", True), ("p", True), ("work-laptop_2", True), ("x" * 32, True), ("x" * 33, False), ("", False)]
    + [(name, False) for name in ("Phone", "-a", "a-", "a.b", "a+b", "a b", "ä", "a\n", "٣")],
)
def test_device_names(name, is_good):
    assert is_device(name) is is_good


# --- logins with a password ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["alice@example.org", "ALICE@example.org", "alice"])
def test_an_app_password_logs_in_with_the_bare_address(house, login):
    who = house.verify(login, PHONE)
    assert (who.account.mailbox, who.device) == (ALICE, "phone")
    assert house.work == 0, "no slow hash"


@pytest.mark.parametrize("login", ["alice+phone@example.org", "Alice+PHONE@example.org", "alice+phone"])
def test_an_app_password_logs_in_with_the_name_of_its_device(house, login):
    assert house.verify(login, PHONE).device == "phone"


def test_the_own_password_logs_in_still(house):
    assert house.verify("alice@example.org", "alice's").device == ""


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("alice+phone@example.org", "alice's"),
        ("alice+phone@example.org", SCANNER),
        ("alice+tablet@example.org", PHONE),
        ("bob@example.org", PHONE),
        ("bob+phone@example.org", PHONE),
        ("alice+@example.org", PHONE),
        ("+phone@example.org", PHONE),
        ("alice@example.org", PHONE.replace("-", "")),
        ("alice+phone@elsewhere.example", PHONE),
    ],
)
def test_what_does_not_fit_costs_one_check_like_any_wrong_password(house, login, password):
    assert house.verify(login, password) is None
    assert house.work == 1 and house.blocking.lanes == [Lane.PASSWORDS]


def test_a_password_that_is_for_one_use(house):
    for login in ("alice@example.org", "alice+scanner@example.org"):
        assert house.verify(login, SCANNER, Use.SUBMISSION).device == "scanner"
        assert house.verify(login, SCANNER, Use.POP3) is None


def test_a_disabled_account_has_no_app_passwords(house):
    changed(house, lambda document: document.set_disabled(ALICE, True))
    assert house.verify("alice@example.org", PHONE) is None
    assert house.logins.scram("alice@example.org", Use.POP3).candidates == ()


def test_revoking_ends_the_password_and_open_sessions_of_that_device_only(house):
    phone, scanner, own = (house.verify("alice", one) for one in (PHONE, SCANNER, "alice's"))
    changed(house, lambda document: document.remove_device(ALICE, "phone"))
    assert house.verify("alice", PHONE) is None
    holds = [house.logins.still_holds(ALICE, one.proof) for one in (phone, scanner, own)]
    assert holds == [False, True, True]


def test_a_new_own_password_leaves_devices_alone(house):
    phone = house.verify("alice", PHONE)
    changed(house, lambda document: document.set_password(ALICE, house.passwords.hash("new")))
    assert house.logins.still_holds(ALICE, phone.proof) and house.verify("alice", PHONE)


def test_app_passwords_only(house):
    own = house.verify("alice", "alice's")
    changed(house, lambda document: document.set_requires_app_passwords(ALICE, True))
    assert house.verify("alice", "alice's") is None
    assert not house.logins.still_holds(ALICE, own.proof)
    assert house.verify("alice", PHONE).device == "phone"
    names = [who.device for who, _ in house.logins.scram("alice", Use.SUBMISSION).candidates]
    assert names == ["phone", "scanner"]


def test_an_account_with_a_plus_in_its_address_comes_first(house):
    plus = box("alice+phone@example.org")
    changed(house, lambda document: document.add_account(plus, house.passwords.hash("plus")))
    assert house.verify("alice+phone@example.org", "plus").account.mailbox == plus
    assert house.verify("alice+phone@example.org", PHONE) is None
    assert house.verify("alice@example.org", PHONE).device == "phone"


def test_uses_of_devices_are_noted_and_others_not(house):
    house.logins.logged_in(house.verify("alice", PHONE), "192.0.2.7", Use.POP3)
    house.logins.logged_in(house.verify("alice", "alice's"), "192.0.2.7", Use.POP3)
    assert house.uses == [("alice@example.org", "phone", "192.0.2.7", Use.POP3)]


# --- SCRAM ------------------------------------------------------------------------------------------------------------


def names(offer):
    return [who.device for who, _ in offer.candidates]


def test_all_passwords_of_an_account_may_be_proved_with_its_bare_name(house):
    offer = house.logins.scram("alice@example.org", Use.SUBMISSION)
    assert names(offer) == ["", "phone", "scanner"]
    assert all((keys.salt, keys.iterations) == (offer.salt, offer.iterations) for _, keys in offer.candidates)
    assert names(house.logins.scram("alice@example.org", Use.POP3)) == ["", "phone"]
    assert names(house.logins.scram("alice+phone@example.org", Use.POP3)) == ["phone"]
    assert names(house.logins.scram("alice+scanner@example.org", Use.POP3)) == []
    who, keys = house.logins.scram("alice+phone", Use.POP3).candidates[0]
    assert who == LoggedIn(house.accounts.account(ALICE), "phone", who.proof)
    assert keys == make_keys(PHONE, keys.salt)
    assert house.logins.still_holds(ALICE, who.proof)


def test_an_unknown_login_is_challenged_like_a_known_one(house):
    """Length of salt and count are those of everybody, and each way to write a name gives the same."""
    for known, unknown in (
        ("alice@example.org", "carol@example.org"),
        ("ALICE@example.org", "CAROL@example.org"),
        ("alice", "carol"),
        ("alice+phone@example.org", "carol+phone@example.org"),
        ("alice+tablet@example.org", "carol+tablet@example.org"),
        ("alice+phone", "carol+phone"),
    ):
        one, other = (house.logins.scram(login, Use.POP3) for login in (known, unknown))
        assert other.candidates == ()
        assert len(one.salt) == len(other.salt) and one.iterations == other.iterations == ITERATIONS
        assert one.salt == house.logins.scram("alice@example.org", Use.POP3).salt
        assert other.salt == house.logins.scram("carol@example.org", Use.POP3).salt
    assert house.logins.scram("dave@example.org", Use.POP3).salt != other.salt
    for login in ("", "@", "+", "@@", "+x@", "x" * 500, "\udc80"):
        assert house.logins.scram(login, Use.POP3).candidates == ()


def test_the_salt_of_who_does_not_exist_survives_a_restart(house, tmp_path):
    secret = login_secret(tmp_path, Files())
    house.logins.use_secret(secret)
    before = house.logins.scram("carol@example.org", Use.POP3).salt
    house.logins.use_secret(login_secret(tmp_path, Files()))
    assert house.logins.scram("carol@example.org", Use.POP3).salt == before
    assert (tmp_path / "login-secret").stat().st_mode & 0o777 == 0o600
    (tmp_path / "login-secret").write_bytes(b"half")
    assert len(login_secret(tmp_path, Files())) == 32 and login_secret(tmp_path, Files()) != secret


def test_offered_only_when_everybody_has_keys(house):
    assert house.logins.offers_scram()
    carol = box("carol@example.org")
    changed(house, lambda document: document.add_account(carol, house.passwords.hash("carol's")))
    assert not house.logins.offers_scram()
    # Who is disabled, or cannot log in anyhow, is not in the way.
    changed(house, lambda document: document.set_disabled(carol, True))
    assert house.logins.offers_scram()
    changed(house, lambda document: (document.set_disabled(carol, False), document.set_password(carol, "")))
    assert house.logins.offers_scram()
    changed(house, lambda document: document.add_device(carol, Device("x", hash_app_password("x"))))
    assert not house.logins.offers_scram()


def test_not_offered_where_nobody_can_log_in(tmp_path):
    house = House(tmp_path, makes_keys=True)
    changed(house, lambda document: (document.remove_account(ALICE), document.remove_account(BOB)))
    assert not house.logins.offers_scram()


def test_a_hash_that_is_replaced_by_hand_ends_the_keys_beside_it(house):
    other = house.passwords.hash("another")
    house.path.write_text(house.path.read_text().replace(house.alice, other))
    house.accounts.reload()
    assert names(house.logins.scram("alice", Use.POP3)) == ["phone"]
    assert not house.logins.offers_scram()


# --- keys that are made at logins ------------------------------------------------------------------------------------


def own_keys(house, mailbox=ALICE) -> ScramKeys | None:
    return house.accounts.tables.credentials[mailbox.folded].keys


def test_a_plain_login_makes_missing_keys(tmp_path):
    house = House(tmp_path, makes_keys=True)
    assert not house.logins.offers_scram()
    assert house.verify("alice@example.org", "wrong") is None
    house.settle()
    assert own_keys(house) is None
    for who, password in (("alice@example.org", "alice's"), ("bob@example.org", "bob's")):
        proof = house.verify(who, password).proof
        assert house.upgrades.replaced(proof) is None
    house.settle()
    assert own_keys(house) == make_keys("alice's", own_keys(house).salt)
    assert house.accounts.tables.hashes[ALICE.folded] == house.alice, "the hash is good as it is"
    assert house.logins.offers_scram()
    assert house.events == []


def test_keys_that_are_there_are_not_made_again(house):
    before = house.path.read_bytes()
    assert house.verify("alice@example.org", "alice's")
    house.settle()
    assert house.path.read_bytes() == before


def test_keys_come_with_a_hash_that_is_replaced_and_keep_the_salt_of_the_devices(tmp_path):
    house = House(tmp_path, makes_keys=True, alice=FOREIGN)
    device = Device("phone", hash_app_password(PHONE), make_keys(PHONE), None, 1.0)
    changed(house, lambda document: document.add_device(ALICE, device))
    house.verify("alice@example.org", "correct horse")
    house.settle()
    assert house.accounts.tables.hashes[ALICE.folded].startswith("$argon2id$")
    assert own_keys(house) == make_keys("correct horse", device.keys.salt)


def test_many_first_logins_write_the_file_once(tmp_path, monkeypatch):
    house = House(tmp_path, makes_keys=True)
    writes = []
    monkeypatch.setattr("mailserver.store.accounts_edit._replace", lambda *words: writes.append(words))
    assert house.verify("alice@example.org", "alice's") and house.verify("bob@example.org", "bob's")
    assert writes == []
    house.settle()
    assert len(writes) == 1 and writes[0][2].count(b"\nscram = ") == 2


def test_a_login_does_not_wait_for_its_keys(tmp_path):
    house = House(tmp_path, makes_keys=True)
    run_at_once = house.blocking.run

    def full_behind_the_check(lane, call, *args):
        house.blocking.is_full = bool(house.blocking.lanes)
        return run_at_once(lane, call, *args)

    house.blocking.run = full_behind_the_check
    assert house.verify("alice@example.org", "alice's")
    house.settle()
    assert own_keys(house) is None and house.events == []
    # The next login that is checked does it.
    house.blocking.is_full, house.blocking.run = False, run_at_once
    house.clock.advance(301)
    assert house.verify("alice@example.org", "alice's")
    house.settle()
    assert own_keys(house) is not None


def test_a_file_that_cannot_be_written_is_told_once_an_hour(tmp_path):
    house = House(tmp_path, makes_keys=True)
    text = house.path.read_text()
    house.path.write_text("[broken")
    for _ in range(3):
        assert house.verify("alice@example.org", "alice's")
        house.clock.advance(400)
    assert len(house.events) == 1
    house.path.write_text(text)
    house.clock.advance(3600)
    assert house.verify("alice@example.org", "alice's")
    house.settle()
    assert own_keys(house) is not None


def test_what_waits_is_written_at_the_stop(tmp_path):
    from tests.fakes.awaiting import run

    house = House(tmp_path, makes_keys=True)
    house.verify("alice@example.org", "alice's")
    run(house.upgrades.stop())
    house.accounts.reload()
    assert own_keys(house) is not None
