"""A disk that fails on request: the real one behind a list of faults."""

import errno

from mailserver.store.files import Files


class FaultyFiles(Files):
    """Fails the first call of `operation` whose path (or the file behind its descriptor) contains `part`.

    `log` lists what was done, as `(operation, path)`, for tests of the order.
    """

    def __init__(self, *faults, code=errno.EIO, times=1):
        self.faults = [[operation, part, times] for operation, part in faults]
        self.code = code
        self.log = []
        self._paths = {}

    def _step(self, operation, path):
        for fault in self.faults:
            if fault[0] == operation and fault[1] in path and fault[2]:
                fault[2] -= 1
                raise OSError(self.code, f"{operation} was told to fail", path)
        self.log.append((operation, path))

    def create(self, path):
        self._step("create", path)
        descriptor = super().create(path)
        self._paths[descriptor] = path
        return descriptor

    def duplicate(self, descriptor):
        second = super().duplicate(descriptor)
        self._paths[second] = self._paths.get(descriptor, "?")
        return second

    def write(self, descriptor, pieces):
        self._step("write", self._paths.get(descriptor, "?"))
        super().write(descriptor, pieces)

    def write_at(self, descriptor, octets, offset):
        self._step("write_at", self._paths.get(descriptor, "?"))
        super().write_at(descriptor, octets, offset)

    def sync(self, descriptor):
        self._step("sync", self._paths.get(descriptor, "?"))
        super().sync(descriptor)

    def close(self, descriptor):
        super().close(descriptor)
        self._step("close", self._paths.pop(descriptor, "?"))

    def rename(self, source, target):
        self._step("rename", target)
        super().rename(source, target)

    def sync_folder(self, path):
        self._step("sync_folder", path)
        super().sync_folder(path)

    def make_folder(self, path):
        self._step("make_folder", path)
        super().make_folder(path)
