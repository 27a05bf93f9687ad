"""Certificates and the web: how an authority sees that the names are ours, and what we serve over HTTP(S). Pure."""

from collections.abc import Iterator

from mailserver.setup.layout import SERVICE_USER
from mailserver.setup.listening import Ports
from mailserver.setup.machine_files import challenge_folder
from mailserver.setup.values import Answers, Decision, Errand, Existing, Here, Setting
from mailserver.survey.values import Behind, Survey

# Programs that serve a folder.
WEB_SERVERS = ("nginx", "apache2", "httpd", "lighttpd", "caddy")


def certificates(survey: Survey, answers: Answers, existing: Existing, here: Here, ports: Ports) -> Decision:
    """Where the certificate comes from."""

    def none(says: str, reason: str) -> Decision:
        return Decision("certificate", says, reason, {"acme.directory": ""})

    def let_s_encrypt(how: str, reason: str, **more: Setting) -> Decision:
        settings: dict[str, Setting] = {"acme.challenge": "http-01", "acme.webroot": "", "acme.dns_hook": ""}
        settings |= {f"acme.{key}": value for key, value in more.items()}
        if not answers.has_agreed and existing.settings.get("acme.agree_terms") is not True:
            says = "the server makes a certificate of its own, which mail programs ask about"
            why = f"{reason}, but you have not agreed to the terms of service of Let's Encrypt (--agree-terms)"
            return Decision("certificate", says, why, {"acme.directory": "", **settings})
        settings = {"acme.directory": "letsencrypt", "acme.agree_terms": True, **settings}
        return Decision("certificate", f"certificates come from Let's Encrypt, {how}", reason, settings)

    if existing.settings.get("tls.certificate"):
        return none("your own certificate is used", "tls.certificate names it")
    own = existing.settings.get("acme.directory")
    if own and existing.is_owners("acme.directory"):
        kept = {
            key: value for key, value in existing.settings.items() if key in _ACME and isinstance(value, str | bool)
        }
        return Decision("certificate", f"certificates come from {own}", "it is so in your configuration", kept)
    if answers.port_offset:
        return none("the server makes a certificate of its own", "this is a lab on this machine only")
    if answers.dns_hook is not None:
        hook = str(answers.dns_hook)
        return let_s_encrypt("by a record in DNS (DNS-01)", "you named a hook", challenge="dns-01", dns_hook=hook)
    if survey.behind is Behind.CARRIER_NAT:
        reason = "nobody outside can reach port 80 of this machine (carrier NAT), and there is no hook for DNS-01"
        return none("the server makes a certificate of its own, which mail programs ask about", reason)
    if ports.is_free("http"):
        return let_s_encrypt("over port 80 (HTTP-01)", "port 80 is free")
    by = ports.holder("http")
    webroot = answers.webroot or (here.webroot if by.partition(" ")[0] in WEB_SERVERS else None)
    if webroot is not None:
        how = f"through the web server's folder {webroot} (HTTP-01)"
        return let_s_encrypt(how, f"port 80 belongs to {by}", webroot=str(webroot))
    reason = f"port 80 belongs to {by}, whose folder is not known, and there is no hook for DNS-01"
    return none("the server makes a certificate of its own, which mail programs ask about", reason)


_ACME = ("acme.directory", "acme.agree_terms", "acme.challenge", "acme.webroot", "acme.dns_hook")


def pages(survey: Survey, answers: Answers, existing: Existing, certificate: Decision, ports: Ports) -> Decision:
    """The web listeners: for challenges, the MTA-STS policy, and the settings of mail programs."""
    http: tuple[str, ...] = ()
    https: tuple[str, ...] = ()
    # A certificate that nobody trusts makes a policy worse than none.
    is_trusted = bool(certificate.settings.get("acme.directory") or existing.settings.get("tls.certificate"))
    # Nobody outside can come in there.
    if survey.behind is not Behind.CARRIER_NAT:
        http = ports.endpoints("http") if ports.is_free("http") else ()
        if ports.is_free("https") and (is_trusted or answers.port_offset):
            https = ports.endpoints("https")
    settings: dict[str, Setting] = {"listen.http": http, "listen.https": https}
    settings["mta_sts.mode"] = "testing" if https and is_trusted else "off"
    if https and not is_trusted:
        return Decision("web", "settings for mail programs are shown over HTTPS", "this is a lab", settings)
    if https:
        says = "the server shows its MTA-STS policy and the settings for mail programs over HTTPS"
        return Decision("web", says, f"port {ports.number('https')} is free", settings)
    if not ports.is_free("https"):
        reason = f"port 443 belongs to {ports.holder('https')}"
    elif survey.behind is Behind.CARRIER_NAT:
        reason = "nobody outside can reach this machine"
    else:
        reason = "there is no certificate that others trust"
    return Decision("web", "no pages over HTTPS, so no MTA-STS policy of your own", reason, settings)


def errands(answers: Answers, certificate: Decision, existing: Existing) -> Iterator[Errand]:
    """What is left to the owner so that a certificate comes."""
    webroot = certificate.settings.get("acme.webroot")
    if webroot and certificate.settings.get("acme.directory"):
        folder = challenge_folder(str(webroot))
        text = "let the server write into the folder of your web server that the authority asks for"
        yield Errand(text, (f"install -d -o {SERVICE_USER} {folder}",), is_needed=True)
    if certificate.settings.get("acme.directory") or answers.port_offset or existing.settings.get("tls.certificate"):
        return
    again = f"mailserver setup {answers.domain} --agree-terms"
    if certificate.settings.get("acme.challenge"):
        yield Errand(
            "for a certificate that mail programs trust, read https://letsencrypt.org/repository/ and agree", (again,)
        )
        return
    yield Errand(
        "for a certificate that mail programs trust, name the folder of your web server, or a program that puts TXT "
        "records into your DNS (docs/certificates.md)",
        (f"{again} --webroot FOLDER", f"{again} --dns-hook PROGRAM"),
    )
