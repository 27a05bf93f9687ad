"""Reads a DMARC aggregate report: XML of RFC 9990 appendix A, RFC 7489 appendix C, and the drafts before. Pure.

The reader takes what it knows by the names of elements, whatever their namespace and order, and passes over the rest:
reporters differ. A row whose address or count cannot be read is skipped and counted.

XML is read as it streams by. A document type, an entity, deep nesting or long texts end it: no report has them, and
they are how XML takes a reader's memory or files (billion laughs, external entities).
"""

from dataclasses import dataclass, field
from xml.parsers import expat

from mailserver.mail.fault import SyntaxFault
from mailserver.mail.reports import DmarcReport, DmarcRow, PublishedPolicy, SignatureSeen
from mailserver.policy.reports import words

MAX_ROWS = 50_000
MAX_DEPTH = 12
# Of one row.
MAX_SIGNATURES = 20
_MAX_REASONS = 5
_MAX_TEXT = 4096
_MAX_NAME = 100
# Of elements and attributes; the standards have some fifty. The parser keeps each one to the end.
_MAX_NAMES = 1000
_MAX_TAG = 256 * 1024
_PIECE = 64 * 1024
_ROOT = "feedback"
_DISPOSITIONS = ("none", "quarantine", "reject")
_MAX_PERIOD_S = 40 * 86400
# What is kept of a document, and of each record in it, by path. The rest is left out as it goes by: made-up elements
# would fill the memory, and a path of long names costs their length again for each element below it.
_OF_DOCUMENT = frozenset(
    (
        *(f"report_metadata/{name}" for name in ("org_name", "email", "report_id")),
        *(f"report_metadata/date_range/{name}" for name in ("begin", "end")),
        *(f"policy_published/{name}" for name in ("domain", "p", "sp", "np", "adkim", "aspf", "testing", "fo")),
    )
)
_OF_RECORD = frozenset(
    (
        *(f"row/{name}" for name in ("source_ip", "count")),
        *(f"row/policy_evaluated/{name}" for name in ("disposition", "dkim", "spf", "reason/type", "reason/comment")),
        *(f"identifiers/{name}" for name in ("header_from", "envelope_from")),
        *(f"auth_results/dkim/{name}" for name in ("domain", "selector", "result")),
        *(f"auth_results/spf/{name}" for name in ("domain", "result")),
    )
)


class _Refused(Exception):
    """The document is not one we read on; the text says why."""


def read_dmarc(octets: bytes) -> DmarcReport | SyntaxFault:
    """The report in an XML document. Blocks for about a second for the largest."""
    octets = octets.lstrip(b" \t\r\n")
    try:
        return _read(octets, None)
    except expat.ExpatError as error:
        if _is_utf8(octets):
            return SyntaxFault(f"it is not XML: {error}")
    except (_Refused, ValueError, LookupError) as refused:
        return SyntaxFault(str(refused))
    # Some say UTF-8, or nothing, and write Latin-1.
    try:
        return _read(octets, "iso-8859-1")
    except expat.ExpatError as error:
        return SyntaxFault(f"it is not XML: {error}")
    except (_Refused, ValueError, LookupError) as refused:
        return SyntaxFault(str(refused))


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _read(octets: bytes, encoding: str | None) -> DmarcReport | SyntaxFault:
    document = _Document()
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    parser.StartElementHandler = document.start
    parser.EndElementHandler = document.end
    parser.CharacterDataHandler = document.characters
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_entity
    parser.ExternalEntityRefHandler = _refuse_external
    for start in range(0, len(octets), _PIECE):
        parser.Parse(octets[start : start + _PIECE], False)
        # What has no end yet is kept whole: one tag with a million attributes, a comment of megabytes.
        if start - parser.CurrentByteIndex > _MAX_TAG:
            raise _Refused("one of its tags has no end")
    parser.Parse(b"", True)
    return document.report()


def _refuse_doctype(*_: object) -> None:
    raise _Refused("it has a document type, which no report has")


def _refuse_entity(*_: object) -> None:
    raise _Refused("it declares entities, which no report does")


def _refuse_external(*_: object) -> int:
    raise _Refused("it refers to something outside of itself")


@dataclass(slots=True)
class _Record:
    """One `record` while it is read: texts by path, and what may stand there several times."""

    texts: dict[str, str] = field(default_factory=dict)
    signatures: list[SignatureSeen] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


class _Document:
    """Takes the parser's calls."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._names: set[str] = set()
        self._text: list[str] = []
        self._text_chars = 0
        self._texts: dict[str, str] = {}
        self._record = _Record()
        self._rows: list[DmarcRow] = []
        self._skipped = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._names.add(name)
        self._names.update(attributes)
        local = name.rpartition(":")[2]
        if not self._path and local != _ROOT:
            raise _Refused("it is XML, and not a DMARC report")
        if len(self._path) == MAX_DEPTH:
            raise _Refused("its elements are nested deeper than those of any report")
        if len(local) > _MAX_NAME:
            raise _Refused("one of its elements has a longer name than any report has")
        if len(self._names) > _MAX_NAMES:
            raise _Refused("it has more kinds of elements than any report")
        self._path.append(local)
        self._text, self._text_chars = [], 0
        if self._path == [_ROOT, "record"]:
            self._record = _Record()

    def characters(self, text: str) -> None:
        self._text_chars += len(text)
        if self._text_chars > _MAX_TEXT:
            raise _Refused("one of its texts is too long")
        self._text.append(text)

    def end(self, _: str) -> None:
        path, text = self._path[1:], "".join(self._text).strip()
        self._path.pop()
        self._text, self._text_chars = [], 0
        if not path:
            return
        if path[0] != "record":
            if (name := "/".join(path)) in _OF_DOCUMENT:
                self._texts.setdefault(name, text)
        elif len(path) == 1:
            self._take_record()
        elif path[1:] == ["auth_results", "dkim"]:
            self._take_signature()
        elif path[1:] == ["row", "policy_evaluated", "reason"]:
            self._take_reason()
        elif (name := "/".join(path[1:])) in _OF_RECORD:
            self._record.texts.setdefault(name, text)

    # --- what may stand there several times ---------------------------------------------------------------------------

    def _take_signature(self) -> None:
        texts = self._record.texts
        found = (texts.pop(f"auth_results/dkim/{name}", "") for name in ("domain", "selector", "result"))
        domain, selector, result = found
        if len(self._record.signatures) < MAX_SIGNATURES and (domain or result):
            self._record.signatures.append(
                SignatureSeen(words.domain(domain), words.text(selector), words.text(result).lower())
            )

    def _take_reason(self) -> None:
        texts, prefix = self._record.texts, "row/policy_evaluated/reason"
        kind, comment = words.text(texts.pop(f"{prefix}/type", "")), words.text(texts.pop(f"{prefix}/comment", ""))
        if kind and len(self._record.reasons) < _MAX_REASONS:
            self._record.reasons.append(f"{kind}: {comment}" if comment else kind)

    def _take_record(self) -> None:
        if len(self._rows) == MAX_ROWS:
            raise _Refused(f"it has more than {MAX_ROWS} rows")
        row = _row(self._record)
        if row is None:
            self._skipped += 1
        else:
            self._rows.append(row)

    # --- the end ------------------------------------------------------------------------------------------------------

    def report(self) -> DmarcReport | SyntaxFault:
        """What was read, when the document is at its end."""
        texts = self._texts
        domain = words.domain(texts.get("policy_published/domain", ""))
        begin = words.moment(texts.get("report_metadata/date_range/begin", ""))
        end = words.moment(texts.get("report_metadata/date_range/end", ""))
        reporter = words.text(texts.get("report_metadata/org_name", ""))
        report_id = words.text(texts.get("report_metadata/report_id", ""))
        contact = words.text(texts.get("report_metadata/email", ""))
        if not domain:
            return SyntaxFault("it does not tell which domain it is about")
        if begin is None or end is None or not begin <= end <= begin + _MAX_PERIOD_S:
            return SyntaxFault("it does not tell which time it is about")
        if not (reporter or contact) or not report_id:
            return SyntaxFault("it does not tell who made it, or under which id")
        return DmarcReport(
            reporter or contact, contact, report_id, begin, end, self._policy(domain), tuple(self._rows), self._skipped
        )

    def _policy(self, domain: str) -> PublishedPolicy:
        def said(name: str) -> str:
            return words.text(self._texts.get(f"policy_published/{name}", "")).lower()

        return PublishedPolicy(
            domain,
            said("p") or "none",
            said("sp"),
            said("np"),
            said("adkim") or "r",
            said("aspf") or "r",
            said("testing") == "y",
            said("fo"),
        )


def _row(record: _Record) -> DmarcRow | None:
    texts = record.texts
    source = words.address(texts.get("row/source_ip", ""))
    count = words.count(texts.get("row/count", ""))
    if not source or not count:
        return None
    disposition = texts.get("row/policy_evaluated/disposition", "").lower()
    return DmarcRow(
        source,
        count,
        # `pass` says that nothing was done because the messages passed (RFC 9990).
        disposition if disposition in _DISPOSITIONS else "none",
        texts.get("row/policy_evaluated/dkim", "").lower() == "pass",
        texts.get("row/policy_evaluated/spf", "").lower() == "pass",
        words.domain(texts.get("identifiers/header_from", "")),
        words.domain(texts.get("identifiers/envelope_from", "")),
        tuple(record.signatures),
        words.domain(texts.get("auth_results/spf/domain", "")),
        words.text(texts.get("auth_results/spf/result", "")).lower(),
        tuple(record.reasons),
    )
