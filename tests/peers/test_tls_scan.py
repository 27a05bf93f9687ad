"""A scanner, sslyze, on every port that speaks TLS: nothing worse than low. docs/security.md tells what that means.

`make test-peers` makes its environment, `.cache/sslyze`.
"""

import datetime
import ipaddress
import json
import subprocess
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.peers.certificates import Certificate
from tests.peers.ours import OurServer
from tests.peers.running import HOST

SSLYZE = Path(__file__).parents[2] / ".cache" / "sslyze" / "bin" / "sslyze"
TIMEOUT_S = 120
# How TLS begins there, and the listeners.
PORTS = {"": ("submissions", "pop3s"), "smtp": ("smtp", "submission"), "pop3": ("pop3",)}
CHECKS = (
    "certinfo", "sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3", "compression", "reneg", "heartbleed",
    "openssl_ccs", "robot", "fallback", "early_data", "ems", "elliptic_curves", "resum",
)  # fmt: skip
CURVES = {"X25519", "X448", "secp256r1", "secp384r1", "secp521r1"}
# What a scan opens at once, and the nonsense it sends.
ROOM = {
    "smtp": {"max_connections_per_client": 1000, "max_errors": 1000},
    "pop3": {"max_connections_per_client": 500},
}


def issued(folder: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Certificate:
    """A certificate for localhost as public authorities issue them; what trustme issues breaks a rule of RFC 5280."""
    authority = trustme.CA()
    ca = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    ca_key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    found = Certificate(folder / "ca.pem", folder / "chain.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(found.authority)
    found.chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    found.private_key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return found


def scan(server: OurServer, starttls: str, authority: Path, folder: Path) -> dict[str, dict]:
    """Listener to sslyze's results, each check with its `result`."""
    listeners = PORTS[starttls]
    out = folder / f"scan-{starttls}.json"
    command = [str(SSLYZE), "--quiet", "--json_out", str(out), "--mozilla_config", "disable"]
    command += ["--certinfo_ca_file", str(authority), *(f"--{check}" for check in CHECKS)]
    command += ["--starttls", starttls] if starttls else []
    command += [f"localhost:{server.ports[name]}{{{HOST}}}" for name in listeners]
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    by_port = {one["server_location"]["port"]: one for one in json.loads(out.read_text())["server_scan_results"]}
    results = {}
    for name in listeners:
        one = by_port[server.ports[name]]
        assert one["scan_status"] == "COMPLETED", (name, one["connectivity_error_trace"])
        results[name] = {}
        for check, found in one["scan_result"].items():
            assert found["status"] in ("COMPLETED", "NOT_SCHEDULED"), (name, check, found["error_trace"])
            results[name][check] = found["result"]
    return results


def suites(result: dict, version: str) -> list[str]:
    return [one["cipher_suite"]["name"] for one in result[f"{version}_cipher_suites"]["accepted_cipher_suites"]]


def findings(result: dict, *, is_rsa: bool) -> list[str]:
    """What is worse than low, each as a sentence."""
    out = [f"{version}: {suites(result, version)}" for version in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")
           if suites(result, version)]  # fmt: skip
    if not suites(result, "tls_1_3"):
        out.append("no TLS 1.3")
    for name in suites(result, "tls_1_2"):
        # Low: CBC (its timing was mended in the library long ago), and with an RSA key the suites without forward
        # secrecy, which only a client gets that offers nothing else.
        has_secrecy = name.startswith(("TLS_ECDHE_", "TLS_DHE_"))
        is_plain_rsa = is_rsa and name.startswith("TLS_RSA_WITH_AES_")
        is_good = any(cipher in name for cipher in ("_AES_128_", "_AES_256_", "_CHACHA20_POLY1305_"))
        if not is_good or not (has_secrecy or is_plain_rsa) or name.endswith(("_MD5", "_NULL")) or "anon" in name:
            out.append(f"the suite {name}")
    robot = result["robot"]["robot_result"]
    facts = {
        "compression": result["tls_compression"]["supports_compression"],
        "early data": result["tls_1_3_early_data"]["supports_early_data"],
        "CCS injection": result["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"],
        "no fallback SCSV": not result["tls_fallback_scsv"]["supports_fallback_scsv"],
        "Heartbleed": result["heartbleed"]["is_vulnerable_to_heartbleed"],
        f"ROBOT: {robot}": not robot.startswith("NOT_VULNERABLE"),
        "insecure renegotiation": not result["session_renegotiation"]["supports_secure_renegotiation"],
        "renegotiation by clients": result["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"],
        "no extended master secret": not result["tls_extended_master_secret"]["supports_ems_extension"],
        "sessions are resumed": result["session_resumption"]["session_id_successful_resumptions_count"],
        "tickets are taken": result["session_resumption"]["tls_ticket_successful_resumptions_count"],
    }
    out += [what for what, is_so in facts.items() if is_so]
    curves = {curve["name"] for curve in result["elliptic_curves"]["supported_curves"] or []}
    if not curves or curves - CURVES:
        out.append(f"curves: {curves}")
    return out + certificate_findings(result)


def certificate_findings(result: dict) -> list[str]:
    out = []
    for deployment in result["certificate_info"]["certificate_deployments"]:
        validations = deployment["path_validation_results"]
        if not any(one["was_validation_successful"] for one in validations):
            out.append("the certificate is not trusted by who trusts its authority")
        if not deployment["received_chain_has_valid_order"]:
            out.append("the chain is out of order")
    return out or ([] if result["certificate_info"]["certificate_deployments"] else ["no certificate"])


@pytest.mark.parametrize("kind", ["ECDSA", "RSA"])
def test_a_scanner_finds_nothing_above_low(folder, stack, kind):
    assert SSLYZE.exists(), f"{SSLYZE} is missing: make test-peers makes it"
    is_rsa = kind == "RSA"
    key = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
    certificate = issued(folder, key)
    (folder / "mailserver").mkdir()
    server = stack.enter_context(OurServer(folder / "mailserver", certificate, ROOM))
    found = {}
    for starttls in PORTS:
        for name, result in scan(server, starttls, certificate.authority, folder).items():
            found[name] = findings(result, is_rsa=is_rsa)
    assert found == {name: [] for names in PORTS.values() for name in names}
