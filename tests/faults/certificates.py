"""A private authority for desks with TLS: one certificate that holds, and one whose time is over."""

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.x509.oid import NameOID

from deploy.local.ports import HOST

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """Its own certificate is at `path`, for whoever is to trust it."""

    path: Path
    key: EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def made(cls, folder: Path) -> "Authority":
        folder.mkdir(parents=True, exist_ok=True)
        key = generate_private_key(SECP256R1())
        certificate = certified("authority", key, key, DAY, authority=True)
        path = folder / "authority.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(path, key, certificate)

    def context(self, which: str) -> ssl.SSLContext:
        """What a desk shows: `valid`, or `expired` since yesterday."""
        key = generate_private_key(SECP256R1())
        last_day = DAY if which == "valid" else -DAY
        certificate = certified(which, key, self.key, last_day, authority=False)
        kept = self.path.with_name(f"{which}.pem")
        kept.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(kept)
        return context


def certified(
    name: str, key: EllipticCurvePrivateKey, by: EllipticCurvePrivateKey, last_day: timedelta, *, authority: bool
) -> x509.Certificate:
    """A certificate for 127.0.0.1, from ten days ago until `last_day` from now."""
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address(HOST))
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named("authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 10 * DAY)
        .not_valid_after(now + last_day)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(by, hashes.SHA256())
    )


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
