"""`mailserver sendmail`, also as `/usr/sbin/sendmail`, `mailq` and `newaliases`: mail from programs of this machine.

It writes the message into the drop folder, where the server picks it up within a second, or when it is there again. So
it needs neither the server nor any right but to enter that folder, and no Twisted. Recipients on the command line and,
with `-t`, in the header are both meant (as with Postfix).

Exit status as in sysexits.h: 0 the message is on disk, 64 called the wrong way, 65 the message or an address cannot be
used, 69 too large, 70 our fault, 71 the system's, 73 there is no drop folder, 74 reading or writing broke, 75 no room
now, 77 not allowed, 78 the configuration that was named cannot be read.
"""

import errno
import os
import pwd
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mailserver.cli.sendmail_message import MessageFault, TooLarge, completed, header_recipients, read_message
from mailserver.cli.sendmail_options import Mode, Options, UsageFault, parse_options
from mailserver.cli.sendmail_settings import ConfigFault, Settings, read_settings
from mailserver.mail.address_fields import mailbox_with_domain
from mailserver.mail.envelope import Body, Notify, OriginalRecipient
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.reply import printable
from mailserver.store.drop_format import MAX_DROP_RECIPIENTS, DropHead, DropRecipient, encode_drop
from mailserver.store.drop_write import leave_message

EX_OK = 0
EX_USAGE = 64
EX_DATAERR = 65
EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
EX_OSERR = 71
EX_CANTCREAT = 73
EX_IOERR = 74
EX_TEMPFAIL = 75
EX_NOPERM = 77
EX_CONFIG = 78

# What a link to the `mailserver` program may be called.
LINK_NAMES = frozenset(("sendmail", "mailq", "newaliases"))

_TEMPORARY = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN))
_NO_FOLDER = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))
_NOT_ALLOWED = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))

_USAGE = """\
usage: sendmail [option]... recipient...      send the message on standard input
       sendmail -t [option]... [recipient]... to whom its header names, too
       sendmail -bs                           speak SMTP on standard input and output
       sendmail -bp, mailq                    show what waits to be sent

  -i, -oi          a line with only a dot is part of the message
  -f, -r ADDRESS   the sender; <> for none
  -F NAME          the sender's name, when the message has no From
  -N never, or success,failure,delay         which reports are wanted
  -R full, or hdrs                           what reports give back
  -V ID            the envelope id that reports name
  -B 7bit, or 8bitmime
  -C, --config FILE    the server's configuration, else /etc/mailserver/mailserver.toml
  --drop FOLDER        where the message is left, else [sendmail] drop of the configuration
Other options of sendmail are accepted when they ask for nothing that is missing here. docs/sendmail.md says more.
"""


class Exit(Exception):
    """Give up with this status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def main(words: list[str], *, name: str = "sendmail", is_link: bool = True) -> int:
    """Everything: `words` are the command line behind the program's name. The exit status. Blocks."""
    try:
        return _run(words, name, is_link=is_link)
    except Exit as done:
        status, text = done.status, str(done)
    except UsageFault as fault:
        status, text = EX_USAGE, str(fault)
    except ConfigFault as fault:
        status, text = EX_CONFIG, str(fault)
    except MessageFault as fault:
        status, text = EX_DATAERR, str(fault)
    except KeyboardInterrupt:
        status, text = EX_TEMPFAIL, "interrupted; nothing was sent"
    except OSError as error:
        status, text = EX_OSERR, error.strerror or str(error)
    except Exception as error:  # noqa: BLE001 - callers read the exit status; a traceback would end up in somebody's mail
        status, text = EX_SOFTWARE, f"internal error: {type(error).__name__}: {error}"
    _complain(f"{name}: {text}")
    return status


def _run(words: list[str], name: str, *, is_link: bool) -> int:
    options = parse_options(words)
    if name == "mailq":
        options.mode = Mode.QUEUE
    elif name == "newaliases":
        options.mode = Mode.ALIASES
    match options.mode:
        case Mode.HELP:
            sys.stdout.write(_USAGE)
        case Mode.NOTHING | Mode.ALIASES:
            pass  # the server looks after its queue, and sees changed aliases, by itself
        case Mode.QUEUE:
            from mailserver.cli.sendmail_queue import show_queue

            return show_queue(options.config, is_link=is_link)
        case Mode.SMTP:
            from mailserver.cli.sendmail_smtp import speak_smtp

            settings = read_settings(options.config, options.drop, is_link=is_link)
            return speak_smtp(settings, lambda head, content: drop(settings, head, content))
        case Mode.DELIVER:
            _deliver(options, read_settings(options.config, options.drop, is_link=is_link))
    return EX_OK


def _deliver(options: Options, settings: Settings) -> None:
    if not options.recipients and not options.has_recipients_in_header:
        raise UsageFault("no recipients: name them, or use -t to take them from the header")
    content = _content(options, settings)
    recipients = list(options.recipients)
    if options.has_recipients_in_header:
        recipients += header_recipients(content)
    if not recipients:
        raise Exit(EX_DATAERR, "the header names no recipient in To, Cc or Bcc")
    if len(recipients) > MAX_DROP_RECIPIENTS:
        raise Exit(EX_UNAVAILABLE, f"more than {MAX_DROP_RECIPIENTS} recipients; send several messages")
    _check(([options.sender] if options.sender else []) + recipients)
    login, gecos = _user()
    content = completed(
        content,
        sender=options.sender or login,
        full_name=options.full_name or gecos,
        now=time.time(),
        drops_blind=options.has_recipients_in_header,
    )
    body = options.body or (Body.SEVENBIT if content.isascii() else Body.EIGHTBITMIME)
    wanted = tuple(_recipient(address, options.notify) for address in dict.fromkeys(recipients))
    drop(settings, DropHead(options.sender, wanted, options.ret, options.envid, body), content)


def _recipient(address: str, notify: frozenset[Notify]) -> DropRecipient:
    # What the sender wrote is what a report has to name (RFC 3461 5.2.1), as far as it is a whole address.
    is_whole = "@" in address and address.isascii() and address.isprintable()
    return DropRecipient(address, notify, OriginalRecipient("rfc822", address) if is_whole and notify else None)


def _content(options: Options, settings: Settings) -> bytes:
    try:
        return read_message(_read, ignores_dots=options.ignores_dots, max_octets=settings.max_octets)
    except TooLarge:
        raise Exit(EX_UNAVAILABLE, f"the message is larger than {settings.max_octets} octets") from None
    except OSError as error:
        raise Exit(EX_IOERR, f"the message cannot be read: {error.strerror}") from None


def _read(octets: int) -> bytes:
    return os.read(0, octets)


def _check(addresses: list[str]) -> None:
    for address in addresses:
        found = mailbox_with_domain(address, "bare.invalid")
        if isinstance(found, SyntaxFault):
            raise Exit(EX_DATAERR, f"{printable(address)}: {found.reason}")


def _user() -> tuple[str, str]:
    """Login and name of who calls; the server asks the file's owner and believes nothing of this."""
    uid = os.getuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return f"uid{uid}", ""
    return entry.pw_name, entry.pw_gecos.partition(",")[0].replace("&", entry.pw_name.capitalize())


def drop(settings: Settings, head: DropHead, content: bytes) -> str:
    """Leave a message for the server; its name in the drop folder. On disk when it returns. Raises `Exit`."""
    try:
        return leave_message(settings.drop, encode_drop(head, content))
    except OSError as error:
        raise Exit(*_explained(error, settings)) from None


def _explained(error: OSError, settings: Settings) -> tuple[int, str]:
    reason = (error.strerror or str(error)).lower()
    remark = f" ({settings.remark}; so the usual folder was tried)" if settings.remark else ""
    text = f"the message cannot be left in {settings.drop}: {reason}{remark}"
    if error.errno in _TEMPORARY:
        return EX_TEMPFAIL, text
    if error.errno in _NO_FOLDER:
        return EX_CANTCREAT, f"{text}. The server makes that folder when it starts; docs/sendmail.md tells how by hand"
    if error.errno in _NOT_ALLOWED:
        return EX_NOPERM, text
    return (EX_IOERR if error.errno == errno.EIO else EX_OSERR), text


def _complain(text: str) -> None:
    # Standard error may be closed, or a terminal of another encoding; the exit status counts.
    try:
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return


def link_name(program: str) -> str:
    """What the program was called as, when that is one of `LINK_NAMES`; else empty."""
    name = Path(program).name
    return name if name in LINK_NAMES else ""


Drop = Callable[[DropHead, bytes], str]
