"""An SPF result as header fields: its part of Authentication-Results (RFC 8601 2.7.2); Received-SPF (RFC 7208 9.1)."""

from mailserver.mail.authentication_results import MethodResult
from mailserver.mail.reply import printable
from mailserver.policy.spf.evaluation import SpfQuestion
from mailserver.policy.spf.result import SpfIdentity, SpfResult, SpfVerdict

_MAX_CHARS = 255

_SAID = {
    SpfVerdict.NONE: "no SPF record for {domain}",
    SpfVerdict.NEUTRAL: "{domain} says nothing of {client}",
    SpfVerdict.PASS: "{domain} permits {client}",
    SpfVerdict.FAIL: "{domain} does not permit {client}",
    SpfVerdict.SOFTFAIL: "{domain} probably does not permit {client}",
    SpfVerdict.TEMPERROR: "the SPF record of {domain} could not be read now",
    SpfVerdict.PERMERROR: "the SPF record of {domain} has a fault",
}


def method_result(result: SpfResult, question: SpfQuestion) -> MethodResult:
    """`spf=fail (example.org does not permit 192.0.2.1) smtp.mailfrom=alice@example.org`."""
    if result.identity is SpfIdentity.HELO:
        identity = ("smtp.helo", question.domain)
    else:
        identity = ("smtp.mailfrom", _address(question) if question.local_part else question.domain)
    return MethodResult("spf", result.verdict.value, (identity,), comment=said(result, question))


def said(result: SpfResult, question: SpfQuestion) -> str:
    """The verdict in words, for people."""
    domain = result.domain or question.domain[:_MAX_CHARS] or "nobody"
    text = _SAID[result.verdict].format(domain=domain, client=question.client)
    return _plain(f"{text}: {result.problem}" if result.problem else text)


def received_spf(result: SpfResult, question: SpfQuestion) -> bytes:
    """The Received-SPF field with its CRLF; stands above our Received."""
    pairs = [
        ("receiver", question.receiver),
        ("client-ip", str(question.client)),
        # The local-part of an SMTPUTF8 message is the only thing here that may be beyond ASCII (RFC 6532).
        ("envelope-from", _address(question) if result.identity is SpfIdentity.MAIL_FROM else ""),
        ("helo", _plain(question.hello)),
        ("identity", result.identity.value),
        ("mechanism", _plain(result.mechanism)),
        ("problem", _plain(result.problem)),
    ]
    comment = said(result, question).replace("\\", "?").replace("(", "?").replace(")", "?")
    lines = [f"Received-SPF: {result.verdict.value} ({question.receiver}: {comment})"]
    lines += [f"{name}={_quoted(value)};" for name, value in pairs if value]
    text = "\r\n\t".join(lines).removesuffix(";") + "\r\n"
    return text.encode("utf-8", "replace")


def _address(question: SpfQuestion) -> str:
    return f"{question.local_part or 'postmaster'}@{question.domain}"


def _plain(text: str) -> str:
    """Printable ASCII, cut."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[: 2 * _MAX_CHARS])


def _quoted(text: str) -> str:
    return '"' + printable(text[:_MAX_CHARS]).replace("\\", "\\\\").replace('"', '\\"') + '"'
