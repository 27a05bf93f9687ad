"""What happens to a server while its disk is pulled away: one story for each way a message or a change can go."""

from collections.abc import Callable
from dataclasses import dataclass, field

from mailserver.store.queue_orders import Choice
from mailserver.store.spool_changes import WriteState
from mailserver.store.spool_state import RecipientProgress, RecipientState
from tests.fakes.relay import DOWN, LATER, NO, OK
from tests.faults.server import ALICE, BOB, FAR, HOST, TEAM, Letter

CAROL = "carol@example.org"
FARTHER, NOBODY = "b@farther.example", "nobody@far.example"
OLD = Letter(500, local=(ALICE,))


def _nothing(server):
    """Is done."""


@dataclass(frozen=True, slots=True)
class Story:
    """`letters` are accepted by `act`, which gets them all in one group unless it is told otherwise.

    `before` makes what is on disk at the beginning; `repair` what an administrator does after the crash, before the
    start. `answer` is what other servers say (route, recipient) -> outcome. `refused`, `most` and `most_sent` go to
    `check_promises`.
    """

    name: str
    letters: tuple[Letter, ...] = ()
    before: Callable = _nothing
    act: Callable = lambda server, letters: (server.accept(*letters), server.live_on())
    repair: Callable = lambda root: None
    answer: Callable = lambda route, recipient: OK
    refused: tuple[str, ...] = ()
    most: int = 1
    most_sent: int = 2
    about: dict = field(default_factory=dict)


def old_mail(server):
    """A mailbox that exists already."""
    server.accept(OLD)


# --- accepting --------------------------------------------------------------------------------------------------------

DELIVERY = [
    Story("one recipient", (Letter(1, (ALICE,)),), old_mail),
    Story("a new mailbox", (Letter(1, (BOB,)),)),
    Story("several recipients", (Letter(1, (ALICE, BOB, CAROL)),), old_mail),
    Story(
        "a group for the same mailbox", (Letter(1, (ALICE,)), Letter(2, (ALICE, BOB)), Letter(3, (ALICE,))), old_mail
    ),
    Story("queued", (Letter(1, (), (FAR,)),)),
    Story("several queued", (Letter(1, (), (FAR, FARTHER)), Letter(2, (), (FAR,)))),
    Story("local and remote", (Letter(1, (ALICE, BOB), (FAR, FARTHER)),), old_mail),
    Story("with a success report", (Letter(1, (ALICE, BOB), sender=CAROL, wants_success=True),), old_mail),
    Story("large, one recipient", (Letter(1, (ALICE,), is_large=True),), old_mail),
    Story("large, several recipients", (Letter(1, (ALICE, BOB), is_large=True),), old_mail),
    Story("large, queued", (Letter(1, (), (FAR,), is_large=True),)),
    Story("junk in a new folder", (Letter(1, (ALICE, BOB), is_junk=True),), old_mail),
    Story("large junk", (Letter(1, (ALICE, BOB), is_large=True, is_junk=True),), old_mail),
    Story("large, local and remote", (Letter(1, (ALICE, BOB), (FAR,), is_large=True), Letter(2, (ALICE,))), old_mail),
]


# --- a mailbox in trouble ---------------------------------------------------------------------------------------------


def broken_mailbox(server):
    """Alice's `tmp` is no folder."""
    old_mail(server)
    tmp = server.root / "mail/example.org/alice/tmp"
    tmp.rmdir()
    tmp.write_bytes(b"")


def repaired(root):
    """It is one again."""
    tmp = root / "mail/example.org/alice/tmp"
    if tmp.is_file():
        tmp.unlink()
        tmp.mkdir()


def _with_repair(server, letters):
    server.accept(*letters)
    server.live_on(2)
    repaired(server.root)
    server.live_on()


# Filed, and the queue does not know it yet: filed once more.
BROKEN = [
    Story("a broken mailbox", (Letter(1, (ALICE,)),), broken_mailbox, _with_repair, repaired, most=2),
    Story("a broken one of two", (Letter(1, (ALICE, BOB), (FAR,)),), broken_mailbox, _with_repair, repaired, most=2),
    Story(
        "a broken one of two, large",
        (Letter(1, (ALICE, BOB), is_large=True),),
        broken_mailbox,
        _with_repair,
        repaired,
        most=2,
    ),
    Story(
        "a broken one, large and alone",
        (Letter(1, (ALICE,), is_large=True),),
        broken_mailbox,
        _with_repair,
        repaired,
        most=2,
    ),
]


# --- the queue's life -------------------------------------------------------------------------------------------------


def later_then_ok():
    """The first attempt for each recipient of `far.example` is put off."""
    tried = set()

    def answer(route, recipient):
        name = str(recipient.mailbox)
        if name == NOBODY:
            return NO
        if name == FAR and name not in tried:
            tried.add(name)
            return LATER
        return OK

    return answer


def _by_order(*orders):
    def act(server, letters):
        server.transmitter.answer = lambda route, recipient: DOWN
        server.accept(*letters)
        server.settle()
        for order in orders:
            order(server, letters[0])
        server.transmitter.answer = lambda route, recipient: OK
        server.live_on()

    return act


def hold(server, letter):
    """Until it is released."""
    done = server.ask(server.runner.hold([letter.queue_id], Choice(), "root", "why not"))
    if done and done.count:
        server.tell(("held", letter))


def release(server, letter):
    """It may go."""
    done = server.ask(server.runner.release([letter.queue_id], Choice(), "root"))
    if done and done.count:
        server.tell(("released", letter))


def bounce(server, letter):
    """Back to its sender."""
    done = server.ask(server.runner.bounce([letter.queue_id], Choice(recipient=FAR), "root", "no more"))
    if done and done.count:
        server.tell(("bounced", letter))


def remove(server, letter):
    """It is gone."""
    server.tell(("to be removed", letter))
    if server.ask(server.runner.remove([letter.queue_id])):
        server.tell(("removed", letter))


def half_done(server):
    """Letters that wait, one of them with a report that is owed, and files that were never acknowledged."""
    old_mail(server)
    waiting = [Letter(501, (), (FAR,)), Letter(502, (), (FAR, FARTHER)), Letter(503, (), (FAR,))]
    server.transmitter.answer = lambda route, recipient: DOWN
    server.accept(*waiting)
    server.settle()
    hold(server, waiting[2])
    refused = RecipientProgress(RecipientState.BOUNCED, 1, reason="no", enhanced="5.1.1", report="0000000000700")
    assert server.spool.apply([WriteState(waiting[1].queue_id, (RecipientProgress(), refused))]) == [None]
    for path in (server.spool.paths.tmp / "0000000000600", server.spool.paths.states / "0000000000601"):
        path.write_bytes(b"half a mess")
    (server.root / f"mail/example.org/alice/tmp/1750000000.P1Q1.{HOST}").write_bytes(b"half a mess")


QUEUE = [
    Story("delivered later", (Letter(1, (), (FAR,)),), answer=later_then_ok),
    Story("some of each", (Letter(1, (), (FAR, FARTHER, NOBODY)),), answer=later_then_ok, refused=(NOBODY,), most=2),
    Story("refused", (Letter(1, (), (NOBODY,)),), old_mail, answer=later_then_ok, refused=(NOBODY,), most=2),
    Story(
        "refused, and the sender is elsewhere",
        (Letter(1, (), (NOBODY,), sender="joe@farther.example"),),
        answer=later_then_ok,
        refused=(NOBODY,),
    ),
    Story("held and released", (Letter(1, (), (FAR, FARTHER)),), act=_by_order(hold, release)),
    Story("removed by order", (Letter(1, (), (FAR,)),), act=_by_order(hold, remove)),
    Story("bounced by order", (Letter(1, (), (FAR,)),), act=_by_order(bounce), refused=(FAR,), most=2),
    Story("an alias that is expanded", (Letter(1, (), (TEAM,)),), old_mail, most=2),
    Story("a start with work to do", (Letter(1, (), (FAR,)),), half_done, refused=(FARTHER,), most=2),
    Story("with transcripts", (Letter(1, (), (FAR,)),), answer=later_then_ok, about={"transcripts": True}),
]
