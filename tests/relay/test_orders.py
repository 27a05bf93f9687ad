"""Hold, release and bounce on a running queue, and rules that hold new mail."""

import pytest
from twisted.internet.defer import Deferred as Promise

from mailserver.mail.envelope import Envelope, Notify, Recipient
from mailserver.mail.route import SmarthostRoute
from mailserver.mail.trace import source_text
from mailserver.policy.holding import HoldRule, Pattern
from mailserver.ports import LocalMailboxes, Overloaded
from mailserver.store.queue_orders import Choice
from mailserver.store.spool import Unreadable
from mailserver.store.spool_state import RecipientState
from tests.fakes.awaiting import start
from tests.fakes.directory import box
from tests.fakes.relay import DAY, DOWN, LATER, NO, OK, Office
from tests.store.test_spool_crash import DyingFiles, Killed, _restart_after_kill

ALL = Choice()


@pytest.fixture
def office(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: LATER)
    yield office
    assert not office.failures


def wait_for(office, coroutine):
    answer = start(coroutine)
    office.settle()
    if not answer.called:  # the disk has died
        raise Killed
    return answer.result


def hold(office, *ids, choice=ALL, by="eva", reason="asked the sender"):
    return wait_for(office, office.runner.hold(ids, choice, by, reason))


def release(office, *ids, choice=ALL):
    return wait_for(office, office.runner.release(ids, choice, "eva"))


def bounce(office, *ids, choice=ALL, reason="spam"):
    return wait_for(office, office.runner.bounce(ids, choice, "eva", reason))


def test_a_held_message_is_not_tried_until_it_is_released(office):
    queue_id = office.put("bob@example.net")
    office.settle()
    assert hold(office, queue_id).count == 1
    (one,) = office.spool.read(queue_id).progress
    assert (one.held_by, one.held_reason, one.attempts) == ("eva", "asked the sender", 1)
    office.advance(30 * DAY)
    assert len(office.transmitter.sent) == 1
    assert office.words("held") == ["held"]
    office.transmitter.answer = lambda route, recipient: OK
    assert release(office, queue_id).count == 1
    assert len(office.transmitter.sent) == 2
    assert office.on_disk() == []
    assert office.words("released") == ["released"]
    assert not office.words("bounced", "report")


def test_time_while_held_counts_neither_for_expiry_nor_for_the_notice(office):
    queue_id = office.put("bob@example.net")
    office.settle()
    hold(office, queue_id)
    office.advance(30 * DAY)
    release(office, queue_id)
    assert office.words("bounced", "report") == []
    assert office.spool.read(queue_id).progress[0].attempts == 2
    office.advance(5 * DAY)
    for _ in range(40):
        office.advance(3600)
    assert office.words("bounced") == ["bounced"]


def test_a_hold_survives_a_restart_and_a_kill(office):
    queue_id = office.put("bob@example.net")
    office.settle()
    hold(office, queue_id)
    office.restart()
    office.advance(DAY)
    assert len(office.transmitter.sent) == 1
    assert release(office, queue_id).count == 1
    assert len(office.transmitter.sent) == 2


def test_only_recipients_that_fit_are_held(office):
    queue_id = office.put("bob@example.net", "eve@example.com")
    office.settle()
    hold(office, queue_id, choice=Choice(domain="example.com"))
    office.advance(331)
    assert [route for route, _ in office.transmitter.sent] == ["example.net", "example.com", "example.net"]
    assert [one.shown_state for one in office.spool.read(queue_id).progress] == ["waiting", "held"]


def test_release_does_not_wait_for_a_destination_that_rests(office):
    office.transmitter.answer = lambda route, recipient: DOWN
    queue_id = office.put("bob@example.net")
    office.settle()
    hold(office, queue_id)
    for _ in range(3):
        office.put("eve@example.net")
        office.advance(400)
    office.transmitter.answer = lambda route, recipient: OK
    count = len(office.transmitter.sent)
    release(office, queue_id)
    office.settle()
    assert ("example.net", ("bob@example.net",)) in office.transmitter.sent[count:]


def test_retry_does_not_release(office):
    queue_id = office.put("bob@example.net")
    office.settle()
    hold(office, queue_id)
    office.runner.retry([queue_id])
    office.settle()
    assert len(office.transmitter.sent) == 1


def test_a_hold_counts_for_what_is_being_sent_when_that_is_over(office):
    promise = Promise()
    office.transmitter.answer = lambda route, recipient: promise
    queue_id = office.put("bob@example.net")
    office.settle()
    done = hold(office, queue_id)
    assert (done.count, done.running) == (1, 1)
    promise.callback(LATER)
    office.advance(DAY)
    assert len(office.transmitter.sent) == 1
    (one,) = office.spool.read(queue_id).progress
    assert (one.is_held, one.attempts) == (True, 1)


def test_held_while_it_is_being_delivered_is_delivered(office):
    promise = Promise()
    office.transmitter.answer = lambda route, recipient: promise
    queue_id = office.put("bob@example.net")
    office.settle()
    hold(office, queue_id)
    promise.callback(OK)
    office.settle()
    assert office.on_disk() == []


def test_a_bounce_reports_in_the_operators_words_and_removes(office):
    queue_id = office.put("bob@example.net", "carol@example.net")
    office.settle()
    assert bounce(office, queue_id, reason="this was sent by mistake").count == 1
    ((mailbox, content),) = office.mailboxes.filed
    assert mailbox == "alice@example.org"
    words = " ".join(content.decode().split())
    assert "he administrator of this mail server stopped the delivery: this was sent by mistake" in words
    assert "greylisted, come back" in words
    assert content.count(b"Action: failed") == 2
    assert office.on_disk() == []
    assert [(event.what, event.by) for event in office.events if event.word == "ordered"] == [("bounce", "eva")]
    assert office.words("bounced") == ["bounced"] * 2
    office.advance(DAY)
    assert len(office.transmitter.sent) == 1


def test_a_held_message_can_be_bounced(office):
    queue_id = office.put("bob@example.net")
    office.settle()
    hold(office, queue_id)
    assert bounce(office, queue_id, choice=Choice(state="waiting")).count == 0
    assert bounce(office, queue_id, choice=Choice(state="held")).count == 1
    assert len(office.mailboxes.filed) == 1


def test_only_recipients_that_fit_are_bounced(office):
    queue_id = office.put("bob@example.net", "eve@example.com")
    office.settle()
    bounce(office, queue_id, choice=Choice(recipient="eve"))
    ((_, content),) = office.mailboxes.filed
    assert b"eve@example.com" in content
    assert b"<bob@example.net>" not in content.partition(b"delivery-status")[0]
    office.transmitter.answer = lambda route, recipient: OK
    office.advance(331)
    assert office.transmitter.sent[-1] == ("example.net", ("bob@example.net",))
    assert office.on_disk() == []


def test_what_is_being_sent_is_not_bounced(office):
    promise = Promise()
    office.transmitter.answer = lambda route, recipient: promise
    queue_id = office.put("bob@example.net")
    office.settle()
    done = bounce(office, queue_id)
    assert (done.count, done.running) == (0, 1)
    promise.callback(OK)
    office.settle()
    assert office.mailboxes.filed == []


@pytest.mark.parametrize("about", [{"sender": None}, {"notify": frozenset({Notify.NEVER})}])
def test_nobody_is_told_who_must_not_be(office, about):
    recipient = Recipient(box("bob@example.net"), about.pop("notify", frozenset()))
    queue_id = office.put(recipient, **about)
    office.settle()
    bounce(office, queue_id)
    assert office.mailboxes.filed == []
    assert office.on_disk() == []
    assert office.words("report-dropped") == ["report-dropped"]


def test_unknown_and_removed_messages_are_no_trouble(office):
    queue_id = office.put("bob@example.net")
    office.settle()
    start(office.runner.remove([queue_id]))
    office.settle()
    assert hold(office, queue_id, "0000000000099").count == 0
    assert bounce(office, queue_id).count == 0


def test_a_busy_disk_is_waited_for(office):
    queue_id = office.put("bob@example.net")
    office.settle()
    office.blocking.trouble = [Overloaded(), Overloaded()]
    answer = start(office.runner.hold([queue_id], ALL, "eva", ""))
    for _ in range(3):
        office.advance(1)
    assert answer.result.count == 1


def test_many_messages_at_once(office):
    ids = [office.put(f"bob@d{number}.example") for number in range(450)]
    office.settle()
    assert hold(office, *ids).count == 450
    assert release(office, *ids, ids[0]).count == 450


# --- rules ------------------------------------------------------------------------------------------------------------

RULES = [
    HoldRule("hold[0]", recipient=Pattern("@example.com"), reason="new customer"),
    HoldRule("hold[1]", login=Pattern("tom@example.org")),
]


@pytest.fixture
def strict(tmp_path):
    office = Office(tmp_path, rules=RULES)
    yield office
    assert not office.failures


def test_a_rule_holds_new_mail_and_only_whom_it_names(strict):
    queue_id = strict.put("bob@example.net", "eve@example.com")
    strict.settle()
    assert [route for route, _ in strict.transmitter.sent] == ["example.net"]
    assert [one.shown_state for one in strict.spool.read(queue_id).progress] == ["delivered", "held"]
    assert strict.spool.read(queue_id).progress[1].held_by == "rule hold[0]"
    (event,) = [event for event in strict.events if event.word == "held"]
    assert (event.by, event.reason, event.recipients) == ("rule hold[0]", "new customer", ("eve@example.com",))
    strict.restart()
    strict.advance(DAY)
    assert len(strict.transmitter.sent) == 1


def test_what_was_released_is_not_held_again_by_the_rule(strict):
    strict.transmitter.answer = lambda route, recipient: DOWN
    queue_id = strict.put("eve@example.com")
    strict.settle()
    release(strict, queue_id)
    strict.restart()
    strict.advance(331)
    assert len(strict.transmitter.sent) == 2


def test_a_rule_about_a_login(strict):
    strict.put("bob@example.net", source=source_text("192.0.2.1:4711", "Tom@example.org", "ESMTPSA"))
    strict.put("bob@example.net", source=source_text("192.0.2.1:4711", "alice@example.org", "ESMTPSA"))
    strict.settle()
    assert len(strict.transmitter.sent) == 1


def test_reports_of_ours_pass_the_rules(tmp_path):
    office = Office(tmp_path, rules=[HoldRule("hold[0]", recipient=Pattern("@example.org"))])
    office.transmitter.answer = lambda route, recipient: NO
    office.put("bob@example.net")
    office.settle()
    assert [name for name, _ in office.mailboxes.filed] == ["alice@example.org"]


def test_what_was_released_is_not_held_again_when_an_alias_expands_it(tmp_path):
    rules = [HoldRule("hold[0]", sender=Pattern("tony@outside.example"))]
    office = Office(tmp_path, rules=rules)
    office.local["sales@example.org"] = LocalMailboxes((box("alice@example.org"),), (box("far@example.net"),))
    office.transmitter.answer = lambda route, recipient: LATER
    queue_id = office.put("sales@example.org", sender="tony@outside.example", source="[192.0.2.1:25] ESMTP")
    office.settle()
    assert office.transmitter.sent == []
    release(office, queue_id)
    office.settle()
    assert [route for route, _ in office.transmitter.sent] == ["example.net"]
    (copies,) = office.on_disk()
    # Kept on disk and over a restart, also before anything was written about it.
    office.spool.paths.state(copies).unlink()
    office.restart()
    office.settle()
    assert [route for route, _ in office.transmitter.sent] == ["example.net"] * 2


def test_copies_keep_the_source_of_their_message(office):
    office.local["sales@example.org"] = LocalMailboxes((box("alice@example.org"),), (box("far@example.net"),))
    office.transmitter.answer = lambda route, recipient: LATER
    source = source_text("192.0.2.1:4711", "alice@example.org", "ESMTPSA")
    office.put("sales@example.org", source=source)
    office.settle()
    (copies,) = office.on_disk()
    assert office.spool.read(copies).source == f"{source} (behind an alias)"


def test_new_mail_that_a_rule_takes_and_the_disk_does_not_give_out_is_asked_for_again(strict, monkeypatch):
    whole = strict.spool.load

    def broken(names):
        return [Unreadable(name, strict.spool.paths.message(name), "I/O error", False, may_pass=True) for name in names]

    monkeypatch.setattr(strict.spool, "load", broken)
    queue_id = strict.put("eve@example.com", "bob@example.net")
    strict.settle()
    assert strict.transmitter.sent == []
    monkeypatch.setattr(strict.spool, "load", whole)
    strict.advance(301)
    assert [one.shown_state for one in strict.spool.read(queue_id).progress] == ["held", "delivered"]
    assert strict.words("trouble") == ["trouble"]


def test_new_mail_that_a_rule_takes_and_that_is_gone_is_forgotten(strict):
    queue_id = strict.ids()
    strict.runner.added(queue_id, Envelope(None, (Recipient(box("eve@example.com")),)), 0.0, "")
    strict.settle()
    assert len(strict.runner) == 0


# --- crashes ----------------------------------------------------------------------------------------------------------


def _orders_life(tmp_path, at, after):
    """Held by a rule, released, held by hand, bounced; dies at change `at` of the disk."""
    files = DyingFiles()
    office = Office(tmp_path, files=files, rules=RULES, answer=lambda route, recipient: LATER)
    queue_id = office.put("eve@example.com")
    files.die_at(at, after)
    answered = []
    try:
        office.settle()
        for order in (release, hold, bounce):
            order(office, queue_id)
            office.settle()
            if files.is_dead:
                break
            answered.append(order)
    except Killed:
        pass
    return office, queue_id, answered


def test_a_kill_at_any_step_keeps_every_order_that_was_answered(tmp_path):
    office, _, answered = _orders_life(tmp_path / "whole", None, False)
    steps = office.files.count
    assert answered == [release, hold, bounce]
    assert office.on_disk() == []
    for at in range(1, steps + 1):
        for after in (False, True):
            office, queue_id, answered = _orders_life(tmp_path / f"{at}{after}", at, after)
            office.transmitter.sent.clear()
            _restart_after_kill(office)
            where = f"killed {'after' if after else 'before'} step {at} of {steps}"
            if bounce in answered:
                assert office.on_disk() == [], where
            elif queue_id in office.on_disk():
                (one,) = office.spool.read(queue_id).progress
                if answered == [release, hold]:
                    assert one.is_held or one.state is RecipientState.BOUNCED, where
                if answered == [release]:
                    assert not one.held_by.startswith("rule"), where
                if not answered and not one.is_held:
                    assert one.held_s or one.attempts or office.spool.read(queue_id).has_state, where
            assert len(office.mailboxes.filed) <= 2, where
            assert office.words("damaged", "trouble") == [], where


# --- routes that change with attempts ---------------------------------------------------------------------------------


def test_after_so_many_attempts_another_way_is_taken(tmp_path):
    office = Office(tmp_path, answer=lambda route, recipient: OK if str(route) == "isp.example:587" else LATER)
    usual = office.find_destination
    way_out = SmarthostRoute("isp.example", 587)
    office.find_destination = lambda mailbox, attempts=0: way_out if attempts >= 2 else usual(mailbox)
    office.restart()
    office.put("bob@example.net")
    office.settle()
    office.advance(331)
    assert office.on_disk()
    office.runner.retry(domain="example.net")
    office.settle()
    assert [route for route, _ in office.transmitter.sent] == ["example.net", "example.net", "isp.example:587"]
    assert office.on_disk() == []
