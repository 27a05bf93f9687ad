"""Where messages are, as the disk and the next hop's ledger have it. Read while the server is dead; the server's own
code is not asked: the formats are those of docs/queue-format.md and of Maildir.

A file is read once, for no name is ever used again; each look reads what is new since the last one.
"""

import contextlib
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.book import Tail
from tests.soak.letters import Damaged, Letter, Report, Told, number_of, read_copy

Try = tuple[int, int]  # number of a message, and which of its tries


@dataclass(slots=True)
class Queued:
    """A message file. `report_id` is not empty for a report of ours."""

    queue_id: str
    recipients: tuple[str, ...]
    copy: Letter | Report
    states: tuple[dict, ...] = ()

    def may_still_reach(self, recipient: str) -> bool:
        """Whether the server knows that something is left to do for this recipient: to send, or to report."""
        if not self.states:
            return recipient in self.recipients
        return any(
            address == recipient
            and (state["state"] == "waiting" or (state.get("report") and not state.get("is_reported")))
            for address, state in zip(self.recipients, self.states, strict=True)
        )

    @property
    def is_held(self) -> bool:
        """Whether somebody is held."""
        return any(state.get("held_by") for state in self.states)


@dataclass(slots=True)
class Fresh:
    """What is new in a place since the last check."""

    tries: set[Try] = field(default_factory=set)
    reports: set[str] = field(default_factory=set)
    uniques: set[str] = field(default_factory=set)
    told: list[tuple[str, Told]] = field(default_factory=list)


@dataclass(slots=True)
class Box:
    """One mailbox. `letters` and `reports` name the copies ever seen; `digests` by unique part of the name."""

    folder: Path
    names: set[str] = field(default_factory=set)
    letters: dict[Try, set[str]] = field(default_factory=lambda: defaultdict(set))
    reports: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    told: dict[Try, set[Told]] = field(default_factory=lambda: defaultdict(set))
    digests: dict[str, str] = field(default_factory=dict)
    fresh: Fresh = field(default_factory=Fresh)

    def note(self, unique: str, digest: str, copy: Letter | Report) -> str:
        """A copy that was found or fetched; a sentence when it is not what it was."""
        known = self.digests.setdefault(unique, digest)
        self.fresh.uniques.add(unique)
        if isinstance(copy, Letter):
            self.letters[copy.number, copy.attempt].add(unique)
            self.fresh.tries.add((copy.number, copy.attempt))
        else:
            self.reports[copy.report_id].add(unique)
            self.fresh.reports.add(copy.report_id)
            for one in copy.about:
                self.told[one.number, one.attempt].add(one)
                self.fresh.told.append((copy.report_id, one))
        return "" if known == digest else f"{self.folder.name}: {unique} has other octets than before"

    def look(self) -> Iterator[str]:
        """Read what is new; yields what is wrong with it."""
        self.names = set()
        for place in ("new", "cur"):
            for path in (self.folder / place).iterdir() if (self.folder / place).is_dir() else ():
                unique = path.name.partition(",")[0].partition(":")[0]
                if unique in self.names:
                    yield f"{self.folder.name}: {unique} is there under two names"
                self.names.add(unique)
                if unique not in self.digests:
                    yield from self._read(path, unique)

    def _read(self, path: Path, unique: str) -> Iterator[str]:
        octets = path.read_bytes()
        try:
            if wrong := self.note(unique, hashlib.sha256(octets).hexdigest(), read_copy(octets)):
                yield wrong
        except Damaged as damage:
            self.digests[unique] = ""
            yield f"{path}: {damage}"


@dataclass(slots=True)
class Taking:
    """Something that the next hop took. `answered_at` is 0 when its 250 did not go out."""

    at: float
    recipients: tuple[str, ...]
    key: str
    answered_at: float = 0.0


class Sink:
    """What the next hop's ledger says. `by_key` lists takings by the queue id they came under."""

    def __init__(self, ledger: Path) -> None:
        self._tail = Tail(ledger)
        self._takings: dict[int, Taking] = {}
        self.by_key: dict[str, list[Taking]] = defaultdict(list)
        self.letters: dict[Try, set[str]] = defaultdict(set)
        self.told: dict[Try, set[Told]] = defaultdict(set)
        self.refused: set[str] = set()
        self.fresh_keys: set[str] = set()
        self.fresh_told: list[tuple[str, Told]] = []

    def look(self) -> Iterator[str]:
        """Read what is new; yields what is wrong with it."""
        self.fresh_keys, self.fresh_told = set(), []
        for line in self._tail.read():
            match line["what"]:
                case "took" if "damage" in line:
                    yield f"the next hop got: {line['damage']}"
                case "took":
                    self._took(line)
                case "answered":
                    self._takings[line["taking"]].answered_at = line["at"]
                case "refused":
                    self.refused.update(line["recipients"])

    def _took(self, line: dict) -> None:
        key = line.get("id") or line["report"]
        taking = self._takings[line["taking"]] = Taking(line["at"], tuple(line["to"]), key)
        self.by_key[key].append(taking)
        self.fresh_keys.add(key)
        if "n" in line:
            self.letters[line["n"], line["attempt"]].update(line["to"])
        else:
            for n, attempt, *rest in line["about"]:
                told = Told(n, attempt, *rest)
                self.told[n, attempt].add(told)
                self.fresh_told.append((key, told))


class Queue:
    """The queue's folder. `messages` is what is there now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Queued] = {}
        self.messages: dict[str, Queued] = {}
        self.by_try: dict[Try, list[Queued]] = {}
        self.told: dict[Try, set[Told]] = {}

    def look(self) -> Iterator[str]:
        """Read it; yields what is wrong with it."""
        self.messages, self.by_try, self.told = {}, defaultdict(list), defaultdict(set)
        for path in (self._folder / "messages").glob("*"):
            try:
                message = self._known.get(path.name) or _read_queued(path)
            except (Damaged, ValueError) as damage:
                yield f"{path}: {damage}"
                continue
            message.states = _read_states(self._folder / "states" / path.name)
            self._known[path.name] = self.messages[path.name] = message
            if isinstance(message.copy, Letter):
                self.by_try[message.copy.number, message.copy.attempt].append(message)
            else:
                for one in message.copy.about:
                    self.told[one.number, one.attempt].add(one)
        for path in (self._folder / "damaged").glob("*"):
            yield f"{path.name} was set aside as damaged"


class Drop:
    """The drop folder. `tries` are the messages in it now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Try] = {}
        self.tries: set[Try] = set()

    def look(self) -> Iterator[str]:
        """Read it; yields what is wrong with it."""
        paths = [path for path in self._folder.glob("*") if path.is_file() and not path.name.startswith("tmp.")]
        for path in paths:
            if path.name not in self._known:
                self._known[path.name] = number_of(path.read_bytes())
        self.tries = {self._known[path.name] for path in paths}
        for path in (self._folder / "set-aside").glob("*"):
            yield f"{path.name} of the drop folder was set aside"


def temporary_files(maildirs: Path, state: Path) -> set[tuple[Path, int]]:
    """What was being written, and when it was last changed: a report is made again under the same name."""
    found = set()
    for path in (*maildirs.glob("*/*/tmp/*"), *(state / "queue" / "tmp").glob("*")):
        with contextlib.suppress(FileNotFoundError):
            found.add((path, path.stat().st_mtime_ns))
    return found


def _read_queued(path: Path) -> Queued:
    head, end, content = path.read_bytes().partition(b"\n\n")
    if not end or not head.startswith(b"mailserver-queue "):
        raise Damaged("it does not begin like a queue file")
    recipients = tuple(json.loads(line)["recipient"] for line in head.split(b"\n")[2:])
    return Queued(path.name, recipients, read_copy(content))


def _read_states(path: Path) -> tuple[dict, ...]:
    if not path.exists():
        return ()
    return tuple(json.loads(path.read_bytes())["recipients"])
