"""`mailq`: the queue in the form that people and monitoring scripts have read since the eighties. Blocking.

For root and the user the server runs as; others have no business in other people's envelopes. `mailserver queue list`
tells more.
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from mailserver.cli.context import CliContext, Refusal
from mailserver.cli.queue_changes import open_spool, running_ids
from mailserver.cli.sendmail_settings import SYSTEM_CONFIG
from mailserver.mail.reply import printable
from mailserver.store.drop_format import is_drop_name
from mailserver.store.spool import StoredMessage, Unreadable

_HEADING = "-Queue ID-----  --Size-- ----Arrival Time---- -Sender/Recipient-------"
_EX_NOPERM = 77
_EX_CONFIG = 78


def show_queue(config: Path | None, *, is_link: bool) -> int:
    """Print it; the exit status."""
    context = CliContext(config or (SYSTEM_CONFIG if is_link else None))
    try:
        state, drop = context.config.storage.state, context.config.sendmail.drop
    except Refusal as refusal:
        return _fail(refusal.message, _EX_NOPERM if "permission denied" in refusal.message.lower() else _EX_CONFIG)
    try:
        os.listdir(state)  # noqa: PTH208 - whether it is allowed is the question
        messages = _messages(context)
    except FileNotFoundError:
        messages = []
    except PermissionError:
        return _fail("only root and the user of the server may see the queue", _EX_NOPERM)
    running = running_ids(context)
    for line in _lines(messages, running):
        sys.stdout.write(printable(line) + "\n")
    waiting = _dropped(drop)
    if waiting:
        sys.stdout.write(f"{waiting} more in {printable(str(drop))}, for the server to pick up.\n")
    return 0


def _messages(context: CliContext) -> list[StoredMessage]:
    spool = open_spool(context)
    found = []
    for item in spool.load(spool.ids(), may_set_aside=False):
        if isinstance(item, Unreadable):
            sys.stderr.write(printable(f"mailq: {item.path} cannot be read: {item.reason}") + "\n")
        else:
            found.append(item)
    return sorted(found, key=lambda message: message.received_at)


def _lines(messages: list[StoredMessage], running: frozenset[str]) -> Iterator[str]:
    if not messages:
        yield "Mail queue is empty"
        return
    yield _HEADING
    for message in messages:
        sender = message.envelope.reverse_path
        is_held = any(one.is_held for one in message.progress)
        mark = "*" if message.queue_id in running else "!" if is_held else " "
        arrival = time.strftime("%a %b %d %H:%M:%S", time.localtime(message.received_at))
        size = message.size_octets
        yield f"{message.queue_id}{mark} {size:>8} {arrival}  {'MAILER-DAEMON' if sender is None else sender}"
        for recipient, one in zip(message.envelope.recipients, message.progress, strict=True):
            if not one.is_waiting:
                continue
            words = f"held by {one.held_by}" if one.is_held else str(one.reply) if one.reply is not None else one.reason
            if words:
                yield f"({words})".rjust(78)
            yield f"{'':43}{recipient.mailbox}"
        yield ""
    total = sum(message.size_octets for message in messages)
    yield f"-- {max(1, total // 1024)} Kbytes in {len(messages)} Request{'' if len(messages) == 1 else 's'}."


def _dropped(folder: Path) -> int:
    try:
        return sum(is_drop_name(name) for name in os.listdir(folder))  # noqa: PTH208 - names are all that is needed
    except OSError:
        return 0


def _fail(text: str, status: int) -> int:
    sys.stderr.write("".join(f"mailq: {printable(line)}\n" for line in text.splitlines()))
    return status
