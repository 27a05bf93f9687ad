"""What a disk may hold after a power cut at any point of a log.

docs/decisions/0005-what-a-power-cut-may-do.md as code. A state is a mapping from path to content, None for a folder.
Counted on: a sync of a file keeps its content, a sync of a folder its names, a rename is one step, and the names of one
file change in order. All else is tried: names dropped or kept, content lost, cut, or full of zeros.
"""

from pathlib import Path
from random import Random

FOLDER = None
# How content that was not synced is found.
KEPT, LOST, CUT, ZEROS = "kept", "lost", "cut", "zeros"
DATA = (KEPT, LOST, CUT, ZEROS)
RANDOM_STATES = 6


class _File:
    """What it holds now, and what of that is surely on disk."""

    def __init__(self, octets, is_safe):
        self.now = octets
        self.safe = octets if is_safe else b""
        self.is_broken = False

    def wrote(self, octets):
        self.now = octets

    def synced(self):
        if not self.is_broken:
            self.safe = self.now

    def found(self, how):
        if self.now == self.safe or how == KEPT:
            # A page whose write failed may be read once more from memory, and never after a power cut.
            return self.safe if self.is_broken else self.now
        if how == LOST:
            return self.safe
        if how == CUT:
            return self.now[: (len(self.safe) + len(self.now)) // 2]
        return self.safe + bytes(max(0, len(self.now) - len(self.safe)))


class _Change:
    """Names that change together: path -> file, FOLDER, or "" for removed. Certain once `folder` is synced."""

    def __init__(self, names, folder, file):
        self.names = names
        self.folder = folder
        self.file = file
        self.is_certain = False


class Disk:
    """What is on disk while a log is replayed. `tree` is what was there before, all of it safe."""

    def __init__(self, tree, *, file_sync_keeps_its_name=False):
        self.base = {path: FOLDER if octets is FOLDER else _File(octets, True) for path, octets in tree.items()}
        self.names = dict(self.base)
        self.files = {}
        self.changes = []
        self.file_sync_keeps_its_name = file_sync_keeps_its_name

    def replay(self, step):
        match step.kind:
            case "made":
                self.files[step.file] = file = _File(b"", False)
                self._change({step.path: file}, step.path, file)
            case "wrote":
                self.files[step.file].wrote(step.octets)
            case "synced":
                self.files[step.file].synced()
                if self.file_sync_keeps_its_name:
                    self._certain([one for one in self.changes if one.file is self.files[step.file]])
            case "sync failed":
                self.files[step.file].is_broken = True
            case "moved":
                file = self.names[step.path]
                self._change({step.path: "", step.target: file}, step.target, file)
            case "removed":
                self._change({step.path: ""}, step.path, self.names[step.path])
            case "folder made":
                self._change({step.path: FOLDER}, step.path, step.path)
            case "folder synced":
                self._certain([one for one in self.changes if one.folder == step.path])

    def _change(self, names, path, file):
        self.names |= names
        for gone in [name for name, what in names.items() if what == ""]:
            del self.names[gone]
        self.changes.append(_Change(names, path.rpartition("/")[0], file))

    def _certain(self, changes):
        """These are on disk, with all that happened to the same files before; then what cannot matter any more goes."""
        for change in changes:
            change.is_certain = True
        later = set()
        for change in reversed(self.changes):
            change.is_certain = change.is_certain or any(change.file is one for one in later)
            if change.is_certain:
                later.add(change.file)
        settled, kept = set(), []
        for change in reversed(self.changes):
            if change.is_certain:
                settled |= change.names.keys()
            if change.is_certain or not settled.issuperset(change.names):
                kept.append(change)
        self.changes = kept[::-1]
        while self.changes and self.changes[0].is_certain:
            self.base = _with(self.base, self.changes.pop(0))

    # --- states -------------------------------------------------------------------------------------------------------

    def choices(self, random):
        """Which changes of names are kept: sets of positions, each possible by the order of each file's names."""
        maybe = [at for at, change in enumerate(self.changes) if not change.is_certain]
        yield self._possible(maybe)
        yield self._possible([])
        for at in maybe:
            yield self._possible([one for one in maybe if one < at])
            yield self._possible([one for one in maybe if one != at])
            yield self._possible([at])
        if len(maybe) > 2:
            for _ in range(RANDOM_STATES):
                yield self._possible([one for one in maybe if random.random() < 0.5])

    def worst(self):
        """Only what is certain."""
        names = self.base
        for at in sorted(self._possible([])):
            names = _with(names, self.changes[at])
        return _found(_reachable(names), lambda: LOST)

    def _possible(self, kept):
        """Without a change of a file's names none of its later ones."""
        kept = set(kept)
        stuck = set()
        chosen = set()
        for at, change in enumerate(self.changes):
            if change.is_certain or (at in kept and change.file not in stuck):
                chosen.add(at)
            else:
                stuck.add(change.file)
        return frozenset(chosen)

    def states(self, random):
        """Every state that is tried at this point."""
        for chosen in dict.fromkeys(self.choices(random)):
            names = self.base
            for at in sorted(chosen):
                names = _with(names, self.changes[at])
            names = _reachable(names)
            for how in DATA:
                yield _found(names, lambda how=how: how)
            yield _found(names, lambda: random.choice(DATA))


def _with(names, change):
    names = names | change.names
    for gone in [name for name, what in change.names.items() if what == ""]:
        del names[gone]
    return names


def _reachable(names):
    """A folder whose own name is lost takes all below with it."""
    found = {}
    for path in sorted(names):
        parent = path.rpartition("/")[0]
        if not parent or found.get(parent, "") is FOLDER:
            found[path] = names[path]
    return found


def _found(names, how):
    return {path: FOLDER if file is FOLDER else file.found(how()) for path, file in names.items()}


def crash_points(tree, log, *, seed=1, **about):
    """For each point of the log: its number, the step before it, what was told by then, and the states, each once."""
    disk, told, seen, random = Disk(tree, **about), [], set(), Random(seed)
    for number in range(len(log) + 1):
        if number:
            step = log[number - 1]
            if step.kind == "told":
                told.append(step.about)
            disk.replay(step)
        else:
            step = "the beginning"
        new = []
        for state in disk.states(random):
            key = (len(told), frozenset(_without_temporaries(state)))
            if key not in seen:
                seen.add(key)
                new.append(state)
        yield number, step, list(told), new


def _without_temporaries(state):
    """What is in `tmp/` goes at start whatever it holds."""
    for path, octets in state.items():
        yield path, b"" if "/tmp/" in path and octets is not FOLDER else octets


# --- real folders -----------------------------------------------------------------------------------------------------


def taken(root):
    """What a folder holds."""
    return {
        str(path.relative_to(root)): FOLDER if path.is_dir() else path.read_bytes() for path in sorted(root.rglob("*"))
    }


def put_down(state, root):
    """A folder that holds `state`."""
    root.mkdir()
    for path, octets in sorted(state.items()):
        if octets is FOLDER:
            Path(root, path).mkdir()
        else:
            Path(root, path).write_bytes(octets)
