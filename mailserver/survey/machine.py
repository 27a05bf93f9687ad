"""What the kernel knows of this machine: addresses, routes, ports, clock. Linux; elsewhere less is known.

Nothing is sent to anybody. Everything is read from the kernel by netlink, /proc and adjtimex(2), so that no program and
no library is needed.
"""

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from mailserver.mail.dns import IpAddress
from mailserver.survey.values import TakenPort

# Where a packet to the world would go; a connected UDP socket sends nothing. Anycast addresses of root name servers,
# which no private network uses.
_FAR = {4: ("198.41.0.4", 53), 6: ("2001:503:ba3e::2:30", 53)}
# rtnetlink(7): message types and flags, and what an address is worth nothing for (temporary, deprecated, tentative).
_RTM_GETADDR, _RTM_NEWADDR, _NLMSG_DONE, _NLMSG_ERROR = 22, 20, 3, 2
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_TEMPORARY, _IFA_F_DADFAILED, _IFA_F_DEPRECATED, _IFA_F_TENTATIVE = 0x01, 0x08, 0x20, 0x40
_NOT_STEADY = _IFA_F_TEMPORARY | _IFA_F_DADFAILED | _IFA_F_DEPRECATED | _IFA_F_TENTATIVE
_LISTENS = "0A"
# adjtimex(2) on a machine with 64 bits: the size of struct timex, where its status stands, and the bit that says no.
_TIMEX_OCTETS, _STATUS_OFFSET, _STA_UNSYNC, _TIME_ERROR = 208, 40, 0x40, 5


class LinuxMachine:
    """`survey.doors.Machine`. `proc` is where /proc is; `synchronized` the mark that systemd-timesyncd leaves."""

    def __init__(
        self, proc: Path = Path("/proc"), synchronized: Path = Path("/run/systemd/timesync/synchronized")
    ) -> None:
        self._proc = proc
        self._synchronized = synchronized

    def interface_addresses(self) -> tuple[IpAddress, ...]:
        """All addresses of interfaces but the temporary ones of IPv6, which change each day (RFC 8981)."""
        try:
            found = tuple(_addresses_by_netlink())
        except OSError:
            found = ()
        return found or tuple(one for one in map(self.source_address, (4, 6)) if one is not None)

    def source_address(self, version: int) -> IpAddress | None:
        """What the kernel would send from."""
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(_FAR[version])
                return ipaddress.ip_address(probe.getsockname()[0].partition("%")[0])
        except OSError:
            return None

    def taken_ports(self, ports: Sequence[int]) -> tuple[TakenPort, ...]:
        """By /proc/net/tcp. Whose they are can be told of our own processes, and of all by root."""
        listening = self._listening(frozenset(ports))
        if not listening:
            return ()
        owners = self._owners(frozenset(listening.values()))
        return tuple(TakenPort(port, owners.get(listening[port], "")) for port in sorted(listening))

    def is_clock_synchronized(self) -> bool | None:
        """What adjtimex(2) says; where a unit's ProtectClock= forbids it, the mark of systemd's time service."""
        answer = self._adjtimex()
        if answer is None and self._synchronized.exists():
            return True
        return answer

    def _adjtimex(self) -> bool | None:
        if ctypes.sizeof(ctypes.c_long) != 8:
            return None
        try:
            adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
        except (OSError, AttributeError):
            return None
        buffer = ctypes.create_string_buffer(_TIMEX_OCTETS)
        state = adjtimex(buffer)
        if state < 0:
            return None
        (status,) = struct.unpack_from("=i", buffer.raw, _STATUS_OFFSET)
        return state != _TIME_ERROR and not status & _STA_UNSYNC

    def _listening(self, ports: frozenset[int]) -> dict[int, str]:
        """Those of `ports` somebody listens on, with the inode of its socket. Loopback counts: it keeps us out too."""
        found: dict[int, str] = {}
        for name in ("tcp", "tcp6"):
            try:
                lines = (self._proc / "net" / name).read_text("ascii", "replace").splitlines()[1:]
            except OSError:
                continue
            for words in map(str.split, lines):
                if len(words) < 10 or words[3] != _LISTENS:
                    continue
                port = int(words[1].rpartition(":")[2], 16)
                if port in ports:
                    found.setdefault(port, words[9])
        return found

    def _owners(self, inodes: frozenset[str]) -> dict[str, str]:
        """Inode of a socket -> `exim4 (process 812)`, as far as we may look."""
        wanted = {f"socket:[{inode}]": inode for inode in inodes}
        owners: dict[str, str] = {}
        for process in self._processes():
            try:
                opened = list((process / "fd").iterdir())
            except OSError:
                continue
            for one in opened:
                inode = wanted.get(_target(one))
                if inode is not None:
                    owners.setdefault(inode, f"{_name(process)} (process {process.name})")
            if len(owners) == len(wanted):
                break
        return owners

    def _processes(self) -> list[Path]:
        try:
            return [one for one in self._proc.iterdir() if one.name.isdigit()]
        except OSError:
            return []


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "a program"


def _addresses_by_netlink() -> Iterator[IpAddress]:
    """Raises `OSError` where there is no netlink."""
    request = struct.pack("=IHHIIBxxxI", 24, _RTM_GETADDR, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0, socket.AF_UNSPEC, 0)
    with socket.socket(getattr(socket, "AF_NETLINK", -1), socket.SOCK_RAW, 0) as kernel:
        kernel.settimeout(2.0)
        kernel.send(request)
        while True:
            octets = kernel.recv(1 << 16)
            if not octets:
                return
            for kind, body in _messages(octets):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return
                if kind == _RTM_NEWADDR and (address := read_address(body)) is not None:
                    yield address


def _messages(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """The netlink messages of one packet: type and body (netlink(7))."""
    while len(octets) >= 16:
        length, kind = struct.unpack_from("=IH", octets)
        if length < 16:
            return
        yield kind, octets[16:length]
        octets = octets[(length + 3) & ~3 :]


def read_address(body: bytes) -> IpAddress | None:
    """The address of one RTM_NEWADDR body (rtnetlink(7)); None for one that is not steady, or of another family."""
    flags = body[2]
    found: dict[int, bytes] = {}
    rest = body[8:]
    while len(rest) >= 4:
        length, kind = struct.unpack_from("=HH", rest)
        if length < 4:
            break
        found[kind] = rest[4:length]
        rest = rest[(length + 3) & ~3 :]
    if len(found.get(_IFA_FLAGS, b"")) == 4:
        (flags,) = struct.unpack("=I", found[_IFA_FLAGS])
    octets = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS) or b""
    if len(octets) not in (4, 16) or (len(octets) == 16 and flags & _NOT_STEADY):
        return None
    return ipaddress.ip_address(octets)
