"""How a message stands now, recipient by recipient, and what happens next.

What is still in the queue is read from the queue's own files, a filed copy is looked for in its Maildir; only what is
over is taken from the journal.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from mailserver.cli.queue_text import moment
from mailserver.cli.why_life import Life
from mailserver.cli.why_means import of_given_up, of_waiting
from mailserver.config import Config
from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.mail.ids import QueueId
from mailserver.mail.junk import JUNK_FOLDER
from mailserver.relay.diagnosis import Explanation
from mailserver.store.files import Files
from mailserver.store.journal_read import Entry
from mailserver.store.maildir_names import parse_name, unique_of
from mailserver.store.paths import maildir_path, subfolder_path
from mailserver.store.spool import Spool, StoredMessage
from mailserver.store.spool_format import SpoolPaths
from mailserver.store.spool_state import RecipientProgress, RecipientState

_IN_JUNK = f", folder {JUNK_FOLDER}"


@dataclass(frozen=True, slots=True)
class Standing:
    """One recipient. `state` is one word for programs, `text` says it to people, `next` what happens or can be done.

    `why` is what the last failure means, as a bounce would say it.
    """

    recipient: str
    state: str
    text: str
    next: str = ""
    why: Explanation | None = None


def queued_message(config: Config, queue_id: str) -> StoredMessage | None:
    """The message as the queue has it now; None when it is not there, or cannot be read by who asks."""
    spool = Spool(SpoolPaths(config.storage.state), Files())
    found = next(spool.load((QueueId(queue_id),), may_set_aside=False), None)
    return found if isinstance(found, StoredMessage) else None


def standings(config: Config, life: Life, queued: StoredMessage | None, now: float) -> list[Standing]:
    """One for each recipient that is known, in the order in which they came up."""
    found: dict[str, Standing] = {}
    if queued is not None:
        for number, recipient in enumerate(queued.envelope.recipients):
            address = str(recipient.mailbox)
            standing = _queued(config, queued, address, queued.progress[number], now)
            found[address] = replace(standing, why=of_waiting(config, queued, number))
    for entry in life.own("filed"):
        found[entry.text("mailbox")] = _filed(config, life, entry)
    for entry in life.own("delivered"):
        found[entry.text("recipient")] = _handed_over(entry)
    for entry in life.own("bounced"):
        found[entry.text("recipient")] = replace(_given_up(life, entry), why=of_given_up(config, life, entry))
    removed = next(life.own("removed"), None)
    for entry in life.own("queued"):
        for address in entry.texts("recipients"):
            if address not in found:
                found[address] = _left(address, removed)
    return list(found.values())


def _queued(config: Config, message: StoredMessage, address: str, one: RecipientProgress, now: float) -> Standing:
    if one.state is RecipientState.DELIVERED:
        return Standing(address, "delivered", f"handed over{f' to {one.host}' if one.host else ''}")
    if not one.is_waiting:
        return Standing(address, one.state.value, f"given up: {one.reason}", "a report to the sender is being made")
    why = f": {one.reason}" if one.reason else ""
    words = f'; it said "{one.reply}"' if one.reply is not None else ""
    if one.is_held:
        reason = f": {one.held_reason}" if one.held_reason else ""
        return Standing(
            address,
            "held",
            f"held since {moment(one.held_since)} by {one.held_by}{reason}",
            f"it stays until somebody says: mailserver queue release {message.queue_id}",
        )
    when = f"at {moment(one.next_attempt)}" if one.next_attempt > now else "at once"
    domain = address.rpartition("@")[2]
    end = moment(message.received_at + one.held_s + config.relay.times_for(domain).expire_after)
    return Standing(
        address,
        "waiting",
        f"waits in the queue, tried {one.attempts} time{'' if one.attempts == 1 else 's'}{why}{words}",
        f"it is tried again {when}; if it still cannot be delivered at {end}, the sender is told"
        if one.attempts
        else f"it is tried {when}",
    )


def _filed(config: Config, life: Life, filed: Entry) -> Standing:
    mailbox, name = filed.text("mailbox"), filed.text("file")
    later = [entry for entry in life.entries if entry.text("file") == name and name]
    fetched = [entry for entry in later if entry.word == "fetched"]
    erased = next((entry for entry in later if entry.word == "erased"), None)
    by_pop3 = f"fetched by POP3 {_times(len(fetched))}, last at {moment(fetched[-1].time)}" if fetched else ""
    if erased is not None:
        text = f"deleted by POP3 at {moment(erased.time)}"
        return Standing(mailbox, "erased", f"{by_pop3}; {text}" if by_pop3 else text)
    where = _in_maildir(config, mailbox, name)
    if where == "gone":
        text = f"{by_pop3}; no longer in the mailbox" if by_pop3 else "no longer in the mailbox"
        return Standing(
            mailbox, "gone", text, "another program moved or deleted it, such as an IMAP server or a filter"
        )
    state = "fetched" if fetched else "filed"
    if where.startswith(_IN_JUNK):
        return Standing(mailbox, state, f"in the mailbox{where}", "POP3 shows the inbox only (docs/junk.md)")
    text = f"in the mailbox{where}" + (f"; {by_pop3}" if by_pop3 else "; not fetched by POP3 yet")
    return Standing(mailbox, state, text, "" if fetched else "it is there when the mailbox is next looked at")


def _in_maildir(config: Config, address: str, name: str) -> str:
    """`, unread`, `, folder Junk, seen` and so on; empty when that cannot be known, or `gone`."""
    mailbox = parse_mailbox(address)
    if not isinstance(mailbox, Mailbox) or not mailbox.domain or not name:
        return ""
    maildir = maildir_path(config.storage.maildirs, mailbox)
    try:
        for folder in ("new", "cur"):
            for entry in _names(maildir / folder):
                if unique_of(entry) == name:
                    return _flag(entry)
        junk = Path(subfolder_path(str(maildir), JUNK_FOLDER))
        for folder in ("new", "cur") if junk.is_dir() else ():
            for entry in _names(junk / folder):
                if unique_of(entry) == name:
                    return _IN_JUNK + _flag(entry)
    except OSError:
        return ""
    return "gone"


def _flag(entry: str) -> str:
    return ", seen" if "S" in parse_name(entry).flags else ", unread"


def _names(folder: Path) -> Iterable[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _handed_over(entry: Entry) -> Standing:
    reply = entry.text("reply")
    words = f'; it said "{reply}"' if reply else ""
    return Standing(
        entry.text("recipient"),
        "delivered",
        f"handed over to {entry.text('host')} at {moment(entry.time)}{words}",
        "that server answers for it from there; who looks after it finds it by its words" if reply else "",
    )


def _given_up(life: Life, entry: Entry) -> Standing:
    report = next((one for one in life.entries if one.word == "report" and one.text("about") == life.queue_id), None)
    if report is not None:
        what = f"a report went to {report.text('recipient')}: {report.queue_id}"
    else:
        dropped = next(life.own("report-dropped"), None)
        what = "no report was made" + (f": {dropped.text('reason')}" if dropped is not None else "")
    return Standing(entry.text("recipient"), "bounced", f"given up: {entry.text('reason')}", what)


def _left(address: str, removed: Entry | None) -> Standing:
    if removed is not None and removed.text("reason"):
        return Standing(address, "removed", f"taken out of the queue {removed.text('reason')}", "nobody was told")
    return Standing(address, "unknown", "no longer in the queue; the journal does not say what became of it")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
