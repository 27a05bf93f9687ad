"""What an authority's refusal means for the operator: its error code (RFC 8555 6.7) to one thing to do. Pure."""

_PORT_80 = (
    "it must reach port 80 of {name} from the internet: look at its A and AAAA records, and at the firewall or router "
    "before this machine"
)
_DNS = "look at the name server of {name}: the record must be there, and every server of the domain must tell it"
_BY_CHALLENGE = {
    ("connection", "http-01"): _PORT_80,
    ("timeout", "http-01"): _PORT_80,
    ("unauthorized", "http-01"): (
        "the answer came from elsewhere: the A and AAAA records of {name} must lead to this machine, and port 80 to "
        "listen.http or to the web server of acme.webroot"
    ),
    ("incorrectResponse", "http-01"): "another web server answers for {name}: see acme.webroot",
    ("tls", "http-01"): "the web server of {name} sends the authority on to https, and its TLS does not work",
    ("unauthorized", "dns-01"): (
        "the TXT record _acme-challenge.{name} was not seen: look at what acme.dns_hook does, or make "
        "acme.propagation_wait longer"
    ),
    ("incorrectResponse", "dns-01"): "remove old TXT records at _acme-challenge.{name}",
    ("dns", "dns-01"): _DNS,
}
_BY_CODE = {
    "dns": "{name} must have an A or AAAA record that leads to this machine",
    "unknownHost": "{name} must have an A or AAAA record that leads to this machine",
    "caa": "the CAA records of {name} allow other authorities only: add this one, or take one that they allow",
    "dnssec": "the DNSSEC signatures of {name} are broken: have its name server mended",
    "rateLimited": "wait; it was asked too often. The server tries again by itself",
    "rejectedIdentifier": "this authority does not give certificates for {name}: see acme.names",
    "unsupportedIdentifier": "this authority does not give certificates for {name}: see acme.names",
    "externalAccountRequired": "it wants an account made at its site first: set acme.eab_key_id and acme.eab_key_file",
    "userActionRequired": "its terms have changed: read them at the address it names, and do what it says",
    "invalidContact": "mend acme.contact",
    "invalidEmail": "mend acme.contact",
    "unsupportedContact": "mend acme.contact",
    "accountDoesNotExist": "remove account.pem in the folder acme of storage.state: a new account is made then",
    # Without a challenge it is about the account: closed, or not allowed to ask for these names.
    "unauthorized": (
        "if the account was closed there, remove account.pem in the folder acme of storage.state: a new one is made "
        "then"
    ),
    "badSignatureAlgorithm": "this authority does not follow RFC 8555 6.2: take another one",
    "badPublicKey": "set acme.key_type to the other kind",
    "badCSR": "look at acme.names and acme.key_type",
    "serverInternal": "the authority has trouble of its own; the server tries again by itself",
    "badNonce": "the authority has trouble of its own; the server tries again by itself",
    "invalidProfile": "acme.profile must be one of the profiles that the authority's directory names",
}
_OTHERWISE = "`mailserver certificate renew` tries again at once"


def code_of(problem_type: str) -> str:
    """`connection` of `urn:ietf:params:acme:error:connection`."""
    return problem_type.rpartition(":")[2]


def remedy(code: str, challenge: str = "", name: str = "") -> str:
    """One thing to do about an error code; `challenge` and `name` when it was about one."""
    found = _BY_CHALLENGE.get((code, challenge)) or _BY_CODE.get(code) or _OTHERWISE
    return found.format(name=name.removeprefix("*.") or "each name")
