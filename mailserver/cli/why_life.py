"""From the journal to whole lives: which messages a question is about, and everything that happened to each."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice

from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.mail.ids import is_queue_id
from mailserver.store.journal_facts import (
    address_key,
    destination_key,
    file_key,
    mailbox_key,
    message_id_key,
    peer_key,
    queue_id_key,
)
from mailserver.store.journal_read import Entry, JournalReader

# What is told of one recipient only.
_ABOUT_RECIPIENTS = ("filed", "queued", "delivered", "deferred", "bounced")
_RECIPIENT_FIELDS = ("mailbox", "recipient", "recipients")
# What is told of a destination, and so of every message that waits for it.
DESTINATION_WORDS = ("destination-down", "destination-back")
# A destination that comes and goes must not fill the page.
_MOST_CHANGES = 100
# A mailbox that gets mail each second must not make an endless search.
_MOST_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a queue id, or the mentions to look for. `kinds` says in words what was searched."""

    text: str
    kinds: tuple[str, ...]
    queue_id: str = ""
    mentions: tuple[str, ...] = ()
    address: str = ""  # the mention, when it is an address


@dataclass(frozen=True, slots=True)
class Life:
    """One message: everything told of it, in order; also what was told of its files and of its reports."""

    queue_id: str
    entries: list[Entry] = field(default_factory=list)

    def first(self, word: str) -> Entry | None:
        """The first entry of that word."""
        return next((entry for entry in self.entries if entry.word == word), None)

    def own(self, *words: str) -> Iterator[Entry]:
        """The entries of these words that bear the message's own queue id."""
        return (entry for entry in self.entries if entry.queue_id == self.queue_id and entry.word in words)


@dataclass(frozen=True, slots=True)
class Findings:
    """Messages and refused attempts, both newest first; `has_more` when the limit left some out."""

    messages: list[Life]
    attempts: list[Entry]
    has_more: bool


def question(text: str) -> Question:
    """What somebody may mean by `text`; several things at once when it could be several."""
    # A command line that is not UTF-8 brings lone surrogates.
    text = text.strip().encode("utf-8", "replace").decode("utf-8")
    if is_queue_id(text.upper()):
        return Question(text, ("queue id",), queue_id=text.upper())
    address = _ip_address(text)
    if address:
        return Question(text, ("peer",), mentions=(peer_key(address),))
    if "@" not in text:
        mentions = (message_id_key(text), file_key(text), destination_key(_canonical(text)))
        return Question(text, ("Message-ID", "file name", "destination"), mentions=mentions)
    bare = text.removeprefix("<").removesuffix(">")
    mailbox = parse_mailbox(bare)
    key = mailbox_key(mailbox) if isinstance(mailbox, Mailbox) else address_key(bare)
    return Question(text, ("address", "Message-ID"), mentions=(key, message_id_key(text)), address=key)


def _ip_address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]").removeprefix("IPv6:"))
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _canonical(destination: str) -> str:
    """A domain as the queue names it; host and port stay as they are."""
    mailbox = parse_mailbox(f"postmaster@{destination}")
    return mailbox.domain if isinstance(mailbox, Mailbox) else destination


def search(reader: JournalReader, asked: Question, since: float, limit: int) -> Findings:
    """The newest `limit` messages and as many attempts. Raises as `JournalReader` does."""
    if asked.queue_id:
        life = whole_life(reader, asked.queue_id)
        return Findings([life] if life.entries else [], [], has_more=False)
    ids: dict[str, None] = {}
    attempts: list[Entry] = []
    has_more = False
    for count, entry in enumerate(_newest_first(reader, asked.mentions, since)):
        queue_id = entry.queue_id or _of_file(reader, entry)
        if count >= _MOST_ENTRIES or (len(ids) >= limit and len(attempts) >= limit):
            has_more = True
            break
        if not queue_id:
            has_more |= len(attempts) >= limit
            attempts += [entry] if len(attempts) < limit else []
        elif queue_id not in ids:
            has_more |= len(ids) >= limit
            ids |= {queue_id: None} if len(ids) < limit else {}
    lives = [_seen_by(whole_life(reader, queue_id), asked.address) for queue_id in ids]
    return Findings(lives, attempts, has_more)


def _newest_first(reader: JournalReader, mentions: Iterable[str], since: float) -> Iterator[Entry]:
    """Each entry once."""
    last = 0
    for entry in merge(*(reader.mentioning(one, since) for one in mentions), key=lambda one: one.number, reverse=True):
        if entry.number != last:
            last = entry.number
            yield entry


def _of_file(reader: JournalReader, entry: Entry) -> str:
    """The message behind a POP3 entry, which bears only the file's name."""
    name = entry.text("file")
    filed = next((one for one in reader.mentioning(file_key(name)) if one.queue_id), None) if name else None
    return "" if filed is None else filed.queue_id


def whole_life(reader: JournalReader, queue_id: str) -> Life:
    """Everything about one message, oldest first, each entry once."""
    found = {entry.number: entry for entry in reader.of_message(queue_id)}
    for entry in list(found.values()):
        name = entry.text("file") if entry.word == "filed" else ""
        if name:
            found.update((one.number, one) for one in reader.mentioning(file_key(name)) if not one.queue_id)
    found.update((one.number, one) for one in reader.mentioning(queue_id_key(queue_id)))
    if found:
        found.update((one.number, one) for one in _of_destinations(reader, queue_id, found))
    return Life(queue_id, [found[number] for number in sorted(found)])


def _of_destinations(reader: JournalReader, queue_id: str, found: Mapping[int, Entry]) -> Iterator[Entry]:
    """When the destinations for which it waited were down and came back, from the time it was here."""
    own = [entry for entry in found.values() if entry.queue_id == queue_id]
    begin = min(found)
    end = max((entry.number for entry in own if entry.word == "removed"), default=None)
    for destination in {entry.text("destination") for entry in own if entry.word == "deferred"} - {""}:
        for entry in islice(reader.mentioning(destination_key(destination)), _MOST_CHANGES):
            if end is not None and entry.number > end:
                continue
            # It was down already when the message came, or it was not.
            if entry.number > begin or entry.word == "destination-down":
                yield entry
            if entry.number <= begin:
                break


def _seen_by(life: Life, address: str) -> Life:
    """Without what happened to other recipients, when a recipient is asked about; all of it for the sender."""
    accepted = life.first("accepted")
    is_senders = accepted is None or address_key(accepted.text("reverse_path")) == address
    # What looks like an address may have been found as a Message-ID.
    is_recipients = any(_concerns(entry, address) for entry in life.entries)
    if not address or is_senders or not is_recipients:
        return life
    files = {entry.text("file") for entry in life.entries if entry.word == "filed" and _concerns(entry, address)}
    waited_for = {one.text("destination") for one in life.entries if one.word == "deferred" and _concerns(one, address)}
    kept = []
    for entry in life.entries:
        if entry.word in ("fetched", "erased"):
            is_theirs = entry.text("file") in files
        elif entry.word in DESTINATION_WORDS:
            is_theirs = entry.text("destination") in waited_for
        else:
            is_theirs = entry.word not in _ABOUT_RECIPIENTS or _concerns(entry, address)
        if is_theirs:
            kept.append(entry)
    return Life(life.queue_id, kept)


def _concerns(entry: Entry, address: str) -> bool:
    texts = [text for name in _RECIPIENT_FIELDS for text in entry.texts(name)]
    return any(address_key(part) == address for text in texts for part in (text, *text.split(",")))
