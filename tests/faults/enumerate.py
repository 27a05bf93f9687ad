"""Tries every point of a story: the power cut there, and the failure there."""

import contextlib
import errno
import shutil
from itertools import count

from tests.faults.disk import Fault, Killed, WatchedDisk
from tests.faults.power_cut import Disk, crash_points, put_down, taken
from tests.faults.server import Letter, Lost, Server, check_promises

CODES = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EMFILE, errno.EROFS)
FOREVER = 1_000_000
_numbers = count(1)


def next_root(base):
    """A name that was not used."""
    return base / f"root{next(_numbers)}"


def new_root(base):
    """An empty folder with what an installation makes."""
    root = next_root(base)
    (root / "mail").mkdir(parents=True)
    return root


def beginning(story, base):
    """What is on disk before a story, and the letters and acknowledgements of that time."""
    root = new_root(base)
    server = Server(root, ids_from=100)
    story.before(server)
    tree = taken(root)
    shutil.rmtree(root)
    return tree, server.noted


def opened(story, root, disk, **about):
    """A server that is about to go through it."""
    answer = story.answer() if story.answer.__code__.co_argcount == 0 else story.answer
    return Server(root, disk, answer=answer, **story.about, **about)


def checked(story, state, told, base, letters, *, is_strict=False):
    """Put a state down, start on it, and raise `Lost` for a broken promise; `is_strict`: nothing needs to be twice."""
    most = (1, 1) if is_strict else (story.most, story.most_sent)
    root = next_root(base)
    put_down(state, root)
    try:
        story.repair(root)
        return check_promises(root, told, letters, refused=story.refused, most=most[0], most_sent=most[1])
    finally:
        shutil.rmtree(root)


def power_cuts(story, base, make_disk=WatchedDisk):
    """Every state after a power cut at every point; how many points and states. Raises `Lost`."""
    tree, noted = beginning(story, base)
    root = next_root(base)
    put_down(tree, root)
    disk = make_disk(root)
    server = opened(story, root, disk)
    story.act(server, story.letters)
    letters = [about[1] for about in noted if about[0] == "accepted"] + list(story.letters)
    expect_all_accepted(story, disk)
    points = states = 0
    for number, step, told, found in crash_points(tree, disk.log):
        points += 1
        for state in found:
            states += 1
            try:
                checked(story, state, noted + told, base, letters)
            except Lost as loss:
                raise Lost(f"{story.name}: power cut behind step {number}, {step}: {loss}") from None
    shutil.rmtree(root)
    return points, states


def expect_all_accepted(story, disk):
    """Without a fault everything works."""
    accepted = [about[1] for about in disk.all_told() if about[0] == "accepted"]
    assert accepted == list(story.letters), f"{story.name}: only {accepted}"


def number_of_points(story, base):
    """How many calls there are that can fail."""
    tree, _ = beginning(story, base)
    root = next_root(base)
    put_down(tree, root)
    disk = WatchedDisk(root)
    server = opened(story, root, disk)
    disk.fail(None)
    story.act(server, story.letters)
    shutil.rmtree(root)
    return list(disk.points)


def failures(story, base, codes_at_a_point=5):
    """Every call fails once, and for good until the trouble is over; how many points and runs. Raises `Lost`."""
    tree, noted = beginning(story, base)
    kinds = number_of_points(story, base)
    runs = 0
    for at in range(1, len(kinds) + 1):
        for turn in range(codes_at_a_point):
            code = CODES[(at + turn) % len(CODES)]
            for times in (1, FOREVER) if turn == 0 else (1,):
                runs += 1
                try:
                    _one_failure(story, base, tree, noted, Fault(at, code, times))
                except Lost as loss:
                    how = f"{errno.errorcode[code]} {'once' if times == 1 else 'from there on'}"
                    raise Lost(f"{story.name}: {how} at call {at}, {kinds[at - 1]}: {loss}") from None
    return len(kinds), runs


def _one_failure(story, base, tree, noted, fault):
    root = next_root(base)
    put_down(tree, root)
    disk = WatchedDisk(root)
    server = opened(story, root, disk)
    disk.fail(fault)
    story.act(server, story.letters)
    is_removal = disk.points[fault.at - 1] == "unlink" if len(disk.points) >= fault.at else False
    disk.fail(None)
    server.live_on()
    if server.failures:
        raise Lost(f"an exception: {server.failures}")
    if fault.times == 1 and not is_removal and server.leftovers():
        raise Lost(f"left behind: {server.leftovers()}")
    _check_answers(server, fault)
    # The same process goes on.
    story.repair(root)
    again = [Letter(900 + number, *_places(letter)) for number, letter in enumerate(story.letters)]
    if len(server.accept(*again)) != len(again):
        raise Lost("it does not work again when the trouble is over")
    server.live_on()
    letters = [about[1] for about in noted if about[0] == "accepted"] + list(story.letters) + again
    _check_the_refused(server, story, fault, is_removal)
    told = noted + disk.all_told()
    final = Disk(tree)
    for step in disk.log:
        final.replay(step)
    shutil.rmtree(root)
    checked(story, final.worst(), told, base, letters, is_strict=fault.times == 1 and not is_removal)


def kills(story, base):
    """The process is killed at every call, another goes on, and the power fails under that one. Raises `Lost`.

    So what the first left unsynced is nothing that the second may count on.
    """
    tree, noted = beginning(story, base)
    kinds = number_of_points(story, base)
    states = 0
    for at in range(1, len(kinds) + 1):
        root = next_root(base)
        put_down(tree, root)
        disk = WatchedDisk(root)
        server = opened(story, root, disk)
        disk.fail(None)
        disk.dies_at = at
        with contextlib.suppress(Killed):
            story.act(server, story.letters)
        disk.kill()
        story.repair(root)
        server = opened(story, root, disk, ids_from=2000)
        server.live_on()
        again = [Letter(900 + number, *_places(letter)) for number, letter in enumerate(story.letters)]
        server.accept(*again)
        server.live_on()
        letters = [about[1] for about in noted if about[0] == "accepted"] + list(story.letters) + again
        final, told = Disk(tree), list(noted)
        for step in disk.log:
            final.replay(step)
            if step.kind == "told":
                told.append(step.about)
            if step is disk.log[-1] or (step.kind == "told" and step.about[0] != "sent"):
                states += 1
                try:
                    checked(story, final.worst(), told, base, letters)
                except Lost as loss:
                    raise Lost(
                        f"{story.name}: killed at call {at}, {kinds[at - 1]}; power cut behind {step}: {loss}"
                    ) from None
        shutil.rmtree(root)
    return len(kinds), states


def _places(letter):
    remote = ("again@far.example",) if letter.remote else ()
    return letter.local, remote, letter.is_large, letter.sender, letter.wants_success


def _check_answers(server, fault):
    for word, letter, *rest in server.noted:
        if word == "refused":
            wanted = "StorageFull" if fault.code in (errno.ENOSPC, errno.EDQUOT) else "StorageTrouble"
            if type(rest[0]).__name__ != wanted:
                raise Lost(f"letter {letter.number} was answered with {rest[0]!r}")


def _check_the_refused(server, story, fault, is_removal):
    """Who was told "try again" has nothing here, for he does."""
    if fault.times > 1 or is_removal:
        return
    refused = [rest[0] for word, *rest in server.noted if word == "refused"]
    for _, path, octets in server.filed():
        for letter in refused:
            if octets.endswith(letter.stored):
                raise Lost(f"letter {letter.number} was refused, and {path} is there")
    sent = [rest[1] for word, *rest in server.noted if word == "sent"]
    for letter in refused:
        if any(octets.endswith(letter.content) for octets in sent):
            raise Lost(f"letter {letter.number} was refused, and was sent")
