"""What setup would write, against what is there: new files, changed ones, and those that the owner changed.

A file that is not as setup left it is the owner's, and stays. The configuration is the exception: it is edited in
place, so that both live in it. Reads the disk; writes nothing. Blocking.
"""

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mailserver.setup.document import edited_text, new_text, read, record_text, recorded_files
from mailserver.setup.machine_files import PlannedFile
from mailserver.setup.values import Existing, Layout, Plan

_MAX_OCTETS = 1_000_000


@dataclass(frozen=True, slots=True)
class Change:
    """One file that becomes another. `before` None: it is not there yet."""

    file: PlannedFile
    before: str | None

    @property
    def diff(self) -> str:
        """As `diff -u` has it; empty when nothing changes."""
        old = (self.before or "").splitlines(keepends=True)
        new = self.file.text.splitlines(keepends=True)
        path = str(self.file.path)
        named = "/dev/null" if self.before is None else path
        lines = difflib.unified_diff(old, new, named, path)
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Changes:
    """`made` are to be written, `kept` are the owner's, `record` is setup's own note, written with the others."""

    made: tuple[Change, ...]
    kept: tuple[PlannedFile, ...]
    record: PlannedFile

    @property
    def config(self) -> Change | None:
        """That of the configuration, if it changes."""
        return next((one for one in self.made if one.file.path.name == "mailserver.toml"), None)


def existing(layout: Layout) -> Existing:
    """What stands in the configuration, and what setup noted. Raises `Unreadable` and `OSError`."""
    return read(_text(layout.config) or "", _text(layout.record) or "")


def changes(layout: Layout, plan: Plan, before: Existing, files: Iterable[PlannedFile]) -> Changes:
    """What follows from a plan. Raises `OSError` for a file that cannot be read."""
    record = _text(layout.record) or ""
    known = recorded_files(record)
    config = _config(layout, plan, before)
    made: list[Change] = []
    kept: list[PlannedFile] = []
    written = dict(known)
    for file in (config, *files):
        text = _text(file.path)
        if text == file.text:
            written[str(file.path)] = digest(text)
        elif text is None or file is config or known.get(str(file.path)) == digest(text):
            made.append(Change(file, text))
            written[str(file.path)] = digest(file.text)
        else:
            kept.append(file)
    note = record_text(plan.decided, written)
    return Changes(tuple(made), tuple(kept), PlannedFile(layout.record, note, "what setup decided, for its next run"))


def digest(text: str) -> str:
    """What tells whether a file is as setup left it."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _config(layout: Layout, plan: Plan, before: Existing) -> PlannedFile:
    text = _text(layout.config)
    whole = new_text(plan.settings) if not text else edited_text(text, before, plan.settings)
    return PlannedFile(layout.config, whole, "the configuration of the server")


def _text(path: Path) -> str | None:
    """None when it is not there."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_OCTETS).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None


def shown_diffs(found: Changes) -> Iterator[str]:
    """New files in a line each, changed ones as a diff."""
    for one in found.made:
        if one.before is None:
            yield f"new: {one.file.path}: {one.file.about}"
        else:
            yield one.diff.rstrip("\n")


def as_objects(found: Changes) -> list[Mapping[str, object]]:
    """For `--json`."""
    return [
        {"path": str(one.file.path), "about": one.file.about, "new": one.before is None, "diff": one.diff}
        for one in found.made
    ]
