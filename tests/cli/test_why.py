"""`mailserver why` against prepared journals: what is found, how it reads, and what is said when nothing is."""

import json
import sqlite3
import time

import pytest
from click.testing import CliRunner

from mailserver import maillog
from mailserver.cli.main import main
from mailserver.cli.why_life import question
from mailserver.cli.why_text import _SENTENCES, sentence
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.maillog import (
    Accepted,
    BouncedEvent,
    DeferredEvent,
    DestinationBack,
    DestinationDown,
    Erased,
    Expanded,
    Fetched,
    Filed,
    LoginRefused,
    LookedUp,
    MailEvent,
    Ordered,
    Queued,
    Refused,
    Removed,
    ReportMade,
    Sent,
    SetAside,
    Talked,
    Tried,
    Weighed,
)
from mailserver.ports import Report
from mailserver.store.files import Files
from mailserver.store.journal import Journal
from mailserver.store.journal_facts import THINNED, Facts, lost
from mailserver.store.journal_format import journal_path
from mailserver.store.journal_read import Entry
from mailserver.store.spool import Spool
from mailserver.store.spool_changes import AddReport, WriteState
from mailserver.store.spool_format import SpoolPaths
from mailserver.store.spool_state import RecipientProgress
from tests.fakes.directory import box
from tests.test_maillog import example

IN, OUT, REPORT, COPY = "0000000000001", "0000000000002", "0000000000003", "0000000000004"
ALICE, BOB, FAR = "alice@example.org", "bob@example.org", "carol@far.example"
PEER, HOST = "192.0.2.7:4711", "mx.far.example[198.51.100.1]"


class Desk:
    def __init__(self, folder):
        self.state = folder / "var"
        self.maildirs = folder / "maildirs"
        self.config = folder / "mailserver.toml"
        self.configure()
        self.state.mkdir()
        self.now = time.time()
        self.at = self.now - 3600
        self.facts = Facts()

    def configure(self, more=""):
        self.config.write_text(
            'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "alice@example.org"\n'
            f'[storage]\nmaildirs = "maildirs"\nstate = "var"\n{more}'
        )

    def note(self, *events):
        journal = Journal(journal_path(self.state))
        for event in events:
            self.at += 1
            journal.write([self.facts.of(self.at, event) if isinstance(event, MailEvent) else event])
        journal.close()

    def file(self, name, mailbox=ALICE, folder="new"):
        local_part, _, domain = mailbox.partition("@")
        place = self.maildirs / domain / local_part
        for one in ("new", "cur"):
            (place / one).mkdir(parents=True, exist_ok=True)
        (place / folder / name).write_bytes(b"x")

    def run(self, *words, code=0):
        result = CliRunner().invoke(main, ["--config", str(self.config), "why", *words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output + result.stderr
        return result

    def __call__(self, *words, code=0):
        result = self.run(*words, code=code)
        return result.stdout if code == 0 else result.stderr

    def json(self, *words, code=0):
        return json.loads(self.run("--json", *words, code=code).stdout)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def arrived(queue_id=IN, to=(ALICE, BOB), sender="<tony@outside.example>", number=1):
    return Accepted(
        queue_id, PEER, sender, to, 4096, "ESMTPS", tls="TLSv1.3/TLS_AES_256_GCM_SHA384",
        message_id=f"<{number}@outside.example>", hello="mx.outside.example", subject=b"Invoice 17",
    )  # fmt: skip


def in_and_fetched(desk):
    desk.note(
        arrived(),
        Filed(IN, ALICE, ALICE, "1.M2P3Q4.h"),
        Filed(IN, BOB, f"sales@example.org,{BOB}", "1.M2P3Q5.h"),
        Fetched("192.0.2.9:1", ALICE, "1.M2P3Q4.h", 4200),
        Fetched("192.0.2.9:2", ALICE, "1.M2P3Q4.h", 4200),
    )


def out_and_deferred(desk):
    reply = "450 4.7.1 greylisted, come back"
    desk.note(
        Accepted(OUT, PEER, f"<{ALICE}>", (FAR,), 512, "ESMTPSA", ALICE, "TLSv1.3/x", "<2@example.org>"),
        Queued(OUT, (FAR,)),
        LookedUp(OUT, "far.example", (HOST, "mx2.far.example[198.51.100.2]")),
        Tried(OUT, "mx2.far.example[198.51.100.2]", "connect", "the connection was refused"),
        Talked(OUT, HOST, "TLSv1.2"),
        DeferredEvent(OUT, FAR, HOST, "the recipient was put off", reply, 600.0, 1),
    )


def without_times(text):
    return [line[29:] if line[:5].strip()[:2] == "20" else line for line in text.splitlines()]


# --- how it reads -----------------------------------------------------------------------------------------------------


def test_a_message_that_came_in_and_was_fetched(desk):
    in_and_fetched(desk)
    desk.file("1.M2P3Q4.h,S=1,W=1:2,S", folder="cur")
    desk.file("1.M2P3Q5.h,S=1,W=1", mailbox=BOB)
    text = desk(IN)
    lines = without_times(text)
    assert lines[0] == f'{IN}  "Invoice 17" from <tony@outside.example> to {ALICE}, {BOB}'
    assert lines[1:6] == [
        "accepted from mx.outside.example [192.0.2.7:4711] (ESMTPS, TLSv1.3), 4.1 kB, Message-ID <1@outside.example>",
        f"filed in the mailbox of {ALICE}",
        f"filed in the mailbox of {BOB} (sent to sales@example.org, {BOB})",
        f"fetched by POP3 as {ALICE} from [192.0.2.9:1]",
        f"fetched by POP3 as {ALICE} from [192.0.2.9:2]",
    ]
    assert lines[6].startswith(f"  now: {ALICE}: in the mailbox, seen; fetched by POP3 2 times, last at 20")
    assert lines[7] == f"  now: {BOB}: in the mailbox, unread; not fetched by POP3 yet"
    first = text.splitlines()[1]
    assert first[2:6].isdigit() and first[21] in "+-" and first[24] == ":", "local time with its offset"


def test_a_message_that_waits(desk):
    out_and_deferred(desk)
    spool = Spool(SpoolPaths(desk.state), Files())
    spool.prepare()
    envelope = Envelope(box(ALICE), (Recipient(box(FAR)),))
    spool.apply([AddReport(Report(OUT, envelope, b"Subject: x\r\n\r\nhello\r\n"), desk.now - 3600)])
    progress = RecipientProgress(attempts=1, next_attempt=desk.now + 600, reason="the recipient was put off")
    spool.apply([WriteState(OUT, (progress,))])
    lines = without_times(desk(FAR))
    assert lines[2:7] == [
        f"put into the queue for {FAR}",
        f"the way to far.example: {HOST}, mx2.far.example[198.51.100.2]",
        "tried mx2.far.example[198.51.100.2]: the connection was refused",
        f"connected to {HOST}, TLSv1.2",
        lines[6],
    ]
    assert lines[6].startswith(
        f"attempt 1 for {FAR} at {HOST} put off: the recipient was put off; "
        'it said "450 4.7.1 greylisted, come back"; next attempt 20'
    )
    assert lines[7] == f"  now: {FAR}: waits in the queue, tried 1 time: the recipient was put off"
    assert lines[8].startswith("       it is tried again at 20")
    [message] = desk.json(OUT)["messages"]
    assert message["now"][0]["state"] == "waiting"


def test_what_is_held_is_told_with_who_can_end_that(desk):
    spool = Spool(SpoolPaths(desk.state), Files())
    spool.prepare()
    spool.apply([AddReport(Report(OUT, Envelope(box(ALICE), (Recipient(box(FAR)),)), b"\r\n"), desk.now)])
    spool.apply([WriteState(OUT, (RecipientProgress(held_by="eva", held_reason="asked", held_since=desk.now),))])
    text = desk(OUT)
    assert " by eva: asked" in text
    assert f"it stays until somebody says: mailserver queue release {OUT}" in text
    assert desk.json(OUT)["messages"][0]["now"][0]["state"] == "held"


def test_what_is_only_in_the_queue_is_told_from_there(desk):
    spool = Spool(SpoolPaths(desk.state), Files())
    spool.prepare()
    spool.apply([AddReport(Report(OUT, Envelope(None, (Recipient(box(FAR)),)), b"\r\n"), desk.now)])
    text = desk(OUT)
    assert f"{OUT}  from <> to {FAR} (its arrival is not in the journal)" in text
    assert "waits in the queue, tried 0 times" in text and "it is tried at once" in text


def test_what_was_bounced_names_its_report_and_the_report_its_own_life(desk):
    out_and_deferred(desk)
    desk.note(
        BouncedEvent(OUT, FAR, HOST, "5.1.1", "the recipient was refused", "550 5.1.1 no such user"),
        ReportMade(REPORT, OUT, "failed", ALICE),
        Removed(OUT),
        Filed(REPORT, ALICE, ALICE, "1.M2P3Q6.h"),
    )
    text = desk(OUT)
    assert f'given up for {FAR} at {HOST}: the recipient was refused (5.1.1); it said "550 5.1.1 no such user"' in text
    assert f"a bounce was made for {ALICE}: {REPORT}" in text
    assert f"now: {FAR}: given up: the recipient was refused\n       a report went to {ALICE}: {REPORT}" in text
    assert "left the queue: nothing is left to do" in text
    lines = desk(REPORT).splitlines()
    assert lines[0] == f"{REPORT}  our report about {OUT} to {ALICE}"
    assert [one["queue_id"] for one in desk.json(ALICE)["messages"]] == [REPORT, OUT]


def test_what_was_handed_over_is_another_servers_business(desk):
    out_and_deferred(desk)
    desk.note(Sent(OUT, FAR, HOST, "250 2.0.0 queued as 4711", 3.5, "TLSv1.3"), Removed(OUT))
    text = desk(FAR)
    assert f'handed over to {HOST} (TLSv1.3) for {FAR}; it said "250 2.0.0 queued as 4711"' in text
    assert "that server answers for it from there" in text


def test_what_was_taken_out_is_told_with_who_did_it(desk):
    out_and_deferred(desk)
    desk.note(Ordered(OUT, "remove", "root (sudo by eva)"), Removed(OUT, "by the operator"))
    text = desk(OUT)
    assert "the operator root (sudo by eva) ordered: remove" in text
    assert f"now: {FAR}: taken out of the queue by the operator\n       nobody was told" in text


def test_an_alias_leads_to_its_copies_and_back(desk):
    desk.note(arrived(to=("all@example.org",)), Expanded(COPY, IN, "all@example.org", (ALICE, FAR)))
    assert f"all@example.org stands for {ALICE}, {FAR}; they get it as {COPY}" in desk(IN)
    assert f"{COPY}  copies of {IN} for {ALICE}, {FAR}" in desk(COPY)


@pytest.mark.parametrize(
    ("file", "state", "text"),
    [
        (None, "gone", "no longer in the mailbox"),
        ("cur/1.M2P3Q4.h:2,FS", "filed", "in the mailbox, seen"),
        ("cur/1.M2P3Q4.h:2,F", "filed", "in the mailbox, unread"),
        ("new/1.M2P3Q44.h", "gone", "no longer in the mailbox"),
    ],
)
def test_a_filed_copy_is_looked_for(desk, file, state, text):
    desk.note(arrived(to=(ALICE,)), Filed(IN, ALICE, ALICE, "1.M2P3Q4.h"))
    desk.file("other")
    if file:
        folder, _, name = file.partition("/")
        desk.file(name, folder=folder)
    [now] = desk.json(IN)["messages"][0]["now"]
    assert (now["state"], now["text"][: len(text)]) == (state, text)


def test_junk_is_found_in_its_folder_and_told_why(desk):
    weighed = Weighed(IN, PEER, "junk", ("ZEN 192.0.2.7 +1",), "add header 8.10/15.00 BAYES_SPAM(5.10)", "shop.example")
    desk.note(arrived(to=(ALICE,)), weighed, Filed(IN, ALICE, ALICE, "1.M2P3Q4.h", "Junk"))
    desk.file("other")
    junk = desk.maildirs / "example.org" / "alice" / ".Junk"
    for one in ("new", "cur"):
        (junk / one).mkdir(parents=True)
    (junk / "new" / "1.M2P3Q4.h").write_bytes(b"x")
    [now] = desk.json(IN)["messages"][0]["now"]
    assert (now["state"], now["text"]) == ("filed", "in the mailbox, folder Junk, unread")
    assert now["next"] == "POP3 shows the inbox only (docs/junk.md)"
    text = desk(IN)
    assert f"filed in the mailbox of {ALICE}, folder Junk" in text
    assert (
        "found to be junk: on block lists: ZEN 192.0.2.7 +1; rspamd: add header 8.10/15.00 BAYES_SPAM(5.10); "
        "shop.example asks for quarantine (DMARC)"
    ) in text
    (junk / "new" / "1.M2P3Q4.h").rename(junk.parent / "cur" / "1.M2P3Q4.h:2,S")  # "not junk"
    [now] = desk.json(IN)["messages"][0]["now"]
    assert now["text"] == "in the mailbox, seen; not fetched by POP3 yet"


def test_a_mailbox_that_cannot_be_looked_at_is_no_proof_of_anything(desk):
    desk.note(arrived(to=(ALICE,)), Filed(IN, ALICE, ALICE, "1.M2P3Q4.h"))
    [now] = desk.json(IN)["messages"][0]["now"]
    assert (now["state"], now["text"]) == ("filed", "in the mailbox; not fetched by POP3 yet")


def test_a_deleted_message_is_told_as_deleted(desk):
    in_and_fetched(desk)
    desk.note(Erased("192.0.2.9:3", ALICE, "1.M2P3Q4.h"))
    [now] = desk.json(ALICE)["messages"][0]["now"]
    assert now["state"] == "erased" and now["text"].startswith("fetched by POP3 2 times, last at ")


# --- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [IN, "tony@outside.example", "<Tony@Outside.example>", ALICE, BOB, "sales@example.org",
             "<1@outside.example>", "1@outside.example", "192.0.2.7", "[192.0.2.7]", "::ffff:192.0.2.7",
             "1.M2P3Q5.h", "192.0.2.9"],
)  # fmt: skip
def test_a_message_is_found_by_whatever_one_has(desk, text):
    in_and_fetched(desk)
    assert [one["queue_id"] for one in desk.json(text)["messages"]] == [IN]


def test_a_recipient_hears_of_nobody_elses_copy_and_a_sender_of_all(desk):
    in_and_fetched(desk)
    assert [one["recipient"] for one in desk.json(BOB)["messages"][0]["now"]] == [BOB]
    assert "fetched" not in [event["what"] for event in desk.json(BOB)["messages"][0]["events"]]
    assert len(desk.json("tony@outside.example")["messages"][0]["now"]) == 2


def test_newest_first_and_no_more_than_asked_for(desk):
    ids = [f"{number:013d}" for number in range(1, 31)]
    desk.note(*(arrived(one, number=number) for number, one in enumerate(ids)))
    found = desk.json(ALICE)
    assert [one["queue_id"] for one in found["messages"]] == ids[:-11:-1]
    assert found["has_more"]
    assert "There is more: raise --limit (now 10)" in desk(ALICE)
    assert not desk.json(ALICE, "--limit", "30")["has_more"]


def test_since_leaves_out_what_is_older(desk):
    desk.note(arrived())
    desk.at = desk.now - 10
    desk.note(arrived(OUT, number=2))
    assert [one["queue_id"] for one in desk.json(ALICE, "--since", "5m")["messages"]] == [OUT]
    assert len(desk.json(ALICE, "--since", "2h")["messages"]) == 2


def test_refused_attempts_are_found_by_everything_they_name(desk):
    desk.note(
        Refused("", PEER, "RCPT", "550 5.7.1 no relaying", "eve@elsewhere.example", "<tony@outside.example>", "smtp",
                "scanner.example"),
        Refused("", "198.51.100.9:1", "MAIL", "530 5.7.0 log in first", "", "<eve@outside.example>", "submission"),
        Refused("", PEER, "DATA", "550 5.6.0 bare newline", "", "<tony@outside.example>", "smtp", "", "", (BOB,)),
        LoginRefused("198.51.100.9:2", "pop3", ALICE, "PLAIN", "wrong login or password"),
    )  # fmt: skip
    assert (
        desk("eve@elsewhere.example")
        .splitlines()[1]
        .endswith(
            "  scanner.example [192.0.2.7:4711] on port 25: RCPT from <tony@outside.example> for eve@elsewhere.example "
            "refused: 550 5.7.1 no relaying"
        )
    )
    for text, count in (
        ("192.0.2.7", 2),
        ("tony@outside.example", 2),
        (BOB, 1),
        (ALICE, 1),
        ("198.51.100.9", 2),
        ("eve@outside.example", 1),
    ):
        assert len(desk.json(text)["attempts"]) == count, text
    assert "login as alice@example.org on pop3 refused: wrong login or password" in desk(ALICE)


# --- nothing, and trouble ---------------------------------------------------------------------------------------------


def test_nothing_found_says_what_was_searched_and_what_is_covered(desk):
    in_and_fetched(desk)
    text = desk("stranger@nowhere.example", code=1)
    assert "nothing was found about stranger@nowhere.example, looked for as address and Message-ID" in text
    assert "the journal covers 20" in text and "it keeps 90 days at most" in text
    assert "ask its sender what the other side said" in text
    assert "looked for as queue id" in desk("0000000000009", code=1)
    assert "and only since 20" in desk("stranger@nowhere.example", "--since", "1h", code=1)
    found = desk.json("stranger@nowhere.example", code=1)
    assert (found["messages"], found["attempts"]) == ([], [])
    assert found["covers"]["from"] == pytest.approx(desk.now - 3599, abs=1)


def test_gaps_and_switches_are_named(desk):
    desk.note(arrived(), lost(desk.now, 17))
    desk.configure("[journal]\nenabled = false\nmessage_ids = false\n")
    text = desk("stranger@nowhere.example", code=1)
    assert "17 events of that time could not be noted" in text
    assert "no history is kept: journal.enabled is false" in text
    assert "Message-IDs are not kept" in text


def test_without_a_journal_there_is_nothing(desk):
    assert "the journal is empty" in desk(ALICE, code=1)
    assert not journal_path(desk.state).exists()


def test_a_journal_of_no_use_is_told_in_one_line(desk):
    path = journal_path(desk.state)
    path.write_bytes(b"nonsense" * 1000)
    assert "cannot be read" in desk(ALICE, code=1)
    path.unlink()
    desk.note(arrived())
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "format 99, and this release reads up to format 1" in desk(ALICE, code=1)


def test_asked_the_wrong_way(desk):
    desk(code=2)
    desk(ALICE, "--since", "yesterday", code=2)
    desk(ALICE, "--limit", "0", code=2)


@pytest.mark.parametrize(
    "text", ["", " ", "%", "a" * 5000, "\u2028", "@", "<>", "'; DROP TABLE event", "\udc80@x", "*"]
)
def test_no_question_breaks_anything(desk, text):
    in_and_fetched(desk)
    desk(text, code=1)


def test_what_a_peer_wrote_cannot_play_with_the_terminal(desk):
    connection = None
    desk.note(arrived())
    connection = sqlite3.connect(journal_path(desk.state))
    fields = json.dumps({"reverse_path": "<a\x1b[31m\r\nforged@x.example>", "recipients": ["x"], "subject": "\x07"})
    connection.execute("UPDATE event SET fields = ?", (fields,))
    connection.commit()
    connection.close()
    text = desk(IN)
    assert text.replace("\n", "").isprintable()
    assert len(text.splitlines()) == 2


EVENTS = [
    one
    for one in vars(maillog).values()
    if isinstance(one, type) and issubclass(one, MailEvent) and one is not MailEvent
]


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("text", ["x", "", IN])
def test_every_event_that_is_kept_has_a_sentence(kind, text):
    fact = Facts().of(1.0, example(kind, text))
    if fact is None or kind.is_log_only:
        return
    (at, queue_id, word, kept), _ = fact
    words = sentence(Entry(1, at, queue_id, word, kept), IN)
    if queue_id or "peer" in kept:
        assert word in _SENTENCES, word
    assert words and "None" not in words and "()" not in words


def test_every_kind_of_fact_survives_without_its_fields():
    for word in (*_SENTENCES, THINNED, "of another release"):
        for queue_id in ("", IN):
            assert sentence(Entry(1, 1.0, queue_id, word, {}), queue_id)
            assert sentence(Entry(1, 1.0, queue_id, word, {"recipients": 5, "reply": ["x"], "attempts": "x"}), IN)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (IN, ("queue id",)),
        ("alice@example.org", ("address", "Message-ID")),
        ("2001:DB8::1", ("peer",)),
        ("[IPv6:2001:db8::1]", ("peer",)),
        ("some-id", ("Message-ID", "file name", "destination")),
    ],
)
def test_what_a_text_may_mean(text, kinds):
    assert question(text).kinds == kinds


# --- destinations and set-asides --------------------------------------------------------------------------------------


def waited(queue_id, to=FAR, destination="far.example", *, is_shared=False):
    return DeferredEvent(queue_id, to, "", "connection refused", "", 600.0, 1, destination, is_shared=is_shared)


def test_a_message_that_waited_for_a_destination_tells_when_that_was_down_and_back(desk):
    desk.note(
        DestinationDown("far.example", "an older failure"),
        DestinationBack("far.example", 60.0),
        DestinationDown("far.example", "connection refused"),
        Queued(OUT, (FAR,)),
        DestinationDown("near.example", "not our business"),
        waited(OUT, is_shared=True),
        DestinationBack("far.example", 7200.0),
        Sent(OUT, FAR, HOST, "250 ok", 7300.0),
        Removed(OUT),
        DestinationDown("far.example", "after its end"),
    )
    lines = without_times(desk(OUT))
    assert lines[1:4] == [
        "far.example was found to be down: connection refused; until it is back, one attempt now and then counts for "
        "all mail that waits for it",
        f"put into the queue for {FAR}",
        lines[3],
    ]
    assert lines[3].startswith(f"attempt 1 for {FAR} (together with other mail) put off: connection refused; next")
    assert lines[4] == "far.example was back after 2h; what waited for that was tried"
    text = "\n".join(lines)
    assert "older" not in text and "near.example" not in text and "after its end" not in text


def test_a_recipient_is_told_of_their_own_destination_only(desk):
    desk.note(
        arrived(OUT, (FAR, "dora@near.example")),
        DestinationDown("far.example", "connection refused"),
        waited(OUT),
        DestinationDown("near.example", "no route to host"),
        waited(OUT, "dora@near.example", "near.example"),
    )
    assert "no route" not in desk(FAR) and "far.example was found to be down" in desk(FAR)
    assert "no route" in desk(OUT)


def test_a_domain_that_mail_waited_for_can_be_asked_for(desk):
    desk.note(
        DestinationDown("far.example", "connection refused", "421 4.3.2 later"), DestinationBack("far.example", 90.0)
    )
    text = desk("Far.Example")
    assert text.startswith("Besides, newest first:\n")
    assert "far.example was back after 90s" in text and 'it said "421 4.3.2 later"' in text


def test_a_file_that_was_set_aside_is_found_by_name_sender_and_recipient(desk):
    path = "/var/spool/mailserver-drop/0001.aa"
    desk.note(SetAside(path, "cron", "it is not as long as it says", "set-aside", "cron@example.org", (FAR,)))
    for asked in ("0001.aa", "cron@example.org", FAR):
        assert (
            f"a file of the user cron in the drop folder to {FAR} was not sent: it is not as long as it says; "
            f"it was {path} (set-aside)"
        ) in desk(asked)
