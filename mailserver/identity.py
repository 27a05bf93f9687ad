"""Who this process is, and who it will be: `--uid` and `--gid` of twistd.

twistd builds the service as root and only then becomes the user it runs as. What is made on disk before that must
belong to that user all the same: `acting_as` lends the process its effective identity for a while.
"""

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """The user and group the server is going to run as."""

    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Give a file that root made to this user; nothing happens when it is not there."""
        try:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
        except FileNotFoundError:
            return


def identity_to_be(options: Mapping[str, object]) -> Identity | None:
    """What twistd's options ask for, when root may do it; None when the process stays who it is."""
    uid, gid = options.get("uid"), options.get("gid")
    if os.geteuid() != 0 or (uid is None and gid is None):
        return None
    uid = int(str(uid)) if uid is not None else 0
    # As twistd does: the group of the user, when none is named.
    return Identity(uid, int(str(gid)) if gid is not None else pwd.getpwuid(uid).pw_gid)


@contextmanager
def acting_as(identity: Identity | None) -> Iterator[None]:
    """Be this user, with its groups, inside the `with`; root again after it. Single-threaded code only."""
    if identity is None:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    try:
        name = pwd.getpwuid(identity.uid).pw_name
    except KeyError:
        os.setgroups([identity.gid])
    else:
        os.initgroups(name, identity.gid)
    os.setegid(identity.gid)
    os.seteuid(identity.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)
