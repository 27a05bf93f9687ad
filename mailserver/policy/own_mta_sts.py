"""Our own MTA-STS policy as others fetch it, and the id in DNS that tells them it has changed (RFC 8461 3). Pure."""

import hashlib

from mailserver.mail.mta_sts import StsMode, StsPolicy

# RFC 8461 3.1 allows 32; twenty hexadecimal digits are enough never to repeat, and short enough to compare by eye.
_ID_CHARS = 20


def policy_text(policy: StsPolicy) -> bytes:
    """The body of `/.well-known/mta-sts.txt` (RFC 8461 3.2), each line ended by CRLF.

    A policy with mode `none` names no host: it tells others to forget the one before (RFC 8461 2.5).
    """
    hosts = () if policy.mode is StsMode.NONE else policy.hosts
    lines = [
        "version: STSv1",
        f"mode: {policy.mode.value}",
        *(f"mx: {host}" for host in hosts),
        f"max_age: {policy.max_age_s}",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def policy_id(text: bytes) -> str:
    """The `id` of the record at `_mta-sts.<domain>` (RFC 8461 3.1) for a policy text: another text, another id.

    It follows from the text alone, so that it is the same after a restart and on a second server.
    """
    return hashlib.sha256(text).hexdigest()[:_ID_CHARS]
