"""Random lives: any outcomes, kills, restarts, commands; in the end nobody is lost and nobody told wrongly."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailserver.mail.outcome import Bounced, Deferred, Delivered
from mailserver.relay.schedule import Schedule
from tests.fakes.relay import DOWN, LATER, NO, OK, Office

RECIPIENTS = ("a@x.example", "a@y.example", "b@x.example", "b@y.example", "bob@example.org")
ANSWERS = st.sampled_from([OK, LATER, DOWN, NO, RuntimeError("nobody named this")])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, len(RECIPIENTS))),
        st.tuples(st.just("wait"), st.sampled_from([1, 60, 350, 4000])),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("retry"), st.just(0)),
        st.tuples(st.just("clock"), st.sampled_from([-1e6, 1e6])),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, answers=st.lists(ANSWERS, max_size=40))
def test_every_recipient_comes_to_exactly_one_end(steps, answers):
    waiting = iter(answers)
    told: dict[str, list[object]] = {}

    def answer(route, recipient):
        return next(waiting, OK)

    with tempfile.TemporaryDirectory() as folder:
        office = Office(Path(folder), schedule=Schedule((300.0, 600.0), 7200.0, 3000.0), answer=answer)
        transmit = office.transmitter.send

        async def send(route, envelope, content, queue_id, transcript):
            outcomes = await transmit(route, envelope, content)
            for recipient, outcome in outcomes.items():
                told.setdefault(str(recipient.mailbox), []).append(outcome)
            return outcomes

        office.transmitter.send = send
        sent = 0
        for command, number in steps:
            if command == "send":
                office.put(*RECIPIENTS[:number])
                sent += number
            elif command == "wait":
                office.advance(number)
            elif command == "restart":
                office.restart()
            elif command == "retry":
                office.runner.retry()
            else:
                office.clock.step(number)
            office.settle()
        for _ in range(60):
            office.advance(601)
        assert office.on_disk() == []
        assert list(office.spool.paths.states.iterdir()) == []
        assert len(office.runner) == 0
        ends = [event for event in office.events if event.word in ("delivered", "bounced")]
        filed = [event for event in office.events if event.word == "filed" and event.recipient == "bob@example.org"]
        assert len(ends) + len(filed) == sent
        delivered = sum(isinstance(one, Delivered) for outcomes in told.values() for one in outcomes)
        refused = sum(isinstance(one, Bounced) for outcomes in told.values() for one in outcomes)
        assert len([event for event in ends if event.word == "delivered"]) == delivered
        assert len([event for event in ends if event.word == "bounced"]) >= refused
        given_up = {(event.queue_id, event.recipient) for event in ends if event.word == "bounced"}
        reports = [content for name, content in office.mailboxes.filed if name == "alice@example.org"]
        failures = [content for content in reports if b"Action: failed" in content]
        assert sum(content.count(b"Action: failed") for content in failures) == len(given_up)
        assert all(isinstance(one, Deferred | Delivered | Bounced) for outcomes in told.values() for one in outcomes)
