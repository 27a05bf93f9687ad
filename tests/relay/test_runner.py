"""The queue at work, with a clock that only moves when told and a folder that is real."""

import errno
import itertools

import pytest
from twisted.internet.defer import Deferred as Promise

from mailserver.mail.envelope import Notify, Recipient
from mailserver.mail.outcome import Bounced, Deferred, Delivered, Stage
from mailserver.ports import LocalMailboxes, NoDestination, Overloaded, StorageFull, StorageTrouble
from mailserver.relay.schedule import Schedule
from mailserver.store.spool_changes import WriteState
from mailserver.store.spool_state import RecipientProgress, RecipientState
from tests.fakes.awaiting import run, start
from tests.fakes.directory import box
from tests.fakes.disk import FaultyFiles
from tests.fakes.relay import DAY, DOWN, HOUR, LATER, NO, OK, Office


@pytest.fixture
def office(tmp_path):
    office = Office(tmp_path)
    yield office
    assert not office.failures


def test_a_message_is_sent_at_once_and_leaves_the_queue(office):
    queue_id = office.put("bob@example.net")
    assert office.transmitter.sent == []  # not before the 250 is on its way
    office.settle()
    assert office.transmitter.sent == [("example.net", ("bob@example.net",))]
    assert office.on_disk() == []
    assert office.words() == ["delivered", "removed"]
    assert len(office.runner) == 0
    assert office.events[0].queue_id == queue_id


def test_recipients_of_one_domain_share_an_attempt_and_others_have_their_own(office):
    office.put("a@example.net", "b@example.net", "c@example.com")
    office.settle()
    assert sorted(office.transmitter.sent) == [
        ("example.com", ("c@example.com",)),
        ("example.net", ("a@example.net", "b@example.net")),
    ]
    assert office.on_disk() == []


def test_five_days_of_one_message(office):
    """Deferred by the list, told of once after four hours, given up after five days."""
    office.transmitter.answer = lambda route, recipient: DOWN
    queue_id = office.put("bob@example.net", sender="tony@outside.example")
    reports = []

    def answer(route, recipient):
        if route.domain == "outside.example":
            reports.append(office.clock.now())
            return OK
        return DOWN

    office.transmitter.answer = answer
    began = office.clock.now()
    attempts = []
    for _ in range(int(5.2 * DAY / 60)):
        before = len(office.transmitter.sent)
        office.advance(60)
        attempts += [office.clock.now() - began] * sum(
            route == "example.net" for route, _ in office.transmitter.sent[before:]
        )
    assert office.words("report") == ["report", "report"]
    assert [event.action for event in office.events if event.word == "report"] == ["delayed", "failed"]
    assert office.words("bounced") == ["bounced"]
    bounced = next(event for event in office.events if event.word == "bounced")
    assert bounced.enhanced == "4.4.7"
    assert "expired: connection refused" in bounced.reason
    assert office.on_disk() == []
    gaps = [later - earlier for earlier, later in itertools.pairwise(attempts)]
    configured = [300, 600, 1200, 2400, 3600, 7200] + [14400] * (len(gaps) - 7)
    for gap, wanted in zip(gaps, configured, strict=False):
        assert wanted - 65 <= gap <= wanted * 1.1 + 65
    assert 5 * DAY - 65 <= attempts[-1] <= 5 * DAY + 65
    assert 4 * HOUR - 65 <= reports[0] - began <= 7 * HOUR
    assert queue_id in [event.queue_id for event in office.events if event.word == "removed"]


def test_four_of_five_recipients_are_delivered_and_only_the_fifth_is_tried_again(office):
    office.transmitter.answer = lambda route, recipient: (
        LATER if recipient.mailbox.local_part == "e" and len(office.transmitter.sent) == 1 else OK
    )
    queue_id = office.put(*(f"{name}@example.net" for name in "abcde"))
    office.settle()
    assert office.words() == ["delivered"] * 4 + ["deferred"]
    progress = office.spool.read(queue_id).progress
    assert [one.state.value for one in progress] == ["delivered"] * 4 + ["waiting"]
    assert (progress[4].attempts, progress[4].reply.lines) == (1, ("greylisted, come back",))
    office.advance(331)
    assert office.transmitter.sent[1] == ("example.net", ("e@example.net",))
    assert office.on_disk() == []


def test_a_kill_between_attempts_repeats_nobody_who_has_it(office):
    office.transmitter.answer = lambda route, recipient: LATER if recipient.mailbox.local_part == "e" else OK
    office.put(*(f"{name}@example.net" for name in "abcde"))
    office.settle()
    office.restart()
    office.transmitter.answer = lambda route, recipient: OK
    office.advance(331)
    assert office.transmitter.sent[1:] == [("example.net", ("e@example.net",))]


def test_a_refusal_becomes_a_bounce_that_is_filed_for_a_sender_here(office):
    office.transmitter.answer = lambda route, recipient: NO
    queue_id = office.put("nobody@example.net", "nobody2@example.net")
    office.settle()
    ((mailbox, content),) = office.mailboxes.filed
    assert mailbox == "alice@example.org"
    assert content.startswith(b"Return-Path: <>\r\nDelivered-To: alice@example.org\r\n")
    assert b"nobody@example.net" in content
    assert b"nobody2@example.net" in content
    assert b"no such user" in content
    assert office.on_disk() == []
    assert sorted(office.words()) == ["bounced", "bounced", "filed", "removed", "removed", "report"]
    assert next(event for event in office.events if event.word == "report").about == queue_id


def test_a_null_reverse_path_is_never_reported_to(office):
    office.transmitter.answer = lambda route, recipient: NO
    office.put("nobody@example.net", sender=None)
    office.settle()
    assert sorted(office.words()) == ["bounced", "removed", "report-dropped"]
    assert office.mailboxes.filed == []
    assert office.on_disk() == []


def test_a_report_that_nobody_can_be_given_ends_with_the_postmaster(office):
    """No loop of bounces: the sender of the first message does not exist, and here the postmaster neither."""
    office.transmitter.answer = lambda route, recipient: NO
    office.put("nobody@example.net", sender="forged@outside.example")
    for _ in range(10):
        office.advance(DAY)
    assert len(office.transmitter.sent) == 2
    assert [event.recipient for event in office.events if event.word == "report"] == [
        "forged@outside.example",
        "postmaster@example.org",
    ]
    assert office.words("report-dropped") == ["report-dropped"]
    assert office.on_disk() == []


@pytest.mark.parametrize(
    ("notify", "outcome", "action"),
    [
        (frozenset(), NO, "failed"),
        ({Notify.FAILURE}, NO, "failed"),
        ({Notify.NEVER}, NO, None),
        ({Notify.SUCCESS}, NO, None),
        (frozenset(), OK, None),
        ({Notify.SUCCESS}, OK, "relayed"),
        ({Notify.SUCCESS}, Delivered(OK.reply, OK.host, dsn_passed_on=True), None),
    ],
)
def test_notify_is_respected(office, notify, outcome, action):
    office.transmitter.answer = lambda route, recipient: outcome
    office.put(Recipient(box("bob@example.net"), frozenset(notify)))
    office.settle()
    assert [event.action for event in office.events if event.word == "report"] == ([action] if action else [])
    assert office.on_disk() == []


@pytest.mark.parametrize(
    ("notify", "is_told"), [(frozenset(), True), ({Notify.DELAY}, True), ({Notify.FAILURE}, False)]
)
def test_delay_notices_follow_notify(office, notify, is_told):
    office.transmitter.answer = lambda route, recipient: DOWN
    office.put(Recipient(box("bob@example.net"), frozenset(notify)))
    for _ in range(12):
        office.advance(HOUR)
    assert len(office.words("report")) == is_told


def test_unknown_trouble_is_deferred_with_its_traceback_told(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: RuntimeError("nobody named this"))
    office.put("bob@example.net")
    office.settle()
    assert office.words() == ["deferred"]
    assert [str(error) for _, error in office.failures] == ["nobody named this"]
    office.transmitter.answer = lambda route, recipient: OK
    office.advance(331)
    assert office.on_disk() == []


def test_an_attempt_that_tells_nothing_of_a_recipient_is_a_deferral(office):
    async def send(route, envelope, content, queue_id, transcript):
        return {}

    office.transmitter.send = send
    office.put("bob@example.net")
    office.settle()
    assert office.words() == ["destination-down", "deferred"]


# --- local recipients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [StorageFull("no space"), StorageTrouble("new/ is missing"), OSError(5, "I/O")])
def test_a_mailbox_in_trouble_waits_and_is_filed_later(office, trouble):
    office.mailboxes.trouble["bob@example.org"] = trouble
    office.put("bob@example.org", sender="tony@outside.example")
    office.settle()
    assert office.words() == ["trouble", "deferred"]
    office.mailboxes.trouble.clear()
    office.advance(331)
    ((mailbox, content),) = office.mailboxes.filed
    assert mailbox == "bob@example.org"
    assert content.startswith(b"Return-Path: <tony@outside.example>\r\nDelivered-To: bob@example.org\r\nReceived:")
    assert office.on_disk() == []


def test_a_mailbox_that_is_gone_bounces(office):
    office.put("carol@example.org")
    office.settle()
    assert "bounced" in office.words()
    assert b"5.1.1" in office.mailboxes.filed[0][1]


def test_an_alias_becomes_a_message_with_a_recipient_for_each_target(office):
    targets = (box("alice@example.org"), box("bob@example.org"))
    office.local["sales@example.org"] = LocalMailboxes(targets, (box("far@example.net"),))
    office.mailboxes.trouble["bob@example.org"] = StorageFull("full")
    office.put("sales@example.org", sender="tony@outside.example")
    office.settle()
    assert [name for name, _ in office.mailboxes.filed] == ["alice@example.org"]
    assert office.transmitter.sent == [("example.net", ("far@example.net",))]
    office.mailboxes.trouble.clear()
    office.advance(331)
    assert [name for name, _ in office.mailboxes.filed] == ["alice@example.org", "bob@example.org"]
    assert office.on_disk() == []


# --- order and limits -------------------------------------------------------------------------------------------------


def test_a_destination_has_at_most_its_limit_and_a_dead_one_delays_nobody(tmp_path):
    hanging = []

    def answer(route, recipient):
        if route.domain == "dead.example":
            hanging.append(Promise())
            return hanging[-1]
        return OK

    office = Office(tmp_path, answer=answer, limit=3, total=5)
    for number in range(20):
        office.put(f"u{number}@dead.example")
    office.put("bob@example.net")
    office.settle()
    assert ("example.net", ("bob@example.net",)) in office.transmitter.sent
    assert len(hanging) <= 3
    while hanging:
        hanging.pop().callback(DOWN)
        office.settle()
        assert office.transmitter.busy <= 3
    assert len([sent for sent in office.transmitter.sent if sent[0] == "dead.example"]) == 2
    assert office.words("deferred") == ["deferred"] * 20, "two attempts were enough to know it for all"


def test_new_mail_overtakes_a_backlog(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: DOWN, limit=1)
    for number in range(10):
        office.put(f"old{number}@example.net")
        office.settle()
    office.advance(11)
    assert len(office.words("deferred")) == 10
    waiting = []

    def answer(route, recipient):
        waiting.append(Promise())
        return waiting[-1]

    office.transmitter.answer = answer
    office.transmitter.sent.clear()
    office.advance(400)
    office.put("new@example.net")
    office.settle()
    waiting.pop().callback(OK)
    office.settle()
    assert office.transmitter.sent[1] == ("example.net", ("new@example.net",))


def test_all_attempts_together_have_a_limit(tmp_path):
    waiting = []

    def answer(route, recipient):
        waiting.append(Promise())
        return waiting[-1]

    office = Office(tmp_path, answer=answer, total=4)
    for number in range(30):
        office.put(f"u@d{number}.example")
    office.settle()
    assert office.transmitter.busy == 4
    while waiting:
        waiting.pop().callback(OK)
        office.settle()
    assert office.transmitter.most == 4
    assert office.on_disk() == []


def test_an_alarm_clock_that_is_set_back_or_forward_neither_bounces_nor_holds(office):
    office.transmitter.answer = lambda route, recipient: DOWN
    office.put("bob@example.net")
    office.settle()
    office.clock.step(400 * DAY)
    office.advance(331)
    assert office.words() == ["destination-down", "deferred", "deferred"]
    office.clock.step(-900 * DAY)
    office.advance(700)
    assert office.words() == ["destination-down"] + ["deferred"] * 3
    office.restart()  # the state file says: next attempt in more than a year
    office.transmitter.answer = lambda route, recipient: OK
    office.advance(4.5 * HOUR)
    assert office.on_disk() == []


def test_a_message_from_the_future_is_new(office):
    office.clock.step(30 * DAY)
    queue_id = office.put("bob@example.net", tell=False)
    office.clock.step(-30 * DAY)
    office.transmitter.answer = lambda route, recipient: DOWN
    office.restart()
    assert office.words() == ["destination-down", "deferred"]
    assert office.on_disk() == [queue_id]


# --- loading ----------------------------------------------------------------------------------------------------------


def test_a_message_added_while_loading_is_sent_once(office):
    """The loader has read its file; meanwhile it is added, sent and removed; then the loader hands it over."""
    kept = office.put("bob@example.net", tell=False)
    read = list(office.spool.load([kept]))
    slices = []

    async def slowly(lane, call, *args):
        if call.__name__ != "_read_slice":
            return call(*args)
        slices.append(Promise())
        await slices[-1]
        return read

    office.blocking.run = slowly
    loaded = start(office.runner.load())
    office.runner.added(kept, read[0].envelope, 0.0)
    office.settle()
    assert office.on_disk() == []
    slices[0].callback(None)
    office.settle()
    assert loaded.result == 0
    assert len(office.transmitter.sent) == 1


def test_everything_on_disk_is_taken_up_after_a_restart(office):
    office.transmitter.answer = lambda route, recipient: DOWN
    ids = [office.put(f"u{number}@d{number % 7}.example") for number in range(50)]
    office.settle()
    office.restart()
    assert len(office.runner) == 50
    assert office.on_disk() == ids
    office.transmitter.answer = lambda route, recipient: OK
    office.advance(331)
    assert office.on_disk() == []
    assert len(office.transmitter.sent) == 57, "one attempt for each dead destination, one for each message later"


def test_the_loader_waits_for_a_busy_disk(office):
    office.put("bob@example.net", tell=False)
    office.blocking.trouble = [Overloaded("queue")] * 3
    loaded = start(office.runner.load())
    for _ in range(5):
        office.advance(1)
    assert loaded.result == 1


# --- stop and the operator's hand -------------------------------------------------------------------------------------


def test_stop_waits_for_attempts_and_their_marks(office):
    waiting = Promise()
    office.transmitter.answer = lambda route, recipient: waiting
    office.put("bob@example.net")
    office.settle()
    stopped = start(office.runner.stop(10.0))
    assert not stopped.called
    waiting.callback(OK)
    office.settle()
    assert stopped.called
    assert office.on_disk() == []


def test_stop_does_not_wait_for_ever_and_loses_nothing(office):
    office.transmitter.answer = lambda route, recipient: Promise()
    queue_id = office.put("bob@example.net")
    office.settle()
    stopped = start(office.runner.stop(10.0))
    office.advance(10)
    assert stopped.called
    office.put("late@example.net")
    office.settle()
    assert len(office.transmitter.sent) == 1
    assert queue_id in office.on_disk()


def test_retry_brings_a_message_forward(office):
    office.transmitter.answer = lambda route, recipient: DOWN
    first, second = office.put("bob@example.net"), office.put("carol@example.com")
    office.settle()
    office.transmitter.answer = lambda route, recipient: OK
    assert office.runner.retry([first]) == 1
    office.settle()
    assert office.on_disk() == [second]
    assert office.runner.retry(domain="example.net") == 0
    assert office.runner.retry(domain="example.com") == 1
    office.settle()
    assert office.on_disk() == []
    assert office.runner.retry() == 0
    assert len(office.transmitter.sent) == 4


def test_remove_takes_a_message_out_without_a_bounce(office):
    office.transmitter.answer = lambda route, recipient: DOWN
    queue_id = office.put("bob@example.net")
    office.settle()
    removed = start(office.runner.remove([queue_id, queue_id, office.ids()]))
    office.settle()
    assert removed.result == 1
    assert office.on_disk() == []
    assert list(office.spool.paths.states.iterdir()) == []
    assert office.words() == ["destination-down", "deferred", "removed"]
    office.advance(DAY)
    assert len(office.transmitter.sent) == 1


def test_a_message_removed_while_it_is_tried_goes_after_the_attempt(office):
    waiting = Promise()
    office.transmitter.answer = lambda route, recipient: waiting
    queue_id = office.put("bob@example.net")
    office.settle()
    assert run(office.runner.remove([queue_id])) == 1
    waiting.callback(NO)
    office.settle()
    assert office.on_disk() == []
    assert office.mailboxes.filed == []
    assert office.runner.running_ids() == []
    assert len(office.runner) == 0


def test_a_file_that_vanished_is_forgotten(office):
    office.transmitter.answer = lambda route, recipient: DOWN
    queue_id = office.put("bob@example.net")
    office.settle()
    office.spool.paths.message(queue_id).unlink()
    office.advance(400)
    assert office.words() == ["destination-down", "deferred", "removed"]
    assert len(office.runner) == 0


def test_a_file_that_became_damaged_is_set_aside(office):
    office.transmitter.answer = lambda route, recipient: DOWN
    queue_id = office.put("bob@example.net")
    office.settle()
    office.spool.paths.message(queue_id).write_bytes(b"not a queue file")
    office.advance(400)
    assert office.words() == ["destination-down", "deferred", "damaged"]
    assert len(office.runner) == 0


def test_expiry_by_seconds_works_for_tests_and_labs(tmp_path):
    office = Office(tmp_path, schedule=Schedule((1.0,), 3.0, 2.0), answer=lambda route, recipient: DOWN)
    office.put("bob@example.net")
    for _ in range(60):
        office.advance(0.1)
    assert office.words("bounced") == ["bounced"]
    assert office.on_disk() == []


def test_a_recipient_of_a_hostile_next_hop_costs_little_disk(office):
    from mailserver.mail.reply import Reply

    monster = Deferred("x" * 10_000, Stage.RCPT, Reply(450, "4.0.0", ("y" * 3_000_000,) * 50), "h" * 10_000)
    office.transmitter.answer = lambda route, recipient: monster
    queue_id = office.put("bob@example.net")
    office.settle()
    assert office.spool.paths.state(queue_id).stat().st_size < 5000


def test_a_bounce_with_an_empty_enhanced_code_is_still_a_bounce(office):
    office.transmitter.answer = lambda route, recipient: Bounced("no", Stage.MAIL, "")
    office.put("bob@example.net")
    office.settle()
    assert b"Status: 5.0.0" in office.mailboxes.filed[0][1]


def test_no_destination_is_told_in_our_words(office):
    office.local["x@example.net"] = NoDestination("the domain was removed", "5.1.2")
    office.put("x@example.net")
    office.settle()
    assert b"The domain was removed" in office.mailboxes.filed[0][1]


# --- our own disk -----------------------------------------------------------------------------------------------------


def test_a_full_disk_holds_no_place_that_a_delivery_could_use(tmp_path):
    files = FaultyFiles(("create", ".state"), code=errno.ENOSPC, times=10**6)
    office = Office(tmp_path, files=files, answer=lambda route, recipient: DOWN, total=3)
    for number in range(10):
        office.put(f"u@dead{number}.example")
    office.settle()
    office.transmitter.answer = lambda route, recipient: OK
    office.put("bob@example.net")
    office.settle()
    assert ("example.net", ("bob@example.net",)) in office.transmitter.sent
    office.advance(15)
    assert len(office.on_disk()) == 10
    assert office.words("trouble") == ["trouble"]


def test_a_mark_that_cannot_be_written_keeps_the_message_from_being_tried_again(tmp_path):
    """Design section 5: delivered marks are on disk before the next attempt of that message."""
    files = FaultyFiles(("sync", ".state"), times=10**6)
    office = Office(tmp_path, files=files)
    office.transmitter.answer = lambda route, recipient: LATER if recipient.mailbox.local_part == "b" else OK
    office.put("a@example.net", "b@example.net")
    office.settle()
    for _ in range(100):
        office.advance(60)
    assert len(office.transmitter.sent) == 1
    files.faults.clear()
    office.transmitter.answer = lambda route, recipient: OK
    for _ in range(10):
        office.advance(60)
    assert office.transmitter.sent[1:] == [("example.net", ("b@example.net",))]
    assert office.on_disk() == []


def test_a_busy_disk_only_delays(office):
    office.put("bob@example.net")
    office.blocking.trouble = [Overloaded("queue")]
    office.settle()
    assert office.transmitter.sent == []
    office.advance(5)
    assert office.on_disk() == []


def test_a_message_that_cannot_be_read_now_waits_where_it_is(office, monkeypatch):
    import os

    queue_id = office.put("bob@example.net")
    real = os.open

    def failing(path, *rest, **more):
        if str(path).endswith(queue_id):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", failing)
    office.settle()
    assert office.words() == ["trouble"]
    assert office.on_disk() == [queue_id]
    monkeypatch.setattr(os, "open", real)
    office.advance(301)
    assert office.on_disk() == []


def test_two_destinations_of_one_message_keep_each_others_marks(tmp_path):
    """Both attempts run at once and end in any order; what one noted is in what the other writes."""
    first, second = Promise(), Promise()
    office = Office(tmp_path, answer=lambda route, recipient: first if route.domain == "a.example" else second)
    queue_id = office.put("u@a.example", "u@b.example", "v@b.example")
    office.settle()
    second.callback(DOWN)
    office.settle()
    first.callback(OK)
    office.settle()
    assert [one.state.value for one in office.spool.read(queue_id).progress] == ["delivered", "waiting", "waiting"]
    office.restart()
    office.transmitter.answer = lambda route, recipient: OK
    office.advance(331)
    assert office.transmitter.sent[2:] == [("b.example", ("u@b.example", "v@b.example"))]
    assert office.on_disk() == []


def test_what_a_crash_left_is_made_up_for_on_a_busy_disk_too(office):
    queue_id = office.put("a@example.net", tell=False)
    refused = RecipientProgress(RecipientState.BOUNCED, 1, reason="refused", enhanced="5.1.1", report=office.ids())
    office.spool.apply([WriteState(queue_id, (refused,))])
    real, calls = office.blocking.run, []

    async def busy(lane, call, *args):
        calls.append(call)
        if 2 < len(calls) < 6:
            raise Overloaded("queue")
        return await real(lane, call, *args)

    office.blocking.run = busy
    office.restart()
    for _ in range(5):
        office.advance(5)
    assert [name for name, _ in office.mailboxes.filed] == ["alice@example.org"]
    assert office.on_disk() == []
