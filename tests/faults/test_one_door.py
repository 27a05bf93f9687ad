"""Everything in `store` that changes a disk goes through `store.files`: only so can the tests here fail every step."""

import ast
import re
from pathlib import Path

import pytest

import mailserver.store

STORE = Path(mailserver.store.__file__).parent
DOOR = STORE / "files.py"
SOURCES = sorted(path for path in STORE.glob("**/*.py") if path != DOOR)

CHANGING_OS_CALLS = re.compile(
    "p?writev?|sendfile|copy_file_range|splice|f?truncate|posix_fallocate|f?sync|fdatasync|renames?|replace|(sym)?link|"
    "unlink|remove(dirs|xattr)?|rmdir|mkdir|makedirs|mkfifo|mknod|[fl]?ch(mod|own)|utime|setxattr|fdopen"
)
WRITING_FLAGS = frozenset(("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"))
CHANGING_PATH_CALLS = re.compile("write_(text|bytes)|unlink|mkdir|rmdir|rename|touch|l?chmod|(sym|hard)link_to")
# How the door is called where it is used; `replace` of text and of dataclasses is no change of a disk.
DOOR_NAMES = frozenset(("files", "_files", "DISK"))
CHANGING_MODULES = frozenset(("shutil", "tempfile", "mmap"))
# The reader behind `mailserver why` copies a journal that it may not open into a temporary folder of its own.
ALLOWED = frozenset((("history_file.py", "tempfile"), ("history_file.py", "shutil")))


def changes(tree, file_name=""):
    """The calls in a source that change the disk past the door, as `line: what`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = {alias.name for alias in node.names} if isinstance(node, ast.Import) else {node.module}
            for module in modules & CHANGING_MODULES:
                if (file_name, module) not in ALLOWED:
                    yield f"{node.lineno}: {module}"
            if isinstance(node, ast.ImportFrom) and node.module == "os":
                yield f"{node.lineno}: names taken out of os"
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Attribute(value=ast.Name(id="os"), attr="open"):
                flags = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
                flags |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
                if flags & WRITING_FLAGS:
                    yield f"{node.lineno}: os.open for writing"
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if CHANGING_OS_CALLS.fullmatch(name):
                yield f"{node.lineno}: os.{name}"
            case ast.Attribute(value=receiver, attr=name) if CHANGING_PATH_CALLS.fullmatch(name):
                last = receiver.attr if isinstance(receiver, ast.Attribute) else getattr(receiver, "id", "")
                if last not in DOOR_NAMES:
                    yield f"{node.lineno}: .{name}()"
            case ast.Name(id="open") | ast.Attribute(attr="open"):
                texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                if any(isinstance(text, str) and set(text) & set("wax+") and len(text) <= 3 for text in texts):
                    yield f"{node.lineno}: open for writing"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_disk_is_changed_through_the_door(path):
    assert list(changes(ast.parse(path.read_text("utf-8")), path.name)) == []


@pytest.mark.parametrize(
    "source",
    [
        "os.write(1, b'')",
        "os.fsync(descriptor)",
        "os.rename('a', 'b', src_dir_fd=3)",
        "os.open(path, os.O_RDONLY | os.O_CREAT)",
        "path.unlink(missing_ok=True)",
        "self.path.with_name('x').rename(target)",
        "Path('x').write_bytes(b'')",
        "open(path, 'wb')",
        "path.open('a')",
        "from os import fsync",
        "import shutil",
    ],
)
def test_a_change_past_the_door_is_seen(source):
    assert list(changes(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "os.open(path, os.O_RDONLY)",
        "text.replace('a', 'b')",
        "self._files.rename(a, b)",
        "files.unlink(a)",
        "os.read(3, 10)",
        "path.open('rb')",
        "os.close(3)",
    ],
)
def test_what_changes_nothing_is_no_matter(source):
    assert list(changes(ast.parse(source))) == []
