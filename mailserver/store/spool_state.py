"""The state file of a queued message, as octets: how far each recipient is. Pure: no disk, no clock.

**State file** (`queue/states/<id>`), replaced as attempts happen; one JSON object:

    {"version": 1, "id": "1KQ...", "recipients": [{"state": "waiting", "attempts": 2, "next_attempt": ..., ...}, ...]}

with one element for each recipient line of the message file, in its order. A key that is missing has its default; a key
that its version does not know is damage, because a writer that adds one raises the version. Version 2 knows `held_by`,
`held_reason`, `held_since` and `held_s` besides; a state that needs none of them is still written as version 1, so that
an older release goes on with it. `docs/queue-format.md` describes it for people.

A higher version than ours is `NewerFormat`, never touched; anything else that cannot be read is `Damaged`.
"""

import json
from dataclasses import dataclass, replace
from enum import Enum

from mailserver.mail.ids import QueueId
from mailserver.mail.outcome import Stage
from mailserver.mail.reply import Reply
from mailserver.store.spool_json import (
    Damaged,
    NewerFormat,
    read_count,
    read_flag,
    read_object,
    read_text,
    read_time,
)

STATE_VERSION = 2
MAX_STATE_OCTETS = 32 * 1024 * 1024
# What we keep of another server's words: enough for every honest reply, little enough for a hostile one.
MAX_REPLY_LINES = 32
MAX_REPLY_CHARS = 2000

_STATE_KEYS = frozenset(("version", "id", "recipients"))

# What lists show for a recipient that waits until it is released.
HELD = "held"


class RecipientState(Enum):
    """Where one recipient stands. All but WAITING are final."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class RecipientProgress:
    """What has happened to one recipient so far. Times are seconds since the epoch, 0.0 for never.

    `reason` is our own sentence about the last attempt; `reply` the other side's words, bounded. `report` is the queue
    id of the DSN that is due about this recipient's end, set together with the final state, and `is_reported` tells
    that this DSN is on disk (or that none is due); so a crash in between makes up for it, once.

    `held_by` not empty: the operator or a rule holds it, since `held_since` and for `held_reason`. `held_s` are the
    seconds it was held before; they count neither for expiry nor for the delay notice.
    """

    state: RecipientState = RecipientState.WAITING
    attempts: int = 0
    next_attempt: float = 0.0
    last_attempt: float = 0.0
    first_deferred: float = 0.0
    is_delay_told: bool = False
    reason: str = ""
    stage: Stage | None = None
    enhanced: str = ""
    reply: Reply | None = None
    host: str = ""
    report: str = ""
    is_reported: bool = False
    held_by: str = ""
    held_reason: str = ""
    held_since: float = 0.0
    held_s: float = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether there is still something to deliver."""
        return self.state is RecipientState.WAITING

    @property
    def is_held(self) -> bool:
        """Whether it waits until somebody releases it."""
        return self.is_waiting and bool(self.held_by)

    @property
    def may_be_tried(self) -> bool:
        """Whether it waits for its next attempt."""
        return self.is_waiting and not self.held_by

    @property
    def shown_state(self) -> str:
        """The word for it in lists: that of `state`, or `held`."""
        return HELD if self.is_held else self.state.value

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do: a final state, and its report, if one was due, is on disk."""
        return not self.is_waiting and (self.is_reported or not self.report)


_DEFAULTS = RecipientProgress()
_KEYS_OF_2 = frozenset(("held_by", "held_reason", "held_since", "held_s"))
# The keys of each version of the state file.
_KEYS = {1: frozenset(RecipientProgress.__slots__) - _KEYS_OF_2, 2: frozenset(RecipientProgress.__slots__)}

Progress = tuple[RecipientProgress, ...]


def encode_state(queue_id: QueueId, progress: Progress) -> bytes:
    """A whole state file, in the oldest version that can say it."""
    recipients = [_encoded(one) for one in progress]
    version = 1 if all(_KEYS_OF_2.isdisjoint(one) for one in recipients) else 2
    return json.dumps({"version": version, "id": queue_id, "recipients": recipients}).encode("ascii")


def decode_state(octets: bytes, queue_id: QueueId, recipients: int) -> Progress:
    """Read a state file back for a message with this id and number of recipients.

    Raises `Damaged` (also when it belongs to another message) or `NewerFormat`.
    """
    if len(octets) > MAX_STATE_OCTETS:
        raise Damaged("the state is too long")
    about = read_object(octets, _STATE_KEYS, "state", are_others_allowed=True)
    version = read_count(about, "version")
    if version > STATE_VERSION:
        raise NewerFormat(version, STATE_VERSION)
    if version < 1 or len(about) > 3:
        raise Damaged("the state has unknown parts")
    if about.get("id") != queue_id:
        raise Damaged("the state belongs to another message")
    items = about.get("recipients")
    if not isinstance(items, list) or len(items) != recipients:
        raise Damaged("the state is about another number of recipients")
    return tuple(_progress(item, _KEYS[version]) for item in items)


def bounded_reply(reply: Reply | None) -> Reply | None:
    """The same reply with at most 32 lines and 2,000 characters; a hostile next hop must not fill our disk."""
    if reply is None or (len(reply.lines) <= MAX_REPLY_LINES and sum(map(len, reply.lines)) <= MAX_REPLY_CHARS):
        return reply
    lines: list[str] = []
    room = MAX_REPLY_CHARS
    for line in reply.lines[:MAX_REPLY_LINES]:
        lines.append(line[:room])
        room -= len(line)
        if room <= 0:
            break
    return replace(reply, lines=tuple(lines))


def _encoded(one: RecipientProgress) -> dict[str, object]:
    """Only what differs from the defaults: most recipients are waiting or delivered and have little to tell."""
    out: dict[str, object] = {"state": one.state.value}
    for name in RecipientProgress.__slots__:
        value = getattr(one, name)
        if name == "state" or value == getattr(_DEFAULTS, name):
            continue
        if isinstance(value, Reply):
            value = [value.code, value.enhanced, list(value.lines)]
        elif isinstance(value, Stage):
            value = value.value
        out[name] = value
    return out


def _progress(item: object, keys: frozenset[str]) -> RecipientProgress:
    if not isinstance(item, dict) or not keys.issuperset(item):
        raise Damaged("a recipient's state has unknown parts")
    try:
        return RecipientProgress(
            state=RecipientState(item.get("state")),
            attempts=read_count(item, "attempts", 0),
            next_attempt=read_time(item, "next_attempt", 0.0),
            last_attempt=read_time(item, "last_attempt", 0.0),
            first_deferred=read_time(item, "first_deferred", 0.0),
            is_delay_told=read_flag(item, "is_delay_told"),
            reason=read_text(item, "reason", ""),
            stage=None if item.get("stage") is None else Stage(item["stage"]),
            enhanced=read_text(item, "enhanced", ""),
            reply=_reply(item.get("reply")),
            host=read_text(item, "host", ""),
            report=read_text(item, "report", ""),
            is_reported=read_flag(item, "is_reported"),
            held_by=read_text(item, "held_by", ""),
            held_reason=read_text(item, "held_reason", ""),
            held_since=read_time(item, "held_since", 0.0),
            held_s=read_time(item, "held_s", 0.0),
        )
    except ValueError as fault:
        raise Damaged(f"a recipient's state holds an unknown word ({type(fault).__name__})") from fault


def _reply(item: object) -> Reply | None:
    if item is None:
        return None
    match item:
        case [int() as code, str() as enhanced, list() as lines] if all(isinstance(line, str) for line in lines):
            return Reply(code, enhanced, tuple(lines))
    raise Damaged("a reply is not one")
