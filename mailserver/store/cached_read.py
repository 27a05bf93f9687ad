"""Small files read without waiting for a disk, or not at all. For the reactor thread (Linux, no Twisted).

What the kernel has in memory is read in ten microseconds; a hop to another thread and back costs several times that
(docs/performance.md). openat2(2) with RESOLVE_CACHED opens only what needs no disk to be found, preadv2(2) with
RWF_NOWAIT reads only what is in memory, and O_NOATIME keeps the reading from becoming a change of the disk. Whenever
one of these says no, or the kernel does not know it, the caller reads in a thread as always.
"""

import ctypes
import errno
import os

# What is read at most.
MOST_OCTETS = 64 << 10
# The same number on every architecture but Alpha (Linux 5.6; RESOLVE_CACHED since 5.12).
_SYS_OPENAT2 = 437
_RESOLVE_CACHED = 0x20
_AT_FDCWD = -100
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOATIME", 0)
_RWF_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
# What a kernel, or a file system, answers that does not know the call or its flags.
_UNKNOWN = frozenset({errno.ENOSYS, errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP})


class _OpenHow(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _Piece(ctypes.Structure):
    """`struct iovec`."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class CachedReader:
    """`read` answers what is in memory. It gives up for good where the machine cannot tell what is. For one thread.

    The system calls are made with the interpreter held: they never wait, so nobody else could use the time.
    """

    def __init__(self) -> None:
        library = ctypes.PyDLL(None, use_errno=True)
        self.is_able = bool(_RWF_NOWAIT) and hasattr(library, "preadv2") and os.uname().machine != "alpha"
        if not self.is_able:
            return
        self._syscall, self._preadv2, self._lseek, self._close = (
            library.syscall,
            library.preadv2,
            library.lseek,
            library.close,
        )
        self._syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
        self._syscall.restype = ctypes.c_long
        self._preadv2.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_int)
        self._preadv2.restype = ctypes.c_ssize_t
        self._lseek.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int)
        self._lseek.restype = ctypes.c_int64
        self._close.argtypes = (ctypes.c_int,)
        buffer = (ctypes.c_char * MOST_OCTETS)()
        self._view = memoryview(buffer).cast("B")
        self._how = _OpenHow(_FLAGS, 0, _RESOLVE_CACHED)
        self._piece = _Piece(ctypes.addressof(buffer), MOST_OCTETS)
        self._how_at, self._piece_at = ctypes.addressof(self._how), ctypes.addressof(self._piece)

    def read(self, path: str) -> bytes | None:
        """The file's octets when they and the way to them are in memory and at most `MOST_OCTETS`; else None.

        None for what is no regular file, too: folders cannot be read, and pipes have no size.
        """
        if not self.is_able:
            return None
        descriptor = self._syscall(_SYS_OPENAT2, _AT_FDCWD, os.fsencode(path), self._how_at, ctypes.sizeof(_OpenHow))
        if descriptor < 0:
            self._note_trouble()
            return None
        try:
            octets = self._lseek(descriptor, 0, os.SEEK_END)
            if not 0 <= octets <= MOST_OCTETS:
                return None
            found = self._preadv2(descriptor, self._piece_at, 1, 0, _RWF_NOWAIT)
            if found < 0:
                self._note_trouble()
        finally:
            self._close(descriptor)
        # Less: the rest is on disk only. More: somebody writes to it.
        return self._view[:found].tobytes() if found == octets else None

    def _note_trouble(self) -> None:
        if ctypes.get_errno() in _UNKNOWN:
            self.is_able = False
