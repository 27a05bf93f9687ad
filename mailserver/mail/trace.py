"""The trace fields of final delivery (RFC 5321 4.4): what is put before everything else in a Maildir."""

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import path_text


def local_trace(reverse_path: Mailbox | None, mailbox: Mailbox) -> bytes:
    """Return-Path and Delivered-To with CRLF line ends; Delivered-To is how a loop through a forwarder is seen."""
    return f"Return-Path: {path_text(reverse_path)}\r\nDelivered-To: {mailbox}\r\n".encode("utf-8", "replace")
