"""A certificate authority of the cluster's own, and the certificate its API server shows."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kgpud.localcluster.private_file import write_private

_DAYS = 365
_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_ADDRESSES = ("127.0.0.1", "::1")
CA_FILE, _KEY_FILE = "ca.crt", "server.pem"


def make(state: Path) -> ssl.SSLContext:
    """Write `ca.crt` into `state` and return the server's side of TLS. Both are new each time."""
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _name("kgpud-local-cluster-ca")
    signed = _certificate(authority, authority, authority_key.public_key())
    signed = signed.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    signed = signed.add_extension(_usage(signs=True), critical=True)
    root = signed.sign(authority_key, hashes.SHA256())
    shown = _certificate(_name("kube-apiserver"), authority, server_key.public_key())
    shown = shown.add_extension(_usage(signs=False), critical=True)
    server_use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    shown = shown.add_extension(server_use, critical=False)
    shown = shown.add_extension(_alternatives(), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = shown.add_extension(issuer, critical=False).sign(authority_key, hashes.SHA256())
    write_private(state / CA_FILE, root.public_bytes(serialization.Encoding.PEM).decode())
    return _context(state / _KEY_FILE, certificate, server_key)


def _context(
    path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> ssl.SSLContext:
    """Load a certificate and its key, which ssl takes from files alone."""
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, plain)
    text = certificate.public_bytes(serialization.Encoding.PEM) + pem
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    write_private(path, text.decode())
    try:
        context.load_cert_chain(path)
    finally:
        path.unlink()
    return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    today = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(hours=1))
        .not_valid_after(today + timedelta(days=_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives() -> x509.SubjectAlternativeName:
    names = [x509.DNSName(name) for name in _NAMES]
    addresses = [x509.IPAddress(ipaddress.ip_address(one)) for one in _ADDRESSES]
    return x509.SubjectAlternativeName([*names, *addresses])
