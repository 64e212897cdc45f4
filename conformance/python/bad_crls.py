"""Writes CRLs of one issuer, a sound one and bad ones, and a sound one of its root.

Arguments: directory, issuer's certificate and key, root's certificate and key (PEM files). Each CRL is a DER file of the directory.
"""

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime.now(timezone.utc).replace(microsecond=0)


def crl(issuer, key, *, days=1, age=timedelta(minutes=5), reason=None, critical=False):
    """A CRL with one entry, of a certificate that nobody asks about."""
    entry = x509.RevokedCertificateBuilder().serial_number(0x40ABCDEF).revocation_date(NOW - age)
    if reason is not None:
        entry = entry.add_extension(x509.CRLReason(reason), critical=critical)
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(NOW - age)
        .next_update(NOW - age + timedelta(days=days))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .add_extension(x509.CRLNumber(7), critical=False)
        .add_revoked_certificate(entry.build())
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def main(directory, issuer_file, issuer_key, root_file, root_key):
    issuer, root = (x509.load_pem_x509_certificate(Path(file).read_bytes()) for file in (issuer_file, root_file))
    key, above = (serialization.load_pem_private_key(Path(file).read_bytes(), None) for file in (issuer_key, root_key))
    reasons = x509.ReasonFlags
    written = {
        "root": crl(root, above, reason=reasons.superseded),
        "sound": crl(issuer, key, reason=reasons.superseded),
        "expired": crl(issuer, key, age=timedelta(days=3)),
        "wrong-signer": crl(issuer, ec.generate_private_key(ec.SECP256R1())),
        "reason-0": crl(issuer, key, reason=reasons.unspecified),
        "critical-reason": crl(issuer, key, reason=reasons.superseded, critical=True),
        "eleven-days": crl(issuer, key, days=11),
    }
    for name, der in written.items():
        Path(directory, f"{name}.crl").write_bytes(der)


main(*sys.argv[1:])
