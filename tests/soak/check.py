"""Compares the ledger with what is on disk and at the next hop. Reads files only, and only while the server is dead.

`Check.problems` may be asked after every kill; it remembers what it has seen, so that what vanishes is noticed. What it
promises to find: anything acknowledged that is nowhere, a copy too many, other octets, a deletion that came back, a
message that vanished, an order that was forgotten, a bounce without a reason or twice, and temporary files that a start
left behind.

What may be repeated, and how often (everything else may not):

- a try that was not answered, once in each mailbox, beside the try that follows it;
- what is sent from the queue or picked up from the drop folder, once for each kill that fell between: two copies that
  the same process made are one too many, and two takings of the next hop must have a kill between them, or no 250;
- a report that was filed, fetched and deleted before a kill let the queue forget it.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.server import ALICE, BOB
from tests.soak.book import Tail
from tests.soak.letters import STRANGER, Letter, Report, Told
from tests.soak.places import Box, Drop, Fresh, Queue, Sink, Taking, Try

_FAILED = "failed"
_GOOD_NEWS = ("delivered", "relayed")
_LAG_S = 0.3


@dataclass(slots=True)
class Sent:
    """What the ledger has of one try."""

    way: str
    sender: str
    recipients: tuple[str, ...]
    notify: dict[str, str]
    # None: no answer; else whether it was taken.
    is_taken: bool | None = None


@dataclass(slots=True)
class _Erased:
    """Deletions in one mailbox: asked for at a QUIT, and answered."""

    asked: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)


class Check:
    """Over one run. `folder` is the server's, with `ledger` and `sink` beside it."""

    def __init__(self, folder: Path, ledger: Path, sink: Path) -> None:
        self._book = Tail(ledger)
        self.tries: dict[Try, Sent] = {}
        # What is not yet where it was to go: recipients that are acknowledged and not settled.
        self.open: dict[Try, set[str]] = {}
        self.boxes = {
            box: Box(folder / "maildirs" / box.partition("@")[2] / box.partition("@")[0]) for box in (ALICE, BOB)
        }
        self.sink = Sink(sink)
        self.queue = Queue(folder / "var" / "queue")
        self.drop = Drop(folder / "drop")
        self._erased = {box: _Erased() for box in self.boxes}
        self._seen: dict[str, set[str]] = {box: set() for box in self.boxes}
        self._held: set[str] = set()
        self._given_up: set[str] = set()
        self._kills: list[float] = []
        self._killed_pids: set[int] = set()
        self._wishes: dict[Try, set[str]] = {}
        # The queue id that an acknowledgment named, and the one report about each end.
        self._ids: dict[Try, str] = {}
        self._report_about: dict[tuple[str, str, str], str] = {}

    def problems(self) -> list[str]:
        """Everything that is wrong now."""
        found = list(self._read_book())
        for place in (self.queue, self.drop, self.sink, *self.boxes.values()):
            found += place.look()
        found += [
            *self._lost(),
            *self._vanished(),
            *self._repeated_in_boxes(),
            *self._repeated_at_the_sink(),
            *self._forgotten_orders(),
            *self._wrong_reports(),
        ]
        for box in self.boxes.values():
            box.fresh = Fresh()
        return found

    def problems_at_the_end(self) -> list[str]:
        """The same, and what may not be left when everything was drained."""
        found = self.problems()
        found += [f"{queue_id} is still in the queue" for queue_id in self.queue.messages]
        found += [f"message {number} is still in the drop folder" for number, _ in self.drop.tries]
        found += [f"message {n}, try {k} for {one} has not arrived" for (n, k), who in self.open.items() for one in who]
        for key, wished in self._wishes.items():
            told = {one.recipient for one in self._told(key) if one.action in _GOOD_NEWS}
            reached = {one for one in wished if one in self.boxes or one in self.sink.letters.get(key, ())}
            # The last answer is lost when the operator gives up what the next hop has taken.
            if self._ids[key] not in self._given_up:
                found += [f"{self._name(key)}: no report of success about {one}" for one in sorted(reached - told)]
        return found

    # --- the ledger ---------------------------------------------------------------------------------------------------

    def _read_book(self) -> Iterator[str]:
        for line in self._book.read():
            match line["what"]:
                case "send":
                    key = line["n"], line["attempt"]
                    self.tries[key] = Sent(line["way"], line["sender"], tuple(line["to"]), line["notify"])
                case "acknowledged":
                    self._acknowledged((line["n"], line["attempt"]), line["id"])
                case "turned-away" if (sent := self.tries.get((line["n"], line["attempt"]))) is not None:
                    sent.is_taken = False
                case "fetched":
                    yield from self._fetched(line)
                case "quitting":
                    self._erased[line["box"]].asked.update(line["uidls"])
                case "erased":
                    self._erased[line["box"]].done.update(line["uidls"])
                case "held":
                    self._held.add(line["id"])
                case "let-go":
                    self._held.discard(line["id"])
                case "given-up":
                    self._given_up.add(line["id"])
                case "kill":
                    self._kills.append(line["at"])
                    self._killed_pids.add(line["pid"])
                case "complaint":
                    yield line["text"]

    def _acknowledged(self, key: Try, queue_id: str) -> None:
        sent = self.tries[key]
        self._ids[key] = queue_id
        sent.is_taken = True
        self.open[key] = set(sent.recipients)
        wished = {one for one, notify in sent.notify.items() if "SUCCESS" in notify}
        if wished:
            self._wishes[key] = wished

    def _fetched(self, line: dict) -> Iterator[str]:
        copy: Letter | Report
        if "n" in line:
            copy = Letter(line["n"], line["attempt"], "")
        else:
            copy = Report(line["report"], tuple(Told(*one) for one in line["about"]))
        if wrong := self.boxes[line["box"]].note(line["uidl"], line["digest"], copy):
            yield wrong

    # --- nothing is lost ----------------------------------------------------------------------------------------------

    def _lost(self) -> Iterator[str]:
        for key, waiting in list(self.open.items()):
            for recipient in list(waiting):
                if self._has_arrived(key, recipient):
                    waiting.discard(recipient)
                elif not self._is_under_way(key, recipient):
                    yield f"{self._name(key)} for {recipient} was acknowledged and is lost"
            if not waiting:
                del self.open[key]

    def _has_arrived(self, key: Try, recipient: str) -> bool:
        """In a mailbox (or fetched from it), at the next hop, or back as a bounce that has arrived itself."""
        if recipient in self.boxes:
            return bool(self.boxes[recipient].letters.get(key))
        if recipient in self.sink.letters.get(key, ()):
            return True
        failures = [one for one in self._told(key) if one.recipient == recipient and one.action == _FAILED]
        if failures:
            return True
        sent = self.tries[key]
        # Nobody is told, where the sender wanted it so.
        is_refused = recipient in self.sink.refused or self._ids[key] in self._given_up
        return is_refused and sent.notify.get(recipient) in ("NEVER", "SUCCESS")

    def _is_under_way(self, key: Try, recipient: str) -> bool:
        if key in self.drop.tries and self.tries[key].way == "drop":
            return True
        if any(one.may_still_reach(recipient) for one in self.queue.by_try.get(key, ())):
            return True
        return any(one.recipient == recipient and one.action == _FAILED for one in self.queue.told.get(key, ()))

    def _told(self, key: Try) -> set[Told]:
        """What the sender of this try was told, in a report that has arrived."""
        sender = self.tries[key].sender
        if sender == STRANGER:
            return self.sink.told.get(key, set())
        return self.boxes[sender].told.get(key, set())

    def _vanished(self) -> Iterator[str]:
        for address, box in self.boxes.items():
            erased = self._erased[address]
            # What was fetched counts as seen.
            self._seen[address] |= box.names | box.fresh.uniques
            for unique in sorted(self._seen[address] - box.names - erased.asked):
                yield f"{address}: {unique} has vanished, and nobody deleted it"
            for unique in sorted(box.names & erased.done):
                yield f"{address}: {unique} is back, and its deletion was answered"
            self._seen[address] = set(box.names)

    # --- nothing is there twice ---------------------------------------------------------------------------------------

    def _repeated_in_boxes(self) -> Iterator[str]:
        for address, box in self.boxes.items():
            for key in box.fresh.tries:
                sent, uniques = self.tries.get(key), box.letters[key]
                if sent is None:
                    yield f"{address}: {self._name(key)} was never sent"
                elif sent.is_taken is False:
                    yield f"{address}: {self._name(key)} was turned away and is there"
                elif len(uniques) > 1 and (sent.way != "drop" or self._is_too_many(uniques)):
                    yield f"{address}: {self._name(key)} is there {len(uniques)} times: {', '.join(sorted(uniques))}"
            for report_id in box.fresh.reports:
                uniques = box.reports[report_id]
                kept = uniques - self._erased[address].asked
                if len(kept) > 1 or (len(uniques) > 1 and self._is_too_many(uniques)):
                    yield f"{address}: report {report_id} is there {len(uniques)} times: {', '.join(sorted(uniques))}"

    def _is_too_many(self, uniques: set[str]) -> bool:
        """Whether one process made two of them, or ended in peace after it made one that was made again."""
        pids = [_pid_of(unique) for unique in sorted(uniques)]
        return len(set(pids)) < len(pids) or not self._killed_pids.issuperset(pids[:-1])

    def _repeated_at_the_sink(self) -> Iterator[str]:
        for key in self.sink.fresh_keys:
            last: dict[str, Taking] = {}
            for taking in self.sink.by_key[key]:
                for recipient in taking.recipients:
                    before = last.get(recipient)
                    if before is not None and not self._may_come_again(before, taking):
                        yield f"the next hop got {key} for {recipient} again, and its 250 was read before"
                    last[recipient] = taking

    def _may_come_again(self, before: Taking, again: Taking) -> bool:
        """The next hop may go on for a moment with what it got before the kill; the next start takes longer."""
        is_cut_off = any(before.at <= kill + _LAG_S and kill <= again.at for kill in self._kills)
        return not before.answered_at or is_cut_off

    # --- orders and reports -------------------------------------------------------------------------------------------

    def _forgotten_orders(self) -> Iterator[str]:
        for queue_id in sorted(self._held):
            message = self.queue.messages.get(queue_id)
            if message is None or not message.is_held:
                yield f"{queue_id} was held, and is {'gone' if message is None else 'not held any more'}"

    def _wrong_reports(self) -> Iterator[str]:
        """A bounce has a reason, and there is one report about one end."""
        fresh = [one for box in self.boxes.values() for one in box.fresh.told] + self.sink.fresh_told
        for report_id, told in fresh:
            where = f"{told.queue_id} for {told.recipient}"
            is_refused = told.recipient in self.sink.refused or told.queue_id in self._given_up
            if told.action == _FAILED and not is_refused:
                yield f"{where} was bounced, and nobody refused it"
            other = self._report_about.setdefault((told.queue_id, told.recipient, told.action), report_id)
            if other != report_id:
                yield f"{where}: two reports, {other} and {report_id}"

    def _name(self, key: Try) -> str:
        return f"message {key[0]}, try {key[1]}"

    # --- for the summary ----------------------------------------------------------------------------------------------

    def copies_beyond_the_first(self) -> dict[str, int]:
        """How many copies there were too many, all of them explained, by reason."""
        tries: dict[tuple[str, int], int] = defaultdict(int)
        again = 0
        for address, box in self.boxes.items():
            for (number, _), uniques in box.letters.items():
                tries[address, number] += 1
                again += len(uniques) - 1
            again += sum(len(uniques) - 1 for uniques in box.reports.values())
        takings = [one for many in self.sink.by_key.values() for one in _beyond_the_first(many)]
        return {
            "in mailboxes, the client saw no answer and sent again": sum(count - 1 for count in tries.values()),
            "in mailboxes, a kill between filing and noting it": again,
            "at the next hop, which gave no answer": sum(1 for one in takings if not one.answered_at),
            "at the next hop, a kill between its 250 and our note": sum(1 for one in takings if one.answered_at),
        }


def _beyond_the_first(takings: list[Taking]) -> Iterator[Taking]:
    """The takings that were taken again later, for some recipient."""
    for at, one in enumerate(takings):
        if any(set(one.recipients) & set(later.recipients) for later in takings[at + 1 :]):
            yield one


def _pid_of(unique: str) -> int:
    """The process that made the file."""
    return int(unique.partition("P")[2].partition("Q")[0])
