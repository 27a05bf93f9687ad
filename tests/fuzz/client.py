"""Target: the SMTP client's transaction against whatever a server answers."""

from mailserver.mail.envelope import Body, Envelope, Notify, Recipient, Ret
from mailserver.mail.outcome import Bounced, Deferred, Delivered, Stage
from mailserver.mail.reply import Reply
from mailserver.wire.smtp_client import Await, Finished, GiveContent, Say, Terms, Transaction
from mailserver.wire.smtp_extensions import Extensions, parse_extensions
from mailserver.wire.smtp_replies import ReplyFault, ReplyParser
from tests.fakes.directory import box
from tests.fuzz.cutting import cut

_RECIPIENTS = (
    Recipient(box("a@one.example")),
    Recipient(box("b@one.example"), frozenset({Notify.SUCCESS})),
    Recipient(box('"c d"@two.example')),
    Recipient(box("\u00fc@three.example")),
)
_ENVELOPE = Envelope(box("s@sender.example"), _RECIPIENTS, Ret.HDRS, "id", Body.EIGHTBITMIME, smtputf8=True)
_NOTHING = Extensions()
_EVERYTHING = Extensions(pipelining=True, eightbitmime=True, smtputf8=True, dsn=True, size_offered=True)


class ClientRun:
    """A transaction, and what was said and answered in it.

    The model: commands that wait for their reply, in order. Content goes out only when one of them was DATA with
    354 and a recipient was taken; who is delivered was told so by the last reply; a connection is used again only when
    nothing waits.
    """

    def __init__(self, flags: int) -> None:
        self.recipients = _RECIPIENTS[: 1 + (flags & 3)]
        extensions = _EVERYTHING if flags & 4 else _NOTHING
        self.transaction = Transaction(
            _ENVELOPE, self.recipients, Terms(extensions), 1234, smtputf8=True, must_reset=bool(flags & 8)
        )
        self.waiting: list[str] = []
        self.was_taken: Reply | None = None
        self.accepted = 0
        self.is_over = self.is_usable = False
        self._say(self.transaction.start())

    def _say(self, octets: bytes) -> None:
        if octets == b".\r\n":
            self.waiting.append("LONE DOT")
            return
        lines = octets.split(b"\r\n")
        assert lines.pop() == b""
        for line in lines:
            assert b"\n" not in line
            assert b"\r" not in line
            self.waiting.append(line[:4].decode("ascii"))

    def take(self, reply: Reply) -> None:
        """One reply, and the model's part."""
        assert self.waiting, "a reply is taken that nobody waits for"
        verb = self.waiting.pop(0)
        step = self.transaction.take(reply)
        if verb == "RCPT" and 200 <= reply.code < 300 and self.transaction.took_recipients:
            self.accepted += 1
        if verb == "CONTENT" and 200 <= reply.code < 300:
            self.was_taken = reply
        match step:
            case Say(octets):
                assert not self.waiting, "something is said while an answer is still to come"
                self._say(octets)
            case Await():
                assert self.waiting, "nothing would ever come"
            case GiveContent():
                assert verb == "DATA"
                assert 300 <= reply.code < 400
                assert self.accepted
                assert not self.waiting
                self.waiting.append("CONTENT")
            case Finished(is_usable):
                self.is_over, self.is_usable = True, is_usable
                assert not is_usable or not self.waiting, "used again with answers still to come"
        self._check_stage()

    def _check_stage(self) -> None:
        if self.waiting:
            at = {"MAIL": Stage.MAIL, "RSET": Stage.MAIL, "RCPT": Stage.RCPT, "DATA": Stage.DATA, "CONTENT": Stage.EOD}
            assert self.transaction.stage is at.get(self.waiting[0], Stage.DATA) or self.is_over

    def end(self) -> None:
        """The connection is gone, if it was not over; then everybody has one outcome or is left over."""
        if not self.is_over:
            self.transaction.lost("gone")
        outcomes, leftover = self.transaction.outcomes, self.transaction.leftover
        assert set(outcomes).isdisjoint(leftover)
        assert sorted([*map(repr, outcomes), *map(repr, leftover)]) == sorted(map(repr, self.recipients))
        for outcome in outcomes.values():
            match outcome:
                case Delivered(reply):
                    assert self.was_taken is not None
                    assert reply == self.was_taken
                case Bounced(_, _, enhanced, reply):
                    assert reply is not None
                    assert 500 <= reply.code < 600
                    assert enhanced.startswith("5.")
                case Deferred():
                    pass
        if self.was_taken is not None:
            delivered = sum(isinstance(outcome, Delivered) for outcome in outcomes.values())
            assert delivered == self.accepted


def _run(flags: int, pieces: list[bytes]) -> ClientRun:
    run, parser = ClientRun(flags), ReplyParser()
    for piece in pieces:
        parser.receive(piece)
        while not run.is_over and (one := parser.next_reply()) is not None:
            if isinstance(one, ReplyFault):
                run.transaction.lost(one.reason)
                run.is_over = True
            else:
                run.take(one)
        if run.is_over:
            break
    run.end()
    return run


def smtp_client(octets: bytes) -> None:
    """Two octets of sizes, one of flags; then what the server says."""
    steering, said = octets[:3].ljust(3, b"\0"), octets[3:]
    whole = _run(steering[2], [said])
    pieces = _run(steering[2], list(cut(said, steering[:2])))
    assert whole.transaction.outcomes == pieces.transaction.outcomes
    assert whole.transaction.leftover == pieces.transaction.leftover


def smtp_extensions(octets: bytes) -> None:
    """What a server says to EHLO."""
    parser = ReplyParser()
    parser.receive(octets)
    while (one := parser.next_reply()) is not None:
        if isinstance(one, Reply):
            found = parse_extensions(one)
            for number in (found.size_limit, found.max_messages, found.max_recipients, found.max_domains):
                assert number is None or number > 0
