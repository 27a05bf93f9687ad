"""Accounts that send too much: what is held, who is told, and what a restart knows."""

import pytest

from mailserver.config import Caps
from mailserver.config.caps import CapTable
from mailserver.mail.trace import source_text
from mailserver.ports import LocalMailboxes
from mailserver.relay.account_caps import AccountCaps
from mailserver.store.caps_usage import CapsFile
from mailserver.store.files import Files
from mailserver.store.queue_orders import Choice
from mailserver.store.spool_json import Damaged, NewerFormat
from tests.fakes.awaiting import start
from tests.fakes.directory import box
from tests.fakes.relay import DAY, Office

ALICE = source_text("192.0.2.1:4711", "alice@example.org", "ESMTPSA")


@pytest.fixture
def office(tmp_path):
    return capped(Office(tmp_path), Caps(messages=2, recipients=10, new_recipients=5))


def capped(office, caps):
    office.told = []
    office.can_tell = True

    async def tell(subject, text, owner):
        office.told.append((subject, text, str(owner)))
        return office.can_tell

    office.caps = AccountCaps(
        caps,
        CapsFile(office.spool.paths.folder.parent, Files()),
        office.find_destination,
        tell,
        blocking=office.blocking,
        clock=office.clock,
        sink=office.events.append,
    )
    office.caps.load()
    office.restart()
    return office


def sent(office):
    return [recipients for _, recipients in office.transmitter.sent]


def states(office, queue_id):
    return [one.shown_state for one in office.spool.read(queue_id).progress]


def test_what_is_over_the_cap_is_held_and_told_once(office):
    for number in range(2):
        office.put(f"u{number}@far.example", source=ALICE)
    over = [office.put(f"v{number}@far.example", source=ALICE) for number in range(3)]
    office.settle()
    assert sent(office) == [("u0@far.example",), ("u1@far.example",)]
    assert [states(office, one) for one in over] == [["held"]] * 3
    assert office.words("held") == ["held"] * 3
    ((subject, text, owner),) = office.told
    assert subject == "Mail from alice@example.org to other servers is held" and owner == "alice@example.org"
    assert "alice@example.org has sent more than 2 messages within 24 hours.\n" in text
    assert '[caps.accounts."alice@example.org"]' in text
    # Not by its sender, which a thief may leave out.
    assert "queue remove --login alice@example.org\n" in text and "--sender" not in text
    assert max(map(len, text.splitlines())) < 79


def test_who_is_told_again_after_a_day(office):
    for _ in range(4):
        office.put("u@far.example", source=ALICE)
    office.advance(DAY + 1)
    for _ in range(3):
        office.put("u@far.example", source=ALICE)
    office.settle()
    assert len(office.told) == 2


def test_what_could_not_be_told_is_told_the_next_time(office):
    office.can_tell = False
    for _ in range(4):
        office.put("u@far.example", source=ALICE)
    office.settle()
    assert len(office.told) == 2


def test_a_day_later_there_is_room_again(office):
    for _ in range(3):
        office.put("u@far.example", source=ALICE)
    office.advance(DAY)
    office.put("later@far.example", source=ALICE)
    office.settle()
    assert sent(office)[-1] == ("later@far.example",)


def test_the_operator_sends_it_after_all(office):
    for _ in range(2):
        office.put("u@far.example", source=ALICE)
    over = office.put("v@far.example", "w@far.example", source=ALICE)
    office.settle()
    start(office.runner.release([over], Choice(), "root"))
    office.settle()
    assert sent(office)[-1] == ("v@far.example", "w@far.example")


def test_recipients_count_and_those_it_never_wrote_to(office):
    office.put(*(f"u{number}@far.example" for number in range(5)), source=ALICE)
    over = office.put("new@far.example", source=ALICE)
    office.settle()
    assert states(office, over) == ["held"]
    office.put("u0@far.example", source=ALICE)
    office.settle()
    assert sent(office)[-1] == ("u0@far.example",), "an old correspondent"


def test_mail_that_stays_here_strangers_and_reports_count_for_nothing(office):
    for _ in range(5):
        office.put("bob@example.org", source=ALICE)
        office.put("x@far.example", source="[192.0.2.1:25] ESMTP", sender="tony@outside.example")
        office.put("y@far.example", sender=None)
    office.settle()
    assert len(sent(office)) == 10 and not office.told


def test_an_alias_that_leads_outside_counts(office):
    office.local["all@example.org"] = LocalMailboxes((), tuple(box(f"m{number}@far.example") for number in range(6)))
    office.put("all@example.org", source=ALICE)
    office.settle()
    assert sent(office) == []
    assert len(office.told) == 1


def test_an_account_with_caps_of_its_own(tmp_path):
    caps = Caps(messages=1, accounts={"alice@example.org": CapTable(messages=0, recipients=0, new_recipients=0)})
    office = capped(Office(tmp_path), caps)
    for number in range(5):
        office.put(f"u{number}@far.example", source=ALICE)
    office.settle()
    assert len(sent(office)) == 5


def test_a_restart_knows_what_was_sent(office):
    for _ in range(2):
        office.put("u@far.example", source=ALICE)
    office.settle()
    start(office.caps.stop())
    capped(office, Caps(messages=2))
    over = office.put("u@far.example", source=ALICE)
    office.settle()
    assert states(office, over) == ["held"]


def test_what_waits_since_before_a_restart_is_not_judged_again(tmp_path):
    office = capped(Office(tmp_path), Caps(messages=1))
    for _ in range(3):
        office.put("u@far.example", source=ALICE, tell=False)
    office.restart()
    assert len(sent(office)) == 3


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"[]",
        b'{"version": 1, "accounts": [["a@b.example", 0.0, [], "xyz"]]}',
        b'{"version": 1, "accounts": [["a@b.example", 0.0, [[1, -1, 0, 0]], ""]]}',
        b'{"version": 1, "accounts": [["a@b.example", 0, [], ""]]}',
        b'{"version": 1, "accounts": [7]}',
    ],
)
def test_a_damaged_file_is_set_aside_and_told(tmp_path, octets):
    office = Office(tmp_path)
    (tmp_path / "caps.json").write_bytes(octets)
    with pytest.raises(Damaged):
        CapsFile(tmp_path, Files()).read()
    capped(office, Caps(messages=1))
    assert (tmp_path / "caps.json.damaged").read_bytes() == octets
    assert office.words("trouble") == ["trouble"]


def test_a_newer_file_is_left_alone(tmp_path):
    octets = b'{"version": 2, "accounts": []}'
    office = Office(tmp_path)
    (tmp_path / "caps.json").write_bytes(octets)
    with pytest.raises(NewerFormat):
        CapsFile(tmp_path, Files()).read()
    capped(office, Caps(messages=1))
    office.put("u@far.example", source=ALICE)
    office.advance(120)
    start(office.caps.stop())
    assert (tmp_path / "caps.json").read_bytes() == octets
