"""The signatures of one message, checked while it comes: DKIM (RFC 6376 6) and ARC (RFC 8617 5.2).

Three steps, so that neither memory nor anybody's time depends on what a stranger sends: the header section tells which
keys are needed and which hashes of the body; the body passes by in pieces; and once the keys are there, `results` does
the arithmetic, at most a few milliseconds, in whatever thread it is called.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mailserver.mail.dns import CannotTell, TextAnswer
from mailserver.mail.headers import HeaderField, fields, fields_named
from mailserver.policy.dkim.arc import ARC_FIELDS, ArcChain, read_chain
from mailserver.policy.dkim.canonical import BodyHash
from mailserver.policy.dkim.key_record import KeyFault, VerifyingKey, find_key
from mailserver.policy.dkim.result import NO_ARC, ArcResult, DkimResult, DkimVerdict, SignatureResults
from mailserver.policy.dkim.signature import Signature, SignedFields, judged, read_signature

# Of one message; who signs more often than that wants us to work.
MAX_SIGNATURES = 5
# A header with more lines is taken apart by nobody; usual ones have a hundred or two.
MAX_HEADER_LINES = 3000
# Results that are told of one message; further signatures change nothing.
_MAX_TOLD = 20

Answers = Mapping[str, TextAnswer]


@dataclass(frozen=True, slots=True)
class _Wrong:
    verdict: DkimVerdict
    reason: str
    is_testing: bool = False


def is_signed(section: bytes) -> bool:
    """Whether a header section may hold anything to check. Quick."""
    lowered = section.lower()
    return b"dkim-signature" in lowered or b"arc-seal" in lowered or b"arc-message-signature" in lowered


class SignatureCheck:
    """One message. `key_names` are the TXT records that `results` wants the answers for."""

    def __init__(self, section: bytes, now: float, *, is_whole_header: bool = True) -> None:
        """`section` is the header section with CRLF line ends; nothing in it is checked unless `is_whole_header`."""
        self._arc: ArcChain | ArcResult = NO_ARC
        if is_whole_header and section.count(b"\n") <= MAX_HEADER_LINES:
            found = list(fields(section))
            self._fields = SignedFields(found)
            self._dkim = _read_all((one for one in found if one.name == b"dkim-signature"), now)
            self._arc = read_chain(one for one in found if one.name in ARC_FIELDS)
        else:
            self._fields = SignedFields(())
            self._dkim = [
                judged(one.result, DkimVerdict.POLICY, "the header is too long") if isinstance(one, Signature) else one
                for one in _read_all(fields_named(section, b"dkim-signature"), now)
            ]
        signatures = [one for one in self._dkim if isinstance(one, Signature)]
        names = [one.key_name for one in signatures]
        if isinstance(self._arc, ArcChain):
            signatures.append(self._arc.message_signature)
            names += self._arc.key_names
        self.key_names = tuple(dict.fromkeys(names))
        self._bodies = {
            form: BodyHash(form, {one.limit for one in signatures if one.body_form is form and one.limit is not None})
            for form in {one.body_form for one in signatures}
        }

    def body(self, piece: bytes) -> None:
        """The next octets of the body, CRLF line ends, cut anywhere."""
        for one in self._bodies.values():
            one.update(piece)

    def results(self, answers: Answers) -> SignatureResults:
        """What all signatures come to, when the body is at its end. Blocks for up to some milliseconds."""
        for body in self._bodies.values():
            body.finish()
        dkim = tuple(self._dkim_result(one, answers) if isinstance(one, Signature) else one for one in self._dkim)
        return SignatureResults(dkim, self._arc_result(answers))

    def _dkim_result(self, one: Signature, answers: Answers) -> DkimResult:
        wrong = self._wrong(one, answers, self._fields.chosen(one.names))
        if wrong.verdict is DkimVerdict.PASS and self._fields.count(b"from") > one.names.count(b"from"):
            # Which of several a reader is shown nobody knows (8.15).
            return judged(one.result, DkimVerdict.POLICY, "a From field is not signed")
        if wrong.is_testing and wrong.verdict is DkimVerdict.FAIL:
            return judged(one.result, DkimVerdict.NEUTRAL, wrong.reason, is_testing=True)
        return judged(one.result, wrong.verdict, wrong.reason, is_testing=wrong.is_testing)

    def _wrong(self, one: Signature, answers: Answers, covered: Iterable[bytes]) -> _Wrong:
        """The verdict on a signature over these fields, and on the body."""
        key = _key(one, answers)
        if isinstance(key, KeyFault):
            return _Wrong(key.verdict, key.reason)
        if one.is_for_subdomain and key.is_strict:
            return _Wrong(DkimVerdict.PERMERROR, "i= is a subdomain, which the key does not allow")
        fault, verdict = "", DkimVerdict.FAIL
        body = self._bodies.get(one.body_form)
        if body is not None and body.digest(one.limit) != one.body_hash:
            fault = "the body is not what was signed"
        elif not key.fits(one.signature, one.header_digest(covered)):
            fault = "the header is not what was signed"
        elif body is not None and one.limit is not None and one.limit < body.octets:
            # 8.2: whatever stands behind the signed part may come from anybody.
            fault, verdict = "only the beginning of the body is signed (l=)", DkimVerdict.POLICY
        elif body is not None and one.limit is not None and one.limit > body.octets:
            fault, verdict = "more is signed than there is (l=)", DkimVerdict.PERMERROR
        if fault:
            return _Wrong(verdict, fault, key.is_testing)
        return _Wrong(DkimVerdict.PASS, "", key.is_testing)

    def _arc_result(self, answers: Answers) -> ArcResult:
        chain = self._arc
        if isinstance(chain, ArcResult):
            return chain
        newest = self._wrong(chain.message_signature, answers, self._fields.chosen(chain.message_signature.names))

        def fault(seal: Signature, covered: Iterable[bytes]) -> str:
            key = _key(seal, answers)
            if isinstance(key, KeyFault):
                return key.reason
            return "" if key.fits(seal.signature, seal.header_digest(covered)) else "it does not fit"

        return chain.result(fault, newest.reason)


def _read_all(found: Iterable[HeaderField], now: float) -> list[Signature | DkimResult]:
    read: list[Signature | DkimResult] = []
    for one in found:
        if len(read) >= _MAX_TOLD:
            break
        signature = read_signature(one, now)
        if isinstance(signature, Signature) and len(read) >= MAX_SIGNATURES:
            signature = judged(
                signature.result, DkimVerdict.POLICY, f"only the first {MAX_SIGNATURES} signatures are checked"
            )
        read.append(signature)
    return read


def _key(one: Signature, answers: Answers) -> VerifyingKey | KeyFault:
    return find_key(answers.get(one.key_name, CannotTell("it was not asked for")), one.algorithm)
