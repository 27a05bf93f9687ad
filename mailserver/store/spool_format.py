"""The message file of a queued message, as octets, and the names of all its files. Pure: no disk, no clock.

**Message file** (`queue/messages/<id>`), written once, never changed; a pager shows it:

    mailserver-queue 1
    {"id": "1KQ...", "received_at": 1750000000.25, "sender": "tony@outside.example", "ret": null, ...}
    {"recipient": "alice@example.net", "notify": [], "orcpt": null}
    {"recipient": "bob@example.net", "notify": ["FAILURE"], "orcpt": ["rfc822", "bob@example.org"]}

    Received: from ...
    (the content as it came, CRLF line ends, to the end of the file)

The first part is ASCII with LF line ends. Each of its lines but the first is one JSON object, so any field may hold any
text (the attack is a line break hidden in xtext, hazards section 2); the first empty line ends it. Addresses are
`local-part@domain` with the local-part unquoted: what follows the last `@` is the domain. A null reverse-path is null.

Version 2 knows `disowned` besides, version 3 `require_tls`, version 4 `junk`; a message that needs none of them is
still written as version 1, so that an older release goes on with it. A key that its version does not know is damage,
because a writer that adds one raises the version.

The state file beside it is in `spool_state`; `docs/queue-format.md` describes both for people.

A higher version than ours is `NewerFormat`, never touched; anything else that cannot be read is `Damaged`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Body, Envelope, Notify, OriginalRecipient, Recipient, Ret
from mailserver.mail.ids import QueueId, is_queue_id
from mailserver.ports import LocalCopy, StorageTrouble
from mailserver.store.spool_json import (
    Damaged,
    NewerFormat,
    read_count,
    read_flag,
    read_maybe_text,
    read_object,
    read_text,
    read_time,
)

FORMAT_VERSION = 4
MAX_HEAD_OCTETS = 16 * 1024 * 1024

_MAGIC = b"mailserver-queue "
_HEAD_END = b"\n\n"
_ENVELOPE_KEYS_1 = frozenset(("id", "received_at", "sender", "ret", "envid", "body", "smtputf8", "size", "source"))
# Version 2 of the message file knows `disowned`, version 3 `require_tls` besides, version 4 `junk`.
_ENVELOPE_KEYS_2 = _ENVELOPE_KEYS_1 | {"disowned"}
_ENVELOPE_KEYS_3 = _ENVELOPE_KEYS_2 | {"require_tls"}
_ENVELOPE_KEYS = {
    1: _ENVELOPE_KEYS_1,
    2: _ENVELOPE_KEYS_2,
    3: _ENVELOPE_KEYS_3,
    4: _ENVELOPE_KEYS_3 | {"junk"},
}
_RECIPIENT_KEYS = frozenset(("recipient", "notify", "orcpt"))


# --- names ------------------------------------------------------------------------------------------------------------


class SpoolPaths:
    """`<state>/queue/{tmp,messages,states,transcripts,damaged}`; names are queue ids, so none holds a peer's octets.

    Flat folders: a group of messages then costs one directory fsync (sub-folders by hash would cost one each), and ext4
    and xfs index large directories, so 100,000 names in one are no burden.
    """

    __slots__ = ("_messages", "_states", "_tmp", "damaged", "folder", "messages", "states", "tmp", "transcripts")

    def __init__(self, state: Path) -> None:
        self.folder = state / "queue"
        self.tmp = self.folder / "tmp"
        self.messages = self.folder / "messages"
        self.states = self.folder / "states"
        self.damaged = self.folder / "damaged"
        self.transcripts = self.folder / "transcripts"
        # Joining text is ten times as fast as joining paths; these are on the way of every message.
        self._tmp, self._messages, self._states = f"{self.tmp}/", f"{self.messages}/", f"{self.states}/"

    def temporary(self, queue_id: QueueId) -> Path:
        """Where a message is written before it is renamed to `message`; same file system. Swept at start."""
        return Path(self._tmp + queue_id)

    def temporary_state(self, queue_id: QueueId) -> Path:
        """Where a state is written before it is renamed to `state`."""
        return Path(f"{self._tmp}{queue_id}.state")

    def message(self, queue_id: QueueId) -> Path:
        """The message file: once it is here and the folder synced, the message is ours."""
        return Path(self._messages + queue_id)

    def state(self, queue_id: QueueId) -> Path:
        """The state file; there is none until something has happened to a recipient."""
        return Path(self._states + queue_id)

    def transcript(self, queue_id: QueueId) -> Path:
        """What was said in the last sessions; only where transcripts are kept."""
        return self.transcripts / queue_id

    def temporary_transcript(self, queue_id: QueueId) -> Path:
        """Where a transcript is written before it is renamed to `transcript`."""
        return Path(f"{self._tmp}{queue_id}.transcript")

    def message_name(self, queue_id: QueueId) -> str:
        """The message file as text, for who only opens or removes it."""
        return self._messages + queue_id

    def state_name(self, queue_id: QueueId) -> str:
        """The state file as text."""
        return self._states + queue_id


# --- message file -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """The first part of a message file. `length` is how many octets it takes; the content starts there."""

    queue_id: QueueId
    received_at: float
    envelope: Envelope
    source: str = ""
    length: int = 0


def encode_head(queue_id: QueueId, received_at: float, envelope: Envelope, source: str = "") -> bytes:
    """The first part of a message file; the content with CRLF line ends follows it directly.

    `source` tells who handed it in (peer, login, protocol). Raises `StorageTrouble` for more recipients than the
    format has room for, so that nothing is acknowledged which could not be read again.
    """
    reverse_path = envelope.reverse_path
    about: dict[str, object] = {
        "id": queue_id,
        "received_at": received_at,
        "sender": None if reverse_path is None else _address(reverse_path),
        "ret": None if envelope.ret is None else envelope.ret.value,
        "envid": envelope.envid,
        "body": envelope.body.value,
        "smtputf8": envelope.smtputf8,
        "size": envelope.size_octets,
        "source": source,
    }
    version = 1
    if envelope.is_disowned:
        version, about["disowned"] = 2, True
    if envelope.require_tls:
        version, about["require_tls"] = 3, True
    if envelope.is_junk:
        version, about["junk"] = 4, True
    lines = [f"mailserver-queue {version}", json.dumps(about)]
    for recipient in envelope.recipients:
        orcpt = recipient.orcpt
        lines.append(
            json.dumps(
                {
                    "recipient": _address(recipient.mailbox),
                    "notify": sorted(word.value for word in recipient.notify),
                    "orcpt": None if orcpt is None else [orcpt.address_type, orcpt.address],
                }
            )
        )
    head = ("\n".join(lines) + "\n\n").encode("ascii")
    if len(head) > MAX_HEAD_OCTETS:
        raise StorageTrouble(f"an envelope of {len(head)} octets is more than a queue file can hold")
    return head


def head_end(octets: bytes) -> int:
    """Where the content starts in `octets`, a message file's beginning; 0 when the first part is not whole yet."""
    end = octets.find(_HEAD_END)
    return 0 if end < 0 else end + len(_HEAD_END)


def decode_head(octets: bytes) -> Head:
    """Read the first part back; what follows it in `octets` is ignored. Raises `Damaged` or `NewerFormat`."""
    version = _version(octets)
    length = head_end(octets)
    if not length:
        raise Damaged("the first part does not end")
    if length > MAX_HEAD_OCTETS:
        raise Damaged("the first part is too long")
    lines = octets[: length - len(_HEAD_END)].split(b"\n")
    if len(lines) < 3:
        raise Damaged("there are no recipients")
    about = read_object(lines[1], _ENVELOPE_KEYS[version], "envelope")
    queue_id = read_text(about, "id")
    if not is_queue_id(queue_id):
        raise Damaged("the queue id is not one")
    sender = read_maybe_text(about, "sender")
    ret = read_maybe_text(about, "ret")
    try:
        envelope = Envelope(
            reverse_path=None if sender is None else _mailbox(sender),
            recipients=tuple(_recipient(line) for line in lines[2:]),
            ret=None if ret is None else Ret(ret),
            envid=read_maybe_text(about, "envid"),
            body=Body(read_text(about, "body")),
            smtputf8=read_flag(about, "smtputf8"),
            size_octets=None if about.get("size") is None else read_count(about, "size"),
            is_disowned="disowned" in about and read_flag(about, "disowned"),
            require_tls="require_tls" in about and read_flag(about, "require_tls"),
            is_junk="junk" in about and read_flag(about, "junk"),
        )
    except ValueError as fault:
        raise Damaged(f"the envelope holds an unknown word ({type(fault).__name__})") from fault
    return Head(QueueId(queue_id), read_time(about, "received_at"), envelope, read_text(about, "source"), length)


_REPORTS = (Notify.SUCCESS, Notify.FAILURE, Notify.DELAY)


def waiting_recipient(copy: LocalCopy) -> Recipient:
    """The recipient under which a local copy waits that could not be filed.

    It is the mailbox itself and not the alias that led to it, so that the other targets of the alias, which have their
    copies already, get no second one. What the sender asked for, and the address he used, stay with it; when he used
    several that lead here, the first, and whatever he asked for one of them.
    """
    first = copy.recipients[0]
    orcpt = first.orcpt or OriginalRecipient("rfc822" if first.mailbox.is_ascii else "utf-8", str(first.mailbox))
    notify = first.notify
    if len(copy.recipients) > 1:
        wanted = frozenset(what for one in copy.recipients for what in _REPORTS if one.wants(what))
        notify = wanted or frozenset((Notify.NEVER,))
    return Recipient(copy.mailbox, notify, orcpt)


def _version(octets: bytes) -> int:
    line = octets[: octets.find(b"\n")] if b"\n" in octets[:64] else b""
    number = line[len(_MAGIC) :]
    if not line.startswith(_MAGIC) or not number.isdigit() or len(number) > 9:
        raise Damaged("it does not begin like a queue file")
    if int(number) > FORMAT_VERSION:
        raise NewerFormat(int(number), FORMAT_VERSION)
    if int(number) < 1:
        raise Damaged("format 0 was never written")
    return int(number)


def _recipient(line: bytes) -> Recipient:
    about = read_object(line, _RECIPIENT_KEYS, "recipient")
    notify = about.get("notify", [])
    orcpt = about.get("orcpt")
    if not isinstance(notify, list):
        raise Damaged("notify is not a list")
    original = None
    if orcpt is not None:
        if not isinstance(orcpt, list) or len(orcpt) != 2 or not all(isinstance(part, str) for part in orcpt):
            raise Damaged("orcpt is not a pair of texts")
        original = OriginalRecipient(orcpt[0], orcpt[1])
    return Recipient(_mailbox(read_text(about, "recipient")), frozenset(Notify(word) for word in notify), original)


def _address(mailbox: Mailbox) -> str:
    return f"{mailbox.local_part}@{mailbox.domain}"


def _mailbox(text: str) -> Mailbox:
    local, at, domain = text.rpartition("@")
    if not at:
        raise Damaged("an address has no @")
    return Mailbox(local, domain)
