"""Targets: everything that is read from disk, or from the control socket, and may be damaged or somebody else's.

A reader says what it read, or raises one of the exceptions that its documentation names. What it read can be shown,
and written again.
"""

import atexit
import contextlib
import json
import shutil
import sqlite3
import tempfile
from pathlib import Path

from mailserver.cli.queue_text import as_object, page, rows
from mailserver.cli.why_text import attempt_line, event_object
from mailserver.config import ConfigError, load_config
from mailserver.mail.ids import QueueId
from mailserver.net.listener_text import check_listener
from mailserver.ports import StorageTrouble
from mailserver.store.account_tables import AccountsError, read_tables
from mailserver.store.control_socket import decode_request, decode_response, encode_request, encode_response
from mailserver.store.drop_format import NewerDrop, decode_drop_head, encode_drop
from mailserver.store.journal_format import JournalDamaged, open_for_writing
from mailserver.store.journal_read import JournalReader
from mailserver.store.last_use import decode_uses, encode_uses
from mailserver.store.maildir_names import (
    base_of,
    build_name,
    delivery_order,
    host_part,
    parse_name,
    unique_of,
    with_flag,
)
from mailserver.store.maildrop_index import NAME as INDEX_NAME
from mailserver.store.maildrop_index import read_index
from mailserver.store.maildrop_scan import _ordered, unique_parts
from mailserver.store.spool import StoredContent, StoredMessage
from mailserver.store.spool_format import decode_head, encode_head
from mailserver.store.spool_json import Damaged, NewerFormat
from mailserver.store.spool_state import decode_state, encode_state
from mailserver.store.suppression import SuppressionList
from mailserver.store.tls_history import decode as decode_tls_history
from mailserver.store.tls_history import encode as encode_tls_history
from tests.fakes.directory import box

_ALICE = box("alice@example.org")
_QUEUE_ID = QueueId("25X8TJJVS6600")
_NOW = 1_750_000_000.0
_HEAD = (
    b'mailserver-queue 1\n{"id": "25X8TJJVS6600", "received_at": 1750000000.0, "sender": "a@b.example", "ret": null, '
    b'"envid": null, "body": "7BIT", "smtputf8": false, "size": null, "source": ""}\n'
    b'{"recipient": "c@d.example", "notify": [], "orcpt": null}\n\n'
)


class _Folder:
    """A folder of this process, made when it is first asked for."""

    def __init__(self) -> None:
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        if self._path is None:
            self._path = Path(tempfile.mkdtemp(prefix="mailserver-fuzz-"))
            atexit.register(shutil.rmtree, self._path, ignore_errors=True)
        return self._path


_FOLDER = _Folder()


def _show(message: StoredMessage) -> None:
    """As `queue list` and `queue show` do."""
    json.dumps(as_object(message, is_running=False))
    list(rows(message, _NOW, is_running=False))
    list(page(message, _NOW, "", is_running=False))


# --- the queue --------------------------------------------------------------------------------------------------------


def queue_file(octets: bytes) -> None:
    """The first part of a message file."""
    try:
        head = decode_head(octets)
    except (Damaged, NewerFormat):
        return
    again = encode_head(head.queue_id, head.received_at, head.envelope, head.source)
    assert decode_head(again).envelope == head.envelope
    progress = decode_state(
        encode_state(head.queue_id, ()).replace(
            b"[]", b"[%s]" % b",".join([b'{"state": "waiting"}'] * len(head.envelope.recipients))
        ),
        head.queue_id,
        len(head.envelope.recipients),
    )
    _show(_stored(head.queue_id, head.received_at, head.envelope, progress, head.source))


def _stored(queue_id, received_at, envelope, progress, source="") -> StoredMessage:
    return StoredMessage(queue_id, received_at, envelope, source, StoredContent(Path("x"), 0, 0), progress)


def queue_state(octets: bytes) -> None:
    """A state file of a message with one recipient, or two."""
    for recipients in (1, 2):
        try:
            progress = decode_state(octets, _QUEUE_ID, recipients)
        except (Damaged, NewerFormat):
            continue
        assert decode_state(encode_state(_QUEUE_ID, progress), _QUEUE_ID, recipients) == progress
        if recipients == 1:
            _show(_stored(_QUEUE_ID, _NOW, decode_head(_HEAD).envelope, progress))


def drop_file(octets: bytes) -> None:
    """What anybody on the machine may leave in the drop folder."""
    try:
        head = decode_drop_head(octets)
    except (Damaged, NewerDrop):
        return
    again = decode_drop_head(encode_drop(head, b""))
    assert (again.sender, again.recipients, again.ret, again.envid) == (
        head.sender,
        head.recipients,
        head.ret,
        head.envid,
    )


def lists(octets: bytes) -> None:
    """The suppression list, what is remembered of other servers' TLS, and when app passwords were used."""
    with contextlib.suppress(Damaged, NewerFormat):
        uses = decode_uses(octets)
        again_uses = decode_uses(encode_uses(uses))
        assert repr(again_uses) == repr(uses)  # a moment may be no number
    suppression = SuppressionList(3, 86400.0)
    try:
        suppression.decode(octets)
    except (Damaged, NewerFormat):
        pass
    else:
        again = SuppressionList(3, 86400.0)
        again.decode(suppression.encode(_NOW))
        assert again.listed(_NOW) == suppression.listed(_NOW)
    try:
        hosts = decode_tls_history(octets)
    except (Damaged, NewerFormat):
        return
    assert decode_tls_history(encode_tls_history(hosts)) == hosts


def control(octets: bytes) -> None:
    """A line on the control socket, either way."""
    try:
        request = decode_request(octets)
    except ValueError:
        pass
    else:
        assert decode_request(encode_request(request)) == request
    try:
        response = decode_response(octets)
    except ValueError:
        return
    encode_response(response)


# --- the journal ------------------------------------------------------------------------------------------------------


class _Journal:
    """One row that is written over by each input, and a reader."""

    def __init__(self) -> None:
        path = _FOLDER.path / "journal.sqlite3"
        self._writer = open_for_writing(path)
        self._writer.execute("PRAGMA synchronous = OFF")
        self._writer.execute("INSERT INTO event VALUES (1, 0.0, ?, '', '{}')", (_QUEUE_ID,))
        self._writer.execute("INSERT INTO mention VALUES ('history-lost:', 1)")
        self._reader = JournalReader(path)

    def put(self, time: object, word: str, fields: object) -> None:
        self._writer.execute("UPDATE event SET time = ?, word = ?, fields = ?", (time, word, fields))

    def read(self) -> None:
        for entry in self._reader.of_message(_QUEUE_ID):
            json.dumps(event_object(entry, _QUEUE_ID))
            attempt_line(entry)
        self._reader.losses()


_WORDS = (
    "accepted", "filed", "queued", "refused", "looked-up", "tried", "talked", "delivered", "deferred", "bounced",
    "destination-down", "destination-back", "set-aside", "report", "report-dropped", "expanded", "removed", "ordered",
    "held", "released", "suppressed", "unsuppressed", "trouble", "damaged", "fetched", "erased", "login-refused",
    "disconnected", "thinned", "history-lost", "something-new",
)  # fmt: skip
_journal: list[_Journal] = []


def journal(octets: bytes) -> None:
    """One octet for the word, one for the kind of damage; then the row's JSON."""
    if not _journal:
        _journal.append(_Journal())
    steering, fields = octets[:2].ljust(2, b"\0"), octets[2:]
    time: object = fields.decode("latin-1") if steering[1] & 1 else _NOW
    stored: object = fields if steering[1] & 2 else fields.decode("utf-8", "replace")
    try:
        _journal[0].put(time, _WORDS[steering[0] % len(_WORDS)], stored)
        _journal[0].read()
    except (JournalDamaged, sqlite3.IntegrityError):
        pass


# --- what people write ------------------------------------------------------------------------------------------------


def config(octets: bytes) -> None:
    """`mailserver.toml`: a configuration, or errors that can be printed."""
    path = _FOLDER.path / "mailserver.toml"
    path.write_bytes(octets)
    try:
        found = load_config(path, check_listener)
    except ConfigError as error:
        assert error.errors
        for line in error.errors:
            assert line.startswith(str(path))
            assert "\n" not in line
            assert len(line) <= 2_000 + 40 * len(octets)
            line.encode("utf-8")
    else:
        assert found.hostname


def accounts(octets: bytes) -> None:
    """`accounts.toml`: tables, or errors that show no password."""
    path = Path("/etc/mailserver/accounts.toml")
    try:
        tables = read_tables(octets, path, ["example.org"], _ALICE)
    except AccountsError as error:
        assert error.errors
        for line in error.errors:
            assert "\n" not in line
            line.encode("utf-8")
        return
    for account in tables.accounts.values():
        assert tables.account(account.mailbox) is account
        list(tables.reaches(account))
    for line in tables.remarks():
        line.encode("utf-8")


# --- Maildirs ---------------------------------------------------------------------------------------------------------


def maildir_names(octets: bytes) -> None:
    """File names, one a line: any program may have made them."""
    names = [name.decode("utf-8", "surrogateescape") for name in octets.replace(b"\0", b"").split(b"\n")]
    names = [name for name in dict.fromkeys(names) if name and "/" not in name][:8]
    for name in names:
        parsed = parse_name(name)
        assert parsed.unique == unique_of(name)
        flagged = with_flag(name, "S")
        assert base_of(flagged) == base_of(name)
        assert "S" in parse_name(flagged).flags
        assert delivery_order(flagged) == delivery_order(name)
        assert unique_parts([f"new/{name}"]) == [parsed.unique]
    half = len(names) // 2
    ordered = _ordered(names[:half], names[half:])
    assert sorted(ordered) == sorted(
        [f"new/{name}" for name in names[:half]] + [f"cur/{name}" for name in names[half:]]
    )
    # Whoever writes names like ours with something else than digits in them gets some order.
    if all(name[:10].isdigit() and name[12:18].isdigit() for name in names if name[10:19:8] == ".P"):
        keys = [delivery_order(path[4:]) for path in ordered]
        assert keys == sorted(keys), "the quick way to sort gives another order"
    host = octets[:80].decode("utf-8", "surrogateescape")
    built = build_name(1_750_000_000, 42, 1234, 7, host, 100, 105)
    assert set(host_part(host)).isdisjoint("/:,\0\n")
    assert len(unique_of(built)) <= 70
    assert parse_name(built).stored_octets == 100
    assert parse_name(built).wire_octets == 105


def maildrop_index(octets: bytes) -> None:
    """`mailserver-index` in a Maildir."""
    folder = _FOLDER.path
    (folder / INDEX_NAME).write_bytes(octets)
    try:
        index = read_index(str(folder))
    except StorageTrouble:
        return
    assert all(size >= 0 for size in index.sizes.values())
    assert all(unique.isascii() and len(unique) <= 70 for unique in index.unique_ids.values())
