"""The SMTP client's transaction against a server that says anything, and an oracle that knows only the replies.

Each recipient ends with one outcome, or is left over for another transaction; nobody is bounced but by a 5yz, and
nobody counts as delivered but by the 2yz behind the final dot.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from mailserver.mail.outcome import Bounced, Deferred, Delivered
from mailserver.mail.reply import reply
from mailserver.wire.smtp_replies import ReplyParser
from tests.fuzz.client import ClientRun
from tests.fuzz.cutting import cut

ODD_CODES = st.sampled_from([250, 354, 450, 452, 452, 550, 552, 552, 421, 251, 220, 500, 553, 399])
EXPECTED = {"RSET": 2, "MAIL": 2, "RCPT": 2, "DATA": 3, "CONTENT": 2, "LONE DOT": 2}


def is_misfit(verb: str, code: int) -> bool:
    """Whether this cannot be the answer to that."""
    return code < 400 and code // 100 != EXPECTED[verb]


def oracle(said: list[tuple[str, int]], recipients: int) -> list[type | None]:
    """What becomes of each recipient by these replies alone; None: left over, or deferred."""
    result: list[type | None] = [None] * recipients
    accepted: list[int] = []
    place = 0
    mail_taken = False
    for verb, code in said:
        hundreds = code // 100
        if code == 421 or (verb == "RSET" and hundreds != 2):
            break
        refused = {4: Deferred, 5: Bounced}.get(hundreds)
        if is_misfit(verb, code) and (verb != "RCPT" or mail_taken):
            # It talks about something else: what it said so far bounces nobody.
            return [Deferred if one is not Delivered else one for one in result]
        if verb == "MAIL":
            mail_taken = hundreds == 2
            if refused:
                result = [refused] * recipients
        elif verb == "RCPT":
            if mail_taken:
                if hundreds == 2:
                    accepted.append(place)
                else:
                    result[place] = None if code in (452, 552) else refused
            place += 1
        elif verb in ("DATA", "CONTENT") and (refused or verb == "CONTENT"):
            for one in accepted:
                result[one] = refused or Delivered
    return [Deferred if one is None else one for one in result]


class Server(RuleBasedStateMachine):
    """Answers what it likes."""

    @initialize(flags=st.integers(0, 15))
    def connect(self, flags):
        self.run = ClientRun(flags)
        self.said: list[tuple[str, int]] = []
        self.is_out_of_step = False

    @precondition(lambda self: not self.run.is_over)
    @rule(
        is_usual=st.booleans(),
        code=ODD_CODES,
        lines=st.integers(1, 3),
        where=st.lists(st.integers(0, 7), min_size=1, max_size=3),
    )
    def answer(self, is_usual, code, lines, where):
        verb = self.run.waiting[0]
        if is_usual:
            code = 354 if verb == "DATA" else 250
        parser = ReplyParser()
        for piece in cut(reply(code, "", *["x"] * lines).encode(), where):
            parser.receive(piece)
        read = parser.next_reply()
        assert read == reply(code, "", *["x"] * lines)
        assert not parser.has_input
        self.said.append((verb, code))
        self.is_out_of_step |= code == 421 or is_misfit(verb, code)
        self.run.take(read)

    @precondition(lambda self: self.run.is_over)
    @rule()
    def nothing_more(self):
        """What a session does not do; its outcomes stand."""

    def teardown(self):
        if not hasattr(self, "run"):
            return
        self.run.end()
        # A refused sender makes the answers to RCPT meaningless, and those alone.
        is_mail_refused = any(verb == "MAIL" and code >= 400 for verb, code in self.said)
        assert not (self.run.is_usable and self.is_out_of_step) or is_mail_refused, self.said
        outcomes, leftover = self.run.transaction.outcomes, self.run.transaction.leftover
        for recipient, expected in zip(self.run.recipients, oracle(self.said, len(self.run.recipients)), strict=True):
            if recipient in leftover:
                assert expected is Deferred
                assert self.run.accepted, "nobody was taken, and another transaction would be the same"
            elif not isinstance(outcomes[recipient], expected):
                # Where the machine is in doubt it may wait, and never give up.
                assert isinstance(outcomes[recipient], Deferred), (recipient, self.said, outcomes[recipient])
                assert expected is Bounced, (recipient, self.said)
                assert not self.run.waiting or self.said[-1][1] == 421 or self.said[-1][1] < 400, self.said


def test_any_answers_end_in_one_outcome_for_each():
    run_state_machine_as_test(Server, settings=settings(max_examples=200, stateful_step_count=12, deadline=None))
