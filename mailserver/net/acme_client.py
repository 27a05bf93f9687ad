"""An ACME client (RFC 8555): one order from the account to the chain. Blocking; runs in a worker thread; no Twisted.

The protocol itself is the `acme` library's. What is ours: which challenge, how long we wait, what every refusal means
in plain words. The library is slow to import, so whoever imports this module does it when there is something to do.
"""

import datetime
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any

import requests
from acme import challenges, crypto_util, errors, messages
from acme.client import ClientNetwork, ClientV2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC
from urllib3.exceptions import HTTPError

from mailserver.mail.reply import printable
from mailserver.net.acme_challenges import ChallengeTrouble, Proof, Showing
from mailserver.net.acme_values import AcmeTrouble, Authority, Obtained
from mailserver.policy.acme_remedies import code_of, remedy
from mailserver.store.certificates import Unusable, check_obtained

# For each single answer of the authority.
_ANSWER_S = 30
# A chain has some thousand octets.
_MOST_OCTETS, _BLOCK_OCTETS = 1 << 20, 16 << 10
# For all validations of an order together, and for the certificate after that.
VALIDATION_S = 300.0
_ISSUING_S = 120.0
# Between two questions whether a name has been validated; the authority may ask for more.
_POLL_S = 1.0
_MOST_POLL_S = 30.0
# An authority may find a nonce too old at any time (RFC 8555 6.5); the library asks twice.
_NONCE_ROUNDS = 5
_MOST_WORDS = 500


class _Network(ClientNetwork):
    """The library's, with more patience for nonces, and with the last Retry-After in mind."""

    def __init__(self, key: JWK, authority: Authority) -> None:
        super().__init__(
            key, alg=ES256, user_agent=f"mailserver/{version('mailserver')}", timeout=_ANSWER_S
        )  # fmt: skip
        if authority.ca_file is not None:
            # The library hands this to `requests`, where a path is as good as true.
            self.verify_ssl = str(authority.ca_file)  # type: ignore[assignment]
        self.retry_after: str | None = None
        # Nothing is unpacked: what is read is bounded by what is sent.
        self.session.headers["Accept-Encoding"] = "identity"
        self.session.hooks["response"].append(self._note)

    def _note(self, response: requests.Response, *args: object, **kwargs: object) -> None:
        del args, kwargs
        self.retry_after = response.headers.get("Retry-After")
        _read(response)

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """As the library has it (Any is the library's)."""
        for _ in range(_NONCE_ROUNDS - 1):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*args, **kwargs)


def _read(response: requests.Response) -> None:
    """Read the body within bounds of size and time; `requests` knows neither, and its timeout is one for each octet.

    Raises what else reading an answer raises, and `errors.ClientError` for too much.
    """
    end, octets, is_whole = time.monotonic() + _ANSWER_S, bytearray(), False
    try:
        while block := response.raw.read1(_BLOCK_OCTETS):
            octets += block
            if len(octets) > _MOST_OCTETS:
                raise errors.ClientError("its answer is too long")
            if time.monotonic() > end:
                raise errors.ClientError("its answer takes too long")
        is_whole = True
    except HTTPError as error:
        raise requests.exceptions.ConnectionError(error) from error
    finally:
        if not is_whole:
            response.close()
    # There is no public way to say that the content was read.
    response._content, response._content_consumed = bytes(octets), True


class AcmeClient:
    """Asks one authority. `wait` sleeps for seconds; what it raises ends the order, and everything is cleaned up."""

    def __init__(
        self,
        authority: Authority,
        account_key_pem: bytes,
        *,
        wait: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._authority = authority
        key = JWKEC(key=load_pem_private_key(account_key_pem, None))
        self._network = _Network(key, authority)
        self._key = key
        self._wait = wait
        self._now = now

    def obtain(self, names: tuple[str, ...], key_pem: bytes, showing: Showing) -> Obtained:
        """Order a certificate for these names and this key. Raises `AcmeTrouble`, and what `wait` raises."""
        try:
            client = self._client()
            self._account(client)
            csr = crypto_util.make_csr(key_pem, list(names))
            order = client.new_order(csr, self._authority.profile or None)
            left = self._prove(client, order, names, showing)
            deadline = datetime.datetime.now() + datetime.timedelta(seconds=_ISSUING_S)
            chain_pem = client.finalize_order(order, deadline).fullchain_pem.encode("ascii", "replace")
            return Obtained(chain_pem, check_obtained(key_pem, chain_pem, names, self._now()), tuple(left))
        except Unusable as fault:
            raise AcmeTrouble(f"the authority sent a certificate that cannot be used: {fault}", remedy("")) from None
        except ChallengeTrouble as trouble:
            raise AcmeTrouble(str(trouble), trouble.remedy) from None
        except _TROUBLES as error:
            raise self._trouble(error) from error

    def suggested_renewal(self, pem: bytes) -> float | None:
        """When the authority would renew this certificate (RFC 9773), in seconds since the epoch; None: no opinion.

        Never raises for the authority's sake: its advice is not needed.
        """
        try:
            moment, _ = self._client().renewal_time(pem)
        except _ADVICE_TROUBLES:
            return None
        # A moment before the epoch is long past, and all that matters of it.
        return None if moment is None else max(1.0, moment.timestamp())

    # --- the steps ----------------------------------------------------------------------------------------------------

    def _client(self) -> ClientV2:
        return ClientV2(ClientV2.get_directory(self._authority.directory, self._network), self._network)

    def _account(self, client: ClientV2) -> None:
        """The account of our key, made when there is none: an authority may have lost it (RFC 8555 7.3.1)."""
        contact = self._authority.contact
        binding = None
        if self._authority.eab is not None:
            key_id, secret = self._authority.eab
            try:
                binding = messages.ExternalAccountBinding.from_data(
                    self._key.public_key(), key_id, secret, client.directory
                )
            except (ValueError, JoseError):
                raise AcmeTrouble("the HMAC key in acme.eab_key_file is not base64url", "copy it once more") from None
        wanted = messages.NewRegistration.from_data(
            email=contact or None, terms_of_service_agreed=True, external_account_binding=binding
        )
        try:
            client.new_account(wanted)
        except errors.ConflictError as known:
            account = messages.RegistrationResource(body=messages.Registration(), uri=known.location)
            found = client.query_registration(account)
            contacts = (f"mailto:{contact}",) if contact else ()
            if found.body.contact != contacts:
                client.update_registration(found, messages.Registration.from_data(contact=contacts))

    def _prove(
        self, client: ClientV2, order: messages.OrderResource, names: tuple[str, ...], showing: Showing
    ) -> list[str]:
        """Show what is asked for, let the authority look, take it away. The answer: what could not be removed."""
        _check_asked([one.body.identifier.value for one in order.authorizations], names)
        open_ones = [one for one in order.authorizations if one.body.status is not messages.STATUS_VALID]
        chosen = [(one, self._challenge(one, showing.kind)) for one in open_ones]
        proofs = [self._proof(one, challenge) for one, challenge in chosen]
        left: list[str] = []
        try:
            if proofs:
                showing.show(proofs, self._wait)
            for _, challenge in chosen:
                client.answer_challenge(challenge, challenge.response(self._key))
            self._look(client, open_ones, showing.kind)
        finally:
            left += showing.take_away(proofs)
        return left

    @staticmethod
    def _challenge(one: messages.AuthorizationResource, kind: str) -> messages.ChallengeBody:
        for challenge in one.body.challenges:
            if challenge.typ == kind:
                return challenge
        offered = _line(", ".join(_type_of(challenge) for challenge in one.body.challenges)) or "none"
        name = one.body.identifier.value
        raise AcmeTrouble(
            f"the authority does not take {kind} for {name}; it offers {offered}", "choose another acme.challenge"
        )

    def _proof(self, one: messages.AuthorizationResource, challenge: messages.ChallengeBody) -> Proof:
        answer = challenge.chall.key_authorization(self._key)
        record = challenges.DNS01(token=challenge.chall.token).validation(self._key)
        return Proof(one.body.identifier.value.lower(), challenge.chall.encode("token"), answer, record)

    def _look(self, client: ClientV2, waiting: Sequence[messages.AuthorizationResource], kind: str) -> None:
        """Wait until the authority has made up its mind about every name."""
        end = time.monotonic() + VALIDATION_S
        failed: list[messages.AuthorizationResource] = []
        for one in waiting:
            while True:
                state, response = client.poll(one)
                if state.body.status is not messages.STATUS_PENDING:
                    break
                if time.monotonic() > end:
                    name = one.body.identifier.value
                    raise AcmeTrouble(f"the authority did not look at {name} within {VALIDATION_S:g} s", remedy(""))
                asked = self._seconds(response.headers.get("Retry-After")) or 0.0
                self._wait(min(max(asked, _POLL_S), _MOST_POLL_S))
            if state.body.status is not messages.STATUS_VALID:
                failed.append(state)
        if failed:
            raise _validation_trouble(failed, kind)

    # --- what went wrong ----------------------------------------------------------------------------------------------

    def _trouble(self, error: Exception) -> AcmeTrouble:
        """Every way in which an authority can disappoint, in plain words."""
        if isinstance(error, errors.IssuanceError):
            error = error.error
        if isinstance(error, messages.Error):
            code = code_of(error.typ)
            # What it is about may stand one level below (RFC 8555 6.7.1).
            about = error.subproblems[0] if error.subproblems else error
            name = _line(about.identifier.value) if about.identifier is not None else ""
            return AcmeTrouble(
                f"the authority refused: {_words(error)}",
                remedy(code if code != "compound" else code_of(about.typ), name=name),
                wait_s=self._seconds(self._network.retry_after),
                is_limited=code == "rateLimited",
                names=tuple(
                    one.identifier.value for one in (error, *(error.subproblems or ())) if one.identifier is not None
                ),
            )
        host = self._authority.directory.split("/")[2]
        if isinstance(error, requests.exceptions.SSLError):
            return AcmeTrouble(
                f"the TLS certificate of {host} is not trusted: {_shortened(error)}",
                "look at the clock of this machine, at acme.directory, and at acme.ca_file",
            )
        if isinstance(error, requests.exceptions.Timeout):
            return AcmeTrouble(f"{host} did not answer within {_ANSWER_S} s", _REACH.format(host=host))
        if isinstance(error, requests.exceptions.ConnectionError):
            return AcmeTrouble(f"{host} cannot be reached: {_shortened(error)}", _REACH.format(host=host))
        if isinstance(error, errors.TimeoutError):
            return AcmeTrouble(f"the authority did not issue within {_ISSUING_S:g} s", remedy(""))
        if isinstance(error, errors.ClientError) and error.args and isinstance(error.args[0], requests.Response):
            response = error.args[0]
            return AcmeTrouble(
                f"{host} answered with HTTP status {response.status_code} and no reason",
                _DIRECTORY if response.status_code in (404, 405, 410) else remedy(""),
                wait_s=self._seconds(self._network.retry_after),
                is_limited=response.status_code == 429,
            )
        return AcmeTrouble(f"{host} does not answer as an ACME server does: {_shortened(error)}", _DIRECTORY)

    def _seconds(self, retry_after: str | None) -> float | None:
        """A Retry-After (RFC 9110 10.2.3), a number or a date, as seconds from now."""
        if not retry_after:
            return None
        if retry_after.isascii() and retry_after.isdigit():
            return float(retry_after[:9])
        try:
            return max(0.0, parsedate_to_datetime(retry_after).timestamp() - self._now())
        except (ValueError, OverflowError):
            return None


# KeyError: a directory without one of its addresses. ValueError: JSON that is none.
_TROUBLES = (
    errors.Error,
    requests.exceptions.RequestException,
    JoseError,
    KeyError,
    ValueError,
)
# What the library runs into when the advice has another shape, or the certificate no authority key identifier.
_ADVICE_TROUBLES = (*_TROUBLES, TypeError, AttributeError, OverflowError, x509.ExtensionNotFound)
_DIRECTORY = "look at acme.directory: it must be the address of the authority's directory, as its documents name it"
_STRANGE = "nothing was shown to it: look at acme.directory, and ask the authority"
_REACH = "this machine must be able to open https://{host}: look at its way out and its DNS"


def _type_of(challenge: messages.ChallengeBody) -> str:
    """Also of a kind that the library does not know, which has no `typ` there."""
    return str(challenge.chall.to_partial_json().get("type", "a kind without a name"))


def _check_asked(asked: Sequence[str], names: tuple[str, ...]) -> None:
    """Only what was ordered, or a domain above it, may have to be proven (RFC 8555 7.1.3), and each once.

    The names become arguments of a hook that changes a zone: one that is made up, or has a line end in it, must not.
    """
    ordered = [name.removeprefix("*.") for name in names]
    for one in asked:
        if not one or not any(f".{name}".endswith(f".{one.lower()}") for name in ordered):
            raise AcmeTrouble(f"the authority wants a proof for {_line(one)!r}, which was not ordered", _STRANGE)
    if len(asked) > len(names):
        raise AcmeTrouble(f"the authority wants {len(asked)} proofs for {len(names)} names", _STRANGE)


def _validation_trouble(failed: Sequence[messages.AuthorizationResource], kind: str) -> AcmeTrouble:
    reasons, remedies, is_limited = [], [], False
    for one in failed:
        name = _line(one.body.identifier.value)
        problem = next((challenge.error for challenge in one.body.challenges if challenge.error is not None), None)
        code = "" if problem is None else code_of(problem.typ)
        reasons.append(f"{name}: {'it gave no reason' if problem is None else _words(problem)}")
        remedies.append(remedy(code, kind, name))
        is_limited = is_limited or code == "rateLimited"
    reason = f"the authority could not see that these names are ours: {'; '.join(reasons)}"
    names = tuple(one.body.identifier.value for one in failed)
    return AcmeTrouble(reason, "; ".join(dict.fromkeys(remedies)), is_limited=is_limited, names=names)


def _words(problem: messages.Error) -> str:
    """The authority's own words, on one line, and for each name when it says more about some."""
    words = problem.detail or problem.title or problem.description or "without a reason"
    parts = [f"{words} ({code_of(problem.typ)})"]
    parts += [
        f"{'' if one.identifier is None else one.identifier.value + ': '}{one.detail or code_of(one.typ)}"
        for one in problem.subproblems or ()
    ]
    return _line("; ".join(parts))


def _shortened(error: Exception) -> str:
    """The innermost reason of nested exceptions, without their wrapping."""
    inner: object = error
    for _ in range(8):
        arguments = getattr(inner, "args", ())
        reason = getattr(inner, "reason", None) or (arguments[0] if arguments else None)
        if not isinstance(reason, Exception):
            break
        inner = reason
    return _line(str(inner) or type(inner).__name__)


def _line(text: str) -> str:
    return printable(" ".join(text.split()))[:_MOST_WORDS]
