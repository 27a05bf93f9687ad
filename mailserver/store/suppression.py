"""The suppression list: recipients that other servers refused again and again because there is no such mailbox.

`<state>/suppression.json`, one JSON object, an entry a line so that a pager shows it:

    {"version": 1,
    "listed": [
    {"address": "bob@example.net", "since": 1750000000.0, "until": 1752592000.0, "by": "refusals", "reason": "...",
     "reply": [550, "5.1.1", ["no such user"]], "host": "mx.example.net[192.0.2.1]"}
    ],
    "counted": [
    {"address": "eve@example.com", "refusals": [["25X8TJJVS6600", 1750000000.0]]}
    ]}

Addresses are folded (`Mailbox.folded`). `until` 0 is without end. A newer version is `NewerFormat` and left alone.

What a crash can leave, and who cleans it up (tests/store/test_suppression.py):

1. `suppression.json.new`: a list that was not in force yet. The next save removes it first.
2. An older list: a count, or a listing by refusals, of the last second is lost. One more refusal makes up for it. What
   the operator added or removed is on disk when it is answered.
3. A damaged file: set aside as `suppression.json.damaged` and told; the list begins empty. That costs the other servers
   a few refusals more and loses no mail.

Blocking where it says so, no Twisted.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailserver.mail.address import Mailbox
from mailserver.mail.reply import Reply
from mailserver.store.files import Files
from mailserver.store.spool_json import Damaged, NewerFormat, read_count, read_object, read_text, read_time
from mailserver.store.spool_state import bounded_reply

SUPPRESSION_VERSION = 1
# How long a refusal counts.
WINDOW_S = 30 * 86400.0
BY_REFUSALS = "refusals"
# A sender of spam with a stolen login must not fill the disk: the oldest go first.
MAX_LISTED = 20_000
MAX_COUNTED = 10_000
_MAX_OCTETS = 64 * 1024 * 1024
_MAX_TEXT_CHARS = 500
_LISTED_KEYS = frozenset(("address", "since", "until", "by", "reason", "reply", "host"))
_COUNTED_KEYS = frozenset(("address", "refusals"))


@dataclass(frozen=True, slots=True)
class Listed:
    """One address to which nothing is sent. Times are seconds since the epoch; `until` 0.0 is without end.

    `reply` and `host` are the last refusal, when refusals brought it here.
    """

    address: str
    since: float
    until: float
    by: str
    reason: str = ""
    reply: Reply | None = None
    host: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """One address that was refused, and not often enough yet: the queue ids of the messages, and when."""

    address: str
    refusals: tuple[tuple[str, float], ...]


class SuppressionList:
    """In memory. `after` refusals of different messages within 30 days list an address for `for_s` seconds; 0 never."""

    def __init__(self, after: int, for_s: float) -> None:
        self._after = after
        self._for_s = for_s
        self._listed: dict[str, Listed] = {}
        self._counted: dict[str, Counted] = {}

    def entry(self, mailbox: Mailbox, now: float) -> Listed | None:
        """Why nothing is sent there now; None when it is."""
        found = self._listed.get(mailbox.folded)
        if found is not None and found.until and found.until <= now:
            del self._listed[mailbox.folded]
            return None
        return found

    def listed(self, now: float) -> list[Listed]:
        """All that are in force, oldest first."""
        return sorted((one for one in self._listed.values() if not 0 < one.until <= now), key=lambda one: one.since)

    def counted(self, now: float) -> list[Counted]:
        """All that are being counted."""
        kept = (_recent(one, now) for one in self._counted.values())
        return [one for one in kept if one.refusals]

    def refused(self, mailbox: Mailbox, queue_id: str, reply: Reply, host: str, now: float) -> Listed | None:
        """Another server said that there is no such mailbox; the entry when that was once too often."""
        if not self._after:
            return None
        key = mailbox.folded
        before = _recent(self._counted.pop(key, Counted(key, ())), now).refusals
        refusals = (*(one for one in before if one[0] != queue_id), (queue_id, now))
        if len(refusals) < self._after:
            self._counted[key] = Counted(key, refusals)
            if len(self._counted) > MAX_COUNTED:
                del self._counted[next(iter(self._counted))]
            return None
        reason = f"{len(refusals)} messages were refused for good" if len(refusals) > 1 else "a message was refused"
        return self._put(
            Listed(key, now, now + self._for_s, BY_REFUSALS, reason, bounded_reply(reply), host[:_MAX_TEXT_CHARS])
        )

    def accepted(self, mailbox: Mailbox) -> bool:
        """A server took a message for it: its count begins anew. Whether there was one."""
        return self._counted.pop(mailbox.folded, None) is not None

    def add(self, mailbox: Mailbox, by: str, reason: str, now: float, until: float = 0.0) -> Listed:
        """By hand; in place of what was there."""
        self._counted.pop(mailbox.folded, None)
        return self._put(Listed(mailbox.folded, now, until, by or "somebody", reason[:_MAX_TEXT_CHARS]))

    def remove(self, mailbox: Mailbox) -> bool:
        """Forget all about it; whether it was listed or counted."""
        was_counted = self._counted.pop(mailbox.folded, None) is not None
        return self._listed.pop(mailbox.folded, None) is not None or was_counted

    def _put(self, entry: Listed) -> Listed:
        self._listed.pop(entry.address, None)
        self._listed[entry.address] = entry
        if len(self._listed) > MAX_LISTED:
            oldest = next((one.address for one in self._listed.values() if one.by == BY_REFUSALS), entry.address)
            del self._listed[oldest]
        return entry

    # --- octets -------------------------------------------------------------------------------------------------------

    def encode(self, now: float) -> bytes:
        """The whole file; what has run out is left out."""
        listed = ",\n".join(json.dumps(_encoded(one)) for one in self.listed(now))
        counted = ",\n".join(
            json.dumps({"address": one.address, "refusals": [list(refusal) for refusal in one.refusals]})
            for one in self.counted(now)
        )
        head = f'{{"version": {SUPPRESSION_VERSION},\n"listed": [\n'
        return f'{head}{listed}\n],\n"counted": [\n{counted}\n]}}\n'.encode("ascii")

    def decode(self, octets: bytes) -> None:
        """Take up what a file says. Raises `Damaged` or `NewerFormat`; then nothing was taken up."""
        if len(octets) > _MAX_OCTETS:
            raise Damaged("the list is too long")
        about = read_object(octets, frozenset(("version", "listed", "counted")), "list", are_others_allowed=True)
        version = read_count(about, "version")
        if version > SUPPRESSION_VERSION:
            raise NewerFormat(version, SUPPRESSION_VERSION)
        if version < 1 or len(about) > 3:
            raise Damaged("the list has unknown parts")
        listed = {one.address: one for one in map(_listed, _items(about, "listed", _LISTED_KEYS))}
        counted = {one.address: one for one in map(_counted, _items(about, "counted", _COUNTED_KEYS))}
        self._listed, self._counted = listed, counted


class SuppressionFile:
    """The list on disk. Every method blocks; the caller holds the state lock for all but `read`."""

    def __init__(self, state: Path, files: Files) -> None:
        self.path = state / "suppression.json"
        self._files = files

    def read(self, into: SuppressionList) -> None:
        """What is there, nothing for no file. Raises `OSError`, `Damaged` or `NewerFormat`."""
        try:
            octets = self.path.read_bytes()
        except FileNotFoundError:
            return
        into.decode(octets)

    def set_aside(self) -> Path:
        """Move a damaged file away; where it is now. Raises `OSError`."""
        target = self.path.with_name(self.path.name + ".damaged")
        self._files.rename(str(self.path), str(target))
        return target

    def write(self, octets: bytes) -> None:
        """In force and durable when it returns. Raises `OSError`; then the old list is in force, or the new one."""
        temporary = f"{self.path}.new"
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(temporary)
        self._files.replace(str(self.path), temporary, octets)


def _recent(one: Counted, now: float) -> Counted:
    return Counted(one.address, tuple(refusal for refusal in one.refusals if now - refusal[1] < WINDOW_S))


def _encoded(one: Listed) -> dict[str, object]:
    reply = one.reply
    return {
        "address": one.address,
        "since": one.since,
        "until": one.until,
        "by": one.by,
        "reason": one.reason,
        "reply": None if reply is None else [reply.code, reply.enhanced, list(reply.lines)],
        "host": one.host,
    }


def _items(about: dict[str, object], key: str, keys: frozenset[str]) -> Iterator[dict[str, object]]:
    items = about.get(key)
    if not isinstance(items, list):
        raise Damaged(f"{key} is not a list")
    for item in items:
        if not isinstance(item, dict) or not keys.issuperset(item):
            raise Damaged(f"{key} holds something else")
        yield item


def _listed(item: dict[str, object]) -> Listed:
    reply: Reply | None = None
    match item.get("reply"):
        case None:
            pass
        case [int() as code, str() as enhanced, list() as lines] if all(isinstance(line, str) for line in lines):
            reply = Reply(code, enhanced, tuple(lines))
        case _:
            raise Damaged("a reply is not one")
    return Listed(
        read_text(item, "address"),
        read_time(item, "since"),
        read_time(item, "until"),
        read_text(item, "by"),
        read_text(item, "reason", ""),
        reply,
        read_text(item, "host", ""),
    )


def _counted(item: dict[str, object]) -> Counted:
    refusals: list[tuple[str, float]] = []
    found = item.get("refusals")
    for one in found if isinstance(found, list) else [None]:
        match one:
            case [str() as queue_id, at]:
                refusals.append((queue_id, read_time({"time": at}, "time")))
            case _:
                raise Damaged("a refusal is not one")
    return Counted(read_text(item, "address"), tuple(refusals))
