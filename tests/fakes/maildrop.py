"""Maildrops in memory, for sessions; they pass the contract of tests/store/test_maildrop_contract.py as Maildirs do."""

import itertools

from mailserver.ports import MaildropInUse, MessageGone

WHOLE_OCTETS = 1 << 20


def wire_size(content: bytes) -> int:
    crlf = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return len(crlf) + (2 if crlf and not crlf.endswith(b"\n") else 0)


class MemoryMaildrops:
    """`boxes`: mailbox text -> {unique-id: content}, in delivery order. `trouble` is raised by the named calls."""

    def __init__(self) -> None:
        self.boxes: dict[str, dict[str, bytes]] = {}
        self.seen: set[str] = set()
        self.in_use: set[str] = set()
        self.known_sizes: dict[str, int] = {}
        self.trouble: dict[str, Exception] = {}
        self.unremovable: set[str] = set()
        self.open_files = 0
        self._numbers = itertools.count(1)

    def add(self, mailbox: str, *contents: bytes) -> list[str]:
        names = [f"id{next(self._numbers)}" for _ in contents]
        self.boxes.setdefault(mailbox, {}).update(zip(names, contents, strict=True))
        return names

    def check(self, call: str) -> None:
        if call in self.trouble:
            raise self.trouble[call]

    async def open(self, account):
        key = str(account.mailbox)
        if key in self.in_use:
            raise MaildropInUse
        self.check("open")
        self.in_use.add(key)
        return MemoryMaildrop(self, key)


class MemoryMaildrop:
    def __init__(self, maildrops: MemoryMaildrops, key: str) -> None:
        self._maildrops = maildrops
        self._key = key
        self._box = maildrops.boxes.setdefault(key, {})
        self._names = list(self._box)
        self._is_open = True
        self.sizes = [maildrops.known_sizes.get(name, wire_size(self._box[name])) for name in self._names]

    def file_name(self, number):
        return self._names[number - 1]

    async def unique_ids(self):
        self._maildrops.check("unique_ids")
        return self._names

    def at_hand(self, number):
        """Every second message, unless reading is in trouble."""
        content = self._box.get(self._names[number - 1])
        if number % 2 or "read" in self._maildrops.trouble or content is None or len(content) > WHOLE_OCTETS:
            return None
        return content

    async def read(self, number):
        self._maildrops.check("read")
        content = self._box.get(self._names[number - 1])
        if content is None:
            raise MessageGone
        return content if len(content) <= WHOLE_OCTETS else MemoryLargeMessage(self._maildrops, content)

    async def measured(self, number, octets):
        self._maildrops.known_sizes[self._names[number - 1]] = octets

    async def update(self, deleted, retrieved):
        self.close()
        self._maildrops.check("update")
        failed = 0
        for number in deleted:
            name = self._names[number - 1]
            if name in self._maildrops.unremovable:
                failed += 1
            else:
                self._box.pop(name, None)
        self._maildrops.seen.update(self._names[n - 1] for n in retrieved if self._names[n - 1] in self._box)
        return failed

    def close(self):
        if self._is_open:
            self._is_open = False
            self._maildrops.in_use.discard(self._key)


class MemoryLargeMessage:
    def __init__(self, maildrops: MemoryMaildrops, content: bytes) -> None:
        self._maildrops = maildrops
        self._content = content
        self._at = 0
        self._is_open = True
        maildrops.open_files += 1

    async def next_piece(self):
        self._maildrops.check("next_piece")
        piece = self._content[self._at : self._at + (256 << 10)] if self._is_open else b""
        self._at += len(piece)
        return piece

    def close(self):
        if self._is_open:
            self._is_open = False
            self._maildrops.open_files -= 1
