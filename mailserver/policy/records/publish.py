"""The records that follow from a server's facts. Pure.

The order is that in which somebody publishes them: so that mail comes in, so that it is taken elsewhere, and then what
makes it safer and easier to use.
"""

from collections.abc import Iterator

from mailserver.mail.address import Mailbox
from mailserver.mail.dkim_key import DkimKey
from mailserver.policy.records.values import Need, Record, Site, Topic, quoted

MX_PREFERENCE = 10
# A service with TLS from the first octet goes before the same with STARTTLS (RFC 8314 5.1, RFC 6186 3.4).
_PRIORITIES = {"submissions": 0, "submission": 10, "pop3s": 0, "pop3": 10}
_NOT_SERVED = ("imaps", "imap")
_SERVICE_WORDS = {
    "submissions": "mail programs find out by it where to send (with TLS)",
    "submission": "mail programs find out by it where to send (with STARTTLS)",
    "pop3s": "mail programs find out by it where to fetch mail (with TLS)",
    "pop3": "mail programs find out by it where to fetch mail (with STLS)",
}


def records_for(site: Site) -> tuple[Record, ...]:
    """Everything to publish, the most important first. No name has two records of the same topic but for addresses,
    keys and hashes."""
    found: list[Record] = [*_mx(site), *_addresses(site), *_reverse(site), *_spf(site), *_dkim(site), *_dmarc(site)]
    found += [*_mta_sts(site), *_tls_reports(site), *_tlsa(site), *_services(site), *_autoconfig(site), *_caa(site)]
    return tuple(dict.fromkeys(found))


def remarks_for(site: Site) -> tuple[str, ...]:
    """What the owner has to know beside the records, a plain line each."""
    found: list[str] = []
    if not site.addresses:
        found.append(
            "the public addresses of this server are not known here, so its A and AAAA records are missing below: "
            'name them in the configuration, such as [doctor] addresses = ["192.0.2.7"]'
        )
    keyed = {key.domain for key in site.dkim if not key.retired_at}
    found += [
        f"{domain} has no DKIM keys, and large receivers want its mail signed: mailserver dkim create {domain}"
        for domain in site.domains
        if domain not in keyed
    ]
    if site.smarthost and not site.spf_include:
        found.append(
            f"mail leaves through {site.smarthost}: ask its operator which SPF record to include, and name it in the "
            'configuration, such as [dns] spf_include = ["spf.isp.example"]; until then the SPF record below does not '
            "name it"
        )
    return tuple(found)


def dmarc_next_steps(domain: str) -> str:
    """How the owner of a domain goes on after `p=none`."""
    return (
        f"DMARC for {domain} begins with p=none, which only asks for reports. When these have shown for some weeks "
        "that all your mail passes, publish p=quarantine, and later p=reject"
    )


def _mx(site: Site) -> Iterator[Record]:
    for domain in site.domains:
        purpose = f"other servers find out by it where to deliver mail for {domain}"
        yield Record(domain, "MX", f"{MX_PREFERENCE} {site.hostname}.", purpose, Need.REQUIRED, Topic.MX)


def _addresses(site: Site) -> Iterator[Record]:
    has_ipv4 = any(one.version == 4 for one in site.addresses)
    for address in site.addresses:
        kind = "A" if address.version == 4 else "AAAA"
        need = Need.RECOMMENDED if has_ipv4 and address.version == 6 else Need.REQUIRED
        purpose = f"the IPv{address.version} address of this server"
        yield Record(site.hostname, kind, str(address), purpose, need, Topic.ADDRESS)


def _reverse(site: Site) -> Iterator[Record]:
    """Only who sends directly needs it: others see the smarthost."""
    if not site.sends_directly:
        return
    for address in site.senders:
        purpose = f"the name of {address}, set by its provider; without it many refuse your mail"
        value = f"{site.said_name}."
        yield Record(address.reverse_pointer, "PTR", value, purpose, Need.ASK, Topic.REVERSE)


def _spf(site: Site) -> Iterator[Record]:
    for domain in site.domains:
        purpose = f"which machines may send mail of {domain} (SPF)"
        yield Record(domain, "TXT", quoted(spf_text(site)), purpose, Need.REQUIRED, Topic.SPF)
    # A name that the provider of the address gave is not ours to publish at.
    is_ours = site.said_name == site.hostname or any(_are_related(site.said_name, one) for one in site.domains)
    if site.said_name not in site.domains and is_ours:
        purpose = "which machines may call themselves so in EHLO; it counts for bounces (SPF)"
        own = [*_own_terms(site), "-all"] if site.sends_directly else ["-all"]
        text = " ".join(("v=spf1", *own))
        yield Record(site.said_name, "TXT", quoted(text), purpose, Need.RECOMMENDED, Topic.HELO_SPF)


def spf_text(site: Site) -> str:
    """The SPF record of a domain (RFC 7208). It ends in `~all` while it cannot name who sends for us."""
    is_whole = not site.smarthost or bool(site.spf_include)
    return " ".join(("v=spf1", *spf_terms(site), "-all" if is_whole else "~all"))


def spf_terms(site: Site) -> tuple[str, ...]:
    """Who may send: our addresses, then those of others."""
    return (*_own_terms(site), *(f"include:{name}" for name in site.spf_include))


def _own_terms(site: Site) -> tuple[str, ...]:
    """Addresses cost the receiver no look-up, and stay right whatever becomes of other records."""
    return tuple(f"ip{one.version}:{one}" for one in site.senders) or (f"a:{site.hostname}",)


def _dkim(site: Site) -> Iterator[Record]:
    for domain in site.domains:
        for key in site.dkim:
            if key.domain == domain:
                yield _key(key)


def _key(key: DkimKey) -> Record:
    if key.retired_at:
        purpose, need = "a key that signs no more; mail that it signed may still be on its way", Need.RECOMMENDED
    else:
        purpose, need = f"the public key by which others check that mail is from {key.domain} (DKIM)", Need.REQUIRED
    return Record(key.name, "TXT", quoted(key.record), purpose, need, Topic.DKIM)


def _dmarc(site: Site) -> Iterator[Record]:
    for domain in site.domains:
        to = site.reports_to or Mailbox("postmaster", domain)
        text = f"v=DMARC1; p=none; rua=mailto:{_in_uri(to)}"
        purpose = "what others do with mail that only claims to be yours, and where they report (DMARC)"
        yield Record(f"_dmarc.{domain}", "TXT", quoted(text), purpose, Need.REQUIRED, Topic.DMARC)
    yield from _consents(site)


def _consents(site: Site) -> Iterator[Record]:
    """RFC 9990 4: who takes reports about another domain has to say so."""
    to = site.reports_to
    if to is None:
        return
    for domain in site.domains:
        if _are_related(domain, to.domain):
            continue
        name = f"{domain}._report._dmarc.{to.domain}"
        purpose = f"{to.domain} agrees to get the DMARC reports about {domain}"
        if not any(_are_related(one, to.domain) for one in site.domains):
            purpose = f"{purpose}; only whoever has that domain can publish it"
        yield Record(name, "TXT", quoted("v=DMARC1"), purpose, Need.RECOMMENDED, Topic.DMARC_REPORTS)


def _are_related(one: str, other: str) -> bool:
    """Whether one is the other or below it; then nobody asks."""
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")


def _mta_sts(site: Site) -> Iterator[Record]:
    for domain in site.domains:
        if domain not in site.sts_ids:
            continue
        text = f"v=STSv1; id={site.sts_ids[domain]}"
        purpose = "there is a policy that mail to you must come with TLS; the id changes with the policy (MTA-STS)"
        yield Record(f"_mta-sts.{domain}", "TXT", quoted(text), purpose, Need.RECOMMENDED, Topic.MTA_STS)
        if site.serves_policy:
            yield from _web_host(site, f"mta-sts.{domain}", "where others fetch that policy over HTTPS (MTA-STS)")


def _tls_reports(site: Site) -> Iterator[Record]:
    for domain in site.domains:
        to = site.tls_reports_to or Mailbox("postmaster", domain)
        text = f"v=TLSRPTv1; rua=mailto:{_in_uri(to)}"
        purpose = "where others report that TLS to you failed (TLSRPT)"
        yield Record(f"_smtp._tls.{domain}", "TXT", quoted(text), purpose, Need.RECOMMENDED, Topic.TLSRPT)


def _tlsa(site: Site) -> Iterator[Record]:
    for spki in site.tlsa:
        purpose = "the key of this server's certificate (DANE); leave it out unless your zone is signed with DNSSEC"
        yield Record(f"_25._tcp.{site.hostname}", "TLSA", f"3 1 1 {spki}", purpose, Need.OPTIONAL, Topic.TLSA)


def _services(site: Site) -> Iterator[Record]:
    if not site.services:
        return
    for domain in site.domains:
        for service in site.services:
            value = f"{_PRIORITIES.get(service.name, 0)} 1 {service.port} {site.hostname}."
            purpose = _SERVICE_WORDS.get(service.name, "mail programs find out by it where the server is")
            name = f"_{service.name}._tcp.{domain}"
            yield Record(name, "SRV", value, purpose, Need.RECOMMENDED, Topic.SERVICE)
        for name in _NOT_SERVED:
            purpose = "mail programs learn that there is no IMAP here, and take POP3"
            yield Record(f"_{name}._tcp.{domain}", "SRV", "0 0 0 .", purpose, Need.OPTIONAL, Topic.NO_SERVICE)


def _autoconfig(site: Site) -> Iterator[Record]:
    """Outlook looks at `autodiscover.<domain>` too, but our certificate is for the name that the SRV record tells."""
    if not site.has_autoconfig:
        return
    for domain in site.domains:
        yield from _web_host(site, f"autoconfig.{domain}", "where Thunderbird and others fetch their settings")
        purpose = "where Outlook and others fetch their settings"
        value = f"0 0 443 {site.hostname}."
        name = f"_autodiscover._tcp.{domain}"
        yield Record(name, "SRV", value, purpose, Need.OPTIONAL, Topic.SERVICE)


def _web_host(site: Site, name: str, purpose: str) -> Iterator[Record]:
    if name != site.hostname:
        yield Record(name, "CNAME", f"{site.hostname}.", purpose, Need.RECOMMENDED, Topic.WEB_HOST)


def _caa(site: Site) -> Iterator[Record]:
    """Not for a domain itself: other hosts below it may have certificates from elsewhere."""
    if site.caa_issuer and site.hostname not in site.domains:
        purpose = "only this authority may make certificates for this server (CAA)"
        yield Record(site.hostname, "CAA", f'0 issue "{site.caa_issuer}"', purpose, Need.OPTIONAL, Topic.CAA)


def _in_uri(mailbox: Mailbox) -> str:
    """A mailbox behind `mailto:` (RFC 6068 2), with what would end the URI or the tag escaped."""
    local = "".join(
        char
        if char.isascii() and (char.isalnum() or char in "._-+")
        else "".join(f"%{octet:02X}" for octet in char.encode())
        for char in mailbox.local_part
    )
    return f"{local}@{mailbox.domain}"
