"""accounts.toml: what it may say, how it is changed, and that a broken one harms nobody."""

import os
import stat
import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Mailbox
from mailserver.ports import Use
from mailserver.store.account_tables import AccountsError, read_tables
from mailserver.store.accounts import AccountsFile
from mailserver.store.accounts_edit import EntryExists, NoSuchEntry, editing
from mailserver.store.app_passwords import Device, hash_app_password
from mailserver.store.scram_keys import make_keys, scram_line
from tests.fakes.directory import box

HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaGhhc2g"
OTHER = "$argon2id$v=19$m=8,t=1,p=1$b3RoZXJzYWx0$aGFzaGhhc2g"
ALICE, BOB, CAROL = box("alice@example.org"), box("bob@example.org"), box("carol@example.net")

FILE = f"""\
# Our people.
version = 1

[accounts."alice@example.org"]   # the boss
password = "{HASH}"
may_send_as = ["Info@example.org", "@Example.net"]

[accounts."Bob@Example.org"]
password = "{HASH}"
disabled = true

[accounts."carol@example.net"]
# fetches nothing

[aliases]
"Sales@example.org" = ["alice@example.org", "bob@example.org"]  # both
"all@example.org" = ["sales@example.org", "out@far.example"]
"@example.net" = ["carol@example.net"]
"detail@example.org" = ["alice+list@example.org"]
"ring@example.org" = ["gnir@example.org"]
"gnir@example.org" = ["ring@example.org", "alice@example.org"]
"""


def tables(text=FILE, domains=("example.org", "example.net"), postmaster=ALICE, path="accounts.toml"):
    return read_tables(text.encode("utf-8"), path, domains, postmaster)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "accounts.toml"
    path.write_text(FILE, "utf-8")
    return path


def loaded(path, domains=("example.org", "example.net")):
    accounts = AccountsFile(path, domains, ALICE)
    accounts.load()
    return accounts


# --- tables -----------------------------------------------------------------------------------------------------------


def test_accounts_are_found_in_any_case():
    found = tables()
    assert found.account(box("ALICE@EXAMPLE.ORG")).mailbox == ALICE
    assert found.account(box("bob@example.org")).mailbox == Mailbox("Bob", "example.org")
    assert not found.account(BOB).is_enabled
    assert found.account(box("alice+x@example.org")) is None
    assert found.account(box("sales@example.org")) is None
    assert found.account(ALICE).may_send_as == ("info@example.org", "@example.net")


def test_aliases_and_catch_alls_are_found():
    found = tables()
    assert found.alias(box("SALES@example.org")) == (ALICE, BOB)
    assert found.alias(ALICE) is None
    assert found.catch_all("example.net") == (CAROL,)
    assert found.catch_all("example.org") is None
    assert found.alias(Mailbox("", "example.net")) is None
    assert found.is_local_domain("example.net")
    assert not found.is_local_domain("sub.example.net")
    assert found.postmaster() == ALICE


def test_every_alias_that_reaches_an_account_is_told():
    found = tables()
    reached = {str(alias) for alias in found.reaches(found.account(ALICE))}
    assert reached == {
        "sales@example.org",
        "all@example.org",
        "detail@example.org",
        "gnir@example.org",
        "ring@example.org",
    }
    # A catch-all is no address.
    assert list(found.reaches(found.account(CAROL))) == []


LOGINS = [
    ("alice@example.org", "alice@example.org"),
    ("ALICE@Example.ORG", "alice@example.org"),
    ("bob@example.org", "Bob@example.org"),
    ("alice", "alice@example.org"),
    ("Alice", "alice@example.org"),
    ("carol", "carol@example.net"),
    ("twin", None),
    ("twin@example.net", "twin@example.net"),
    ("alice+x@example.org", None),
    ("alice+x", None),
    ("sales@example.org", None),
    ("sales", None),
    ("gone", None),
    ("gone@old.example", "gone@old.example"),
    ("postmaster", None),
    ("", None),
    ("@", None),
    ("@example.org", None),
    ("alice@", None),
    (" alice@example.org", None),
    ("alice@example.org.", None),
    ("alice@example.org\0", None),
    ("alice@far.example", None),
    ("\udc80@example.org", None),
    ("a" * 100_000, None),
]


@pytest.mark.parametrize(("login", "expected"), LOGINS, ids=[ascii(row[0][:30]) for row in LOGINS])
def test_login_name_means_this_account(login, expected):
    more = '[accounts."twin@example.org"]\n[accounts."twin@example.net"]\n[accounts."gone@old.example"]\n'
    found = tables(FILE + more).login(login)
    assert (found and str(found.mailbox)) == expected


def test_empty_file_has_no_accounts():
    assert tables("").accounts == {}
    assert tables("# nothing\n").aliases == {}


APP = hash_app_password("app")

ERRORS = [
    ("version = 3", ["version: 3: written by a newer mailserver; this one reads versions up to 2"]),
    ("version = 0", ["version: 0: must be 2"]),
    ('version = "1"', ['version: "1": must be 2']),
    ("version = true", ["version: true: must be 2"]),
    ("acounts = 1", ["acounts: there is no such key (did you mean accounts?)"]),
    ("accounts = 1", ["accounts: 1: must be a table"]),
    ("aliases = []", ["aliases: []: must be a table"]),
    (
        "[accounts]\nalice = { }",
        ['accounts."alice": must be an address such as "alice@example.org": an address has the form local-part@domain'],
    ),
    (
        '[accounts."postmaster"]',
        ['accounts."postmaster": must be an address such as "alice@example.org": its domain is missing'],
    ),
    (
        '[accounts."@example.org"]',
        [
            'accounts."@example.org": must be an address such as "alice@example.org": '
            "the local-part of the address is empty"
        ],
    ),
    (
        '[accounts]\n"alice@example.org" = "secret"',
        ['accounts."alice@example.org": must be a table: a line [accounts."alice@example.org"] with its keys below'],
    ),
    (
        '[accounts."a@example.org"]\npasword = "x"',
        ['accounts."a@example.org".pasword: there is no such key (did you mean accounts."a@example.org".password?)'],
    ),
    (
        '[accounts."a@example.org"]\nquota = "1GB"',
        ['accounts."a@example.org".quota: "1GB": not available yet; leave it out'],
    ),
    (
        '[accounts."a@example.org"]\nscram = "secret"\npassword = "x"\nrequire_app_passwords = 1\ndevices = []',
        [
            'accounts."a@example.org".require_app_passwords: 1: must be true or false, without quotes',
            'accounts."a@example.org".scram: not SCRAM keys as the server writes them; leave the line out, they are '
            "made anew",
            'accounts."a@example.org".devices: must be a table',
        ],
    ),
    (
        f'[accounts."a@example.org".devices]\nPhone = {{}}\npc = 1\ntv = {{ password = "secret" }}\n'
        f'old = {{ password = "{APP}", only = "imap" }}\nnew = {{ password = "{APP}", pasword = 1, created = "now" }}\n'
        f'pad = {{ password = "{APP}", scram = 3 }}',
        [
            'accounts."a@example.org".devices.Phone: a device is named with 1 to 32 small letters, digits, - and _, '
            "such as phone or work-laptop",
            'accounts."a@example.org".devices.pc: must be a table',
            'accounts."a@example.org".devices.tv.password: not an app password as `mailserver account app-password '
            "add` makes it",
            'accounts."a@example.org".devices.old.only: "imap": must be "submission" or "pop3"',
            'accounts."a@example.org".devices.new.pasword: there is no such key (did you mean '
            'accounts."a@example.org".devices.new.password?)',
            'accounts."a@example.org".devices.new.created: "now": must be a date and time such as 2026-11-25T13:08:00Z',
            'accounts."a@example.org".devices.pad.scram: not SCRAM keys as the server writes them; leave the line out, '
            "they are made anew",
        ],
    ),
    ('[accounts."a@example.org"]\npassword = 1', ['accounts."a@example.org".password: must be text in quotes']),
    (
        '[accounts."a@example.org"]\ndisabled = "no"',
        ['accounts."a@example.org".disabled: "no": must be true or false, without quotes'],
    ),
    (
        '[accounts."a@example.org"]\nmay_send_as = "b@example.org"',
        [
            'accounts."a@example.org".may_send_as: "b@example.org": must be a list of addresses and domains, such as '
            '["info@example.org", "@example.net"]'
        ],
    ),
    (
        '[accounts."a@example.org"]\nmay_send_as = ["b", 3]',
        [
            'accounts."a@example.org".may_send_as[0]: "b": must be an address such as "alice@example.org": '
            "an address has the form local-part@domain",
            'accounts."a@example.org".may_send_as[1]: 3: must be an address such as "alice@example.org": '
            "must be text in quotes",
        ],
    ),
    (
        '[accounts."a@example.org"]\n[accounts."A@Example.org"]',
        ['accounts."A@Example.org": stands here twice; upper and lower case are the same'],
    ),
    (
        '[accounts."a@example.org"]\n[accounts."a@example.org"]',
        [
            "line 2, column 26: not valid TOML: the table [accounts.a@example.org] begins a second time; "
            "put its keys into one"
        ],
    ),
    (
        '[aliases]\n"s@example.org" = "a@example.org"',
        ['aliases."s@example.org": "a@example.org": must be a list of addresses, such as ["alice@example.org"]'],
    ),
    (
        '[aliases]\n"s@example.org" = ["a", "b@@", 1]',
        [
            'aliases."s@example.org"[0]: "a": must be an address such as "alice@example.org": '
            "an address has the form local-part@domain",
            'aliases."s@example.org"[1]: "b@@": must be an address such as "alice@example.org": '
            "an address has the form local-part@domain",
            'aliases."s@example.org"[2]: 1: must be an address such as "alice@example.org": must be text in quotes',
        ],
    ),
    (
        '[aliases]\n"s@example.org" = []\n"S@example.org" = []',
        ['aliases."S@example.org": stands here twice; upper and lower case are the same'],
    ),
    (
        "password = ",
        ["line 1, column 12: not valid TOML: the value is missing or not understood; text needs quotes"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), ERRORS, ids=[row[0][:40] for row in ERRORS])
def test_mistake_in_the_accounts_file_is_told(text, expected):
    with pytest.raises(AccountsError) as raised:
        tables(text + "\n", path="f")
    assert raised.value.errors == tuple(f"f: {error}" for error in expected)


def test_not_utf8_is_told_with_its_line(tmp_path):
    with pytest.raises(AccountsError) as raised:
        read_tables(b"version = 1\n# \xff\n", "f", (), ALICE)
    assert str(raised.value) == "f: line 2: not UTF-8; save the file in that encoding"


def test_password_is_never_told():
    for text in (
        '[accounts."a@example.org"]\npassword = "geheim"\n',
        '[accounts]\n"a@example.org" = "geheim"\n',
        '[accounts."a@example.org"]\npassword = geheim\n',
        '[accounts]\n"a@example.org" = {password = 5}\n',
    ):
        try:
            told = tables(text).warnings
        except AccountsError as error:
            told = error.errors
        assert told
        assert "geheim" not in "".join(told)
    assert "geheim" not in repr(tables('[accounts."a@example.org"]\npassword = "geheim"\n'))


def test_what_has_no_effect_is_a_warning():
    text = (
        '[accounts."a@example.org"]\npassword = "secret"\n[accounts."b@old.example"]\n'
        '[aliases]\n"a@example.org" = ["b@example.org"]\n"c@old.example" = ["a@example.org"]\n"@old.example" = []\n'
    )
    assert tables(text, path="f").warnings == (
        'f: accounts."a@example.org".password: not a kind of hash that is known here; login is refused',
        'f: accounts."b@old.example": gets no mail, because old.example is not one of the configured domains',
        'f: aliases."a@example.org": has no effect, because there is an account with this address',
        'f: aliases."c@old.example": gets no mail, because old.example is not one of the configured domains',
        'f: aliases."@old.example": gets no mail, because old.example is not one of the configured domains',
    )


def test_unknown_postmaster_is_a_remark():
    assert tables().remarks() == []
    assert tables(postmaster=box("sales@example.org")).remarks() == []
    assert tables(postmaster=box("me@far.example")).remarks() == []
    assert tables(postmaster=box("dave@example.org")).remarks() == [
        'postmaster: "dave@example.org": there is no such account yet; '
        "`mailserver account add dave@example.org` makes it"
    ]


@given(at=st.integers(0, len(FILE)), cut=st.integers(0, 30), put=st.text(max_size=4))
def test_damaged_file_is_tables_or_printable_lines(at, cut, put):
    octets = (FILE[:at] + put + FILE[at + cut :]).encode("utf-8", "surrogatepass")
    try:
        read_tables(octets, "f", ["example.org"], ALICE)
    except AccountsError as error:
        assert error.errors
        assert all(line.isprintable() for line in error.errors)
        # A hash is nobody's business.
        assert "$argon2id" not in str(error)


@pytest.mark.parametrize(
    "value",
    ["true", "1", "nan", '"x"', "[]", "[[]]", "[1]", "{}", "{ a = {} }", "1979-05-27", '"\\u0000"', '"\\u202e@a.b"'],
)
@pytest.mark.parametrize(
    "place",
    [
        "{} = 1",
        '"\\n" = {}',
        "version = {}",
        "accounts = {}",
        "aliases = {}",
        'accounts."a@b.c" = {}',
        'accounts."\\n" = {}',
        'aliases."a@b.c" = {}',
        'aliases."@b.c" = {}',
        'aliases."\\n" = {}',
        'accounts."a@b.c".password = {}',
        'accounts."a@b.c".disabled = {}',
        'accounts."a@b.c".may_send_as = {}',
        'accounts."a@b.c"."\\n" = {}',
    ],
)
def test_odd_values_are_tables_or_printable_lines(place, value):
    text = place.replace("{}", value)
    try:
        tables(text)
    except AccountsError as error:
        assert all(line.isprintable() for line in error.errors)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_missing_file_has_no_accounts_and_appears_later(tmp_path):
    path = tmp_path / "accounts.toml"
    accounts = loaded(path)
    assert accounts.account(ALICE) is None
    assert not accounts.has_changed()
    path.write_text(FILE)
    assert accounts.has_changed()
    assert accounts.reload()
    assert accounts.account(ALICE) is not None


def test_change_is_seen_and_told_once(path):
    accounts = loaded(path)
    with editing(path) as document:
        document.set_disabled(ALICE, True)
    assert accounts.account(ALICE).is_enabled
    assert accounts.has_changed()
    assert accounts.reload()
    assert not accounts.account(ALICE).is_enabled
    assert not accounts.reload()


def test_change_in_place_of_the_same_size_within_one_tick_is_seen(path):
    accounts = loaded(path)
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"# Uur")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert accounts.has_changed()


def test_broken_file_keeps_everything_and_is_told_once(path):
    accounts = loaded(path)
    path.write_text("[accounts.")
    assert accounts.has_changed()
    with pytest.raises(AccountsError, match="the last value, list or table is not finished"):
        accounts.reload()
    assert accounts.account(ALICE) is not None
    assert not accounts.has_changed()
    assert not accounts.reload()
    # SIGHUP: whoever asks hears it again.
    with pytest.raises(AccountsError, match="the last value, list or table is not finished"):
        accounts.reload(must_tell=True)
    path.write_text(FILE.replace("alice@example.org", "alicia@example.org"))
    assert accounts.has_changed()
    assert accounts.reload()
    assert accounts.account(ALICE) is None
    assert not accounts.reload(must_tell=True)


def test_file_that_became_empty_keeps_everything(path):
    """Editors truncate before they write; unknown users would be refused for good meanwhile."""
    accounts = loaded(path)
    path.write_text("")
    with pytest.raises(AccountsError, match="this file is empty"):
        accounts.reload()
    assert accounts.account(ALICE) is not None
    path.write_text(FILE.replace("alice@example.org", "alicia@example.org"))
    assert accounts.reload()
    assert accounts.account(box("alicia@example.org")) is not None


def test_file_that_is_being_written_is_read_when_it_is_whole(path):
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        path.write_text(FILE)

    accounts = AccountsFile(path, ["example.org", "example.net"], ALICE, sleep)
    accounts.load()
    path.write_text(FILE.partition("[aliases]")[0])
    assert not accounts.reload()
    assert waits
    assert accounts.alias(box("sales@example.org")) is not None


def test_file_from_the_future_is_read_at_once(path):
    accounts = loaded(path)
    path.write_text(FILE.replace("alice@example.org", "alicia@example.org"))
    later = path.stat().st_mtime_ns + 10**13
    os.utime(path, ns=(later, later))
    assert accounts.has_changed()
    assert accounts.reload()


def test_removed_file_keeps_everything(path):
    accounts = loaded(path)
    path.unlink()
    assert accounts.has_changed()
    with pytest.raises(AccountsError, match="there is no such file any more"):
        accounts.reload()
    assert accounts.account(ALICE) is not None
    assert not accounts.has_changed()


def test_broken_file_at_the_start_is_an_error(tmp_path):
    with pytest.raises(AccountsError, match="this is a folder"):
        loaded(tmp_path)


# --- changing it ------------------------------------------------------------------------------------------------------


def test_first_account_makes_a_file_that_says_what_it_is(tmp_path):
    path = tmp_path / "etc" / "accounts.toml"
    with editing(path) as document:
        document.add_account(ALICE, HASH)
    assert path.read_text() == (
        "# Accounts, password hashes and aliases of mailserver. Made with `mailserver account` and `mailserver alias`; "
        "edited by\n# hand it is fine too. The server sees a change within a second.\n"
        f'version = 2\n\n[accounts."alice@example.org"]\npassword = "{HASH}"\n'
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(os.listdir(path.parent)) == ["accounts.toml", "accounts.toml.lock"]


def test_edits_change_one_thing_and_keep_comments_and_order(path):
    with editing(path) as document:
        document.set_password(ALICE, OTHER)
        document.set_disabled(BOB, False)
    assert path.read_text() == FILE.replace(HASH, OTHER, 1).replace("disabled = true\n", "")


def test_new_account_stands_with_the_others(path):
    with editing(path) as document:
        document.add_account(box('"o dd"@example.org'), OTHER)
    text = path.read_text()
    assert tomllib.loads(text)["accounts"]['"o dd"@example.org'] == {"password": OTHER}
    assert FILE.partition("[aliases]")[0] in text
    assert loaded(path).account(box('"O DD"@example.org')) is not None


def test_accounts_written_as_inline_tables_can_be_edited(tmp_path):
    path = tmp_path / "accounts.toml"
    path.write_text(f'accounts = {{ "alice@example.org" = {{ password = "{HASH}" }} }} # short\n')
    with editing(path) as document:
        document.add_account(BOB, OTHER)
        document.set_disabled(ALICE, True)
        document.add_targets("x@example.org", [ALICE])
    accounts = loaded(path)
    assert not accounts.account(ALICE).is_enabled
    assert accounts.tables.hashes["bob@example.org"] == OTHER
    assert accounts.alias(box("x@example.org")) == (ALICE,)
    assert "# short" in path.read_text()


def test_accounts_are_added_once_and_found_in_any_case(path):
    with editing(path) as document:
        with pytest.raises(EntryExists):
            document.add_account(box("ALICE@example.org"), OTHER)
        assert document.has(BOB)
        assert document.password(BOB) == HASH
        assert document.password(CAROL) == ""
        document.remove_account(BOB)
        assert not document.has(BOB)
        for call in (
            lambda: document.password(BOB),
            lambda: document.set_password(BOB, OTHER),
            lambda: document.set_disabled(BOB, True),
            lambda: document.remove_account(BOB),
        ):
            with pytest.raises(NoSuchEntry):
                call()
    assert loaded(path).account(BOB) is None
    assert loaded(path).account(ALICE) is not None


def test_alias_targets_come_and_go(path):
    with editing(path) as document:
        assert document.add_targets("sales@example.org", [BOB, CAROL]) == [CAROL]
        assert document.add_targets("@Example.org", [ALICE]) == [ALICE]
        assert document.remove_targets("all@example.org", [box("out@far.example")]) == ["sales@example.org"]
        assert document.remove_targets("@example.net", [CAROL]) == []
        assert document.remove_targets("ring@example.org", []) == []
        with pytest.raises(NoSuchEntry) as raised:
            document.remove_targets("detail@example.org", [ALICE, BOB])
        assert raised.value.args == ("alice@example.org",)
        with pytest.raises(NoSuchEntry) as raised:
            document.remove_targets("none@example.org", [])
        assert raised.value.args == ("none@example.org",)
    accounts = loaded(path)
    assert accounts.alias(box("sales@example.org")) == (ALICE, BOB, CAROL)
    assert accounts.catch_all("example.org") == (ALICE,)
    assert accounts.catch_all("example.net") is None
    assert accounts.alias(box("all@example.org")) == (box("sales@example.org"),)
    assert accounts.alias(box("detail@example.org")) is not None
    assert "# both" in path.read_text()


def test_nothing_changed_writes_nothing(path):
    before = path.stat()
    with editing(path) as document:
        assert not document.set_disabled(ALICE, False)
        document.has(ALICE)
    assert path.stat().st_ino == before.st_ino


def test_exception_inside_writes_nothing(path):
    with pytest.raises(RuntimeError), editing(path) as document:
        document.set_password(ALICE, OTHER)
        raise RuntimeError
    assert path.read_text() == FILE


@pytest.mark.parametrize("text", ["[accounts.", "version = 3\n", "[accounts]\nalice = 3\n", "aliases = 3\n"])
def test_broken_or_newer_file_is_left_alone(path, text):
    path.write_text(text)
    with pytest.raises(AccountsError), editing(path) as document:
        document.add_account(ALICE, HASH)
    assert path.read_text() == text


def test_mode_owner_and_link_are_kept(path, tmp_path):
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65533)
    owner = (path.stat().st_uid, path.stat().st_gid)
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    with editing(link) as document:
        document.set_password(ALICE, OTHER)
    assert link.is_symlink()
    assert OTHER in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (path.stat().st_uid, path.stat().st_gid) == owner


def test_left_over_of_a_crash_is_swept(path):
    left = path.with_name(".accounts.toml.0123456789ab.tmp")
    left.write_text("half")
    with editing(path) as document:
        document.set_password(ALICE, OTHER)
    assert not left.exists()


def test_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "etc").write_text("a file")
    with pytest.raises(AccountsError, match=r"etc.*: cannot be written: "), editing(tmp_path / "etc" / "accounts.toml"):
        pass


def test_stuck_editor_is_told_after_a_while(path):
    with editing(path), pytest.raises(AccountsError) as raised, editing(path, timeout_s=0.05):
        pass
    assert str(raised.value) == f"{path}: another program is changing it; try again in a moment"


_ADD_TWENTY = """
import sys
from pathlib import Path
from mailserver.mail.address import Mailbox
from mailserver.store.accounts_edit import editing
for number in range(20):
    with editing(Path(sys.argv[1]), timeout_s=60) as document:
        document.add_account(Mailbox(f"{sys.argv[2]}-{number}", "example.org"), "$argon2id$x")
"""


def test_eight_processes_adding_twenty_accounts_each_lose_nothing(path):
    workers = [subprocess.Popen([sys.executable, "-c", _ADD_TWENTY, str(path), str(n)]) for n in range(8)]
    assert [worker.wait(120) for worker in workers] == [0] * 8
    accounts = loaded(path).tables.accounts
    assert len(accounts) == 3 + 160
    assert path.read_text().startswith(FILE.partition("[aliases]")[0])


# --- app passwords and SCRAM keys ------------------------------------------------------------------------------------

PHONE = Device("phone", hash_app_password("p"), make_keys("p", b"salt"), Use.POP3, 1_764_076_080.0)


def test_devices_are_written_and_read_and_everything_else_stays_as_it_is(path):
    path.write_text(FILE)
    with editing(path) as document:
        document.add_device(ALICE, PHONE)
        document.add_device(ALICE, replace(PHONE, name="pc", only=None, keys=None))
    written = path.read_text()
    assert written.startswith(FILE.partition("version = 1")[0] + "version = 2")
    kept = [line for line in FILE.splitlines() if line and line != "version = 1"]
    assert [line for line in written.splitlines() if line in kept] == kept
    found = tables(written).credentials[ALICE.folded]
    assert found.devices == (PHONE, replace(PHONE, name="pc", only=None, keys=None))
    with editing(path) as document:
        assert document.salt(ALICE) == b"salt" and document.salt(BOB) is None
        with pytest.raises(EntryExists):
            document.add_device(ALICE, PHONE)
        with pytest.raises(NoSuchEntry):
            document.remove_device(ALICE, "tablet")
        document.remove_device(ALICE, "phone")
        document.remove_device(ALICE, "pc")
        assert document.set_requires_app_passwords(ALICE, True)
        assert not document.set_requires_app_passwords(ALICE, True)
        assert document.set_requires_app_passwords(ALICE, False)
    assert [line for line in path.read_text().splitlines() if line] == [
        line.replace("version = 1", "version = 2") for line in FILE.splitlines() if line
    ]


def test_devices_of_accounts_that_stand_in_one_line(path):
    path.write_text('accounts = { "alice@example.org" = { password = "x" } }\n')
    with editing(path) as document:
        document.add_device(ALICE, PHONE)
    assert tables(path.read_text()).credentials[ALICE.folded].devices == (PHONE,)


def test_a_new_hash_takes_the_keys_of_the_old_one_with_it(path):
    path.write_text(FILE)
    with editing(path) as document:
        document.set_password(ALICE, HASH, scram_line("pencil", HASH))
    assert tables(path.read_text()).credentials[ALICE.folded].keys is not None
    with editing(path) as document:
        document.set_password(ALICE, OTHER)
    assert "scram" not in path.read_text()


def test_a_login_that_may_be_a_device():
    found = tables(FILE)
    assert found.device_login("alice+phone@example.org") == (found.account(ALICE), "phone")
    assert found.device_login("ALICE+Phone") == (found.account(ALICE), "phone")
    for text in ("alice@example.org", "alice+@example.org", "+phone@example.org", "zoe+phone", "alice+a.b", "+", ""):
        assert found.device_login(text) is None


def test_an_account_has_a_bounded_number_of_devices():
    many = "".join(f'd{number} = {{ password = "{APP}" }}\n' for number in range(51))
    with pytest.raises(AccountsError, match="51 of them; an account has at most 50"):
        tables('[accounts."a@example.org".devices]\n' + many)
