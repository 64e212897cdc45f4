"""Asks pyhanko-certvalidator about certificates.

Questions and answers are lines as conformance/revocation/tool.ts describes them. CRLs are fetched from the URLs in the certificates, of the leaf and
of its issuer. OCSP is asked by POST, with a nonce or without; where the question brings a response, that one is judged and nothing is fetched.
"""

import asyncio
import logging
import sys
from pathlib import Path

import aiohttp
from asn1crypto import pem, x509
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import ExpiredError, InsufficientRevinfoError, RevokedError
from pyhanko_certvalidator.fetchers import Fetchers
from pyhanko_certvalidator.fetchers.aiohttp_fetchers import (
    AIOHttpCertificateFetcher,
    AIOHttpCRLFetcher,
    AIOHttpOCSPFetcher,
)
from pyhanko_certvalidator.policy_decl import CertRevTrustPolicy, RevocationCheckingPolicy, RevocationCheckingRule

# RFC 5280 §5.3.1, as asn1crypto names them.
REASONS = {
    "unspecified": "unspecified",
    "key_compromise": "keyCompromise",
    "ca_compromise": "cACompromise",
    "affiliation_changed": "affiliationChanged",
    "superseded": "superseded",
    "cessation_of_operation": "cessationOfOperation",
    "certificate_hold": "certificateHold",
    "remove_from_crl": "removeFromCRL",
    "privilege_withdrawn": "privilegeWithdrawn",
    "aa_compromise": "aACompromise",
}

CRL_OF_BOTH = RevocationCheckingPolicy(RevocationCheckingRule.CRL_REQUIRED, RevocationCheckingRule.CRL_REQUIRED)
OCSP_OF_LEAF = RevocationCheckingPolicy(RevocationCheckingRule.OCSP_REQUIRED, RevocationCheckingRule.NO_CHECK)


def certificate(file: str) -> x509.Certificate:
    _, _, der = pem.unarmor(Path(file).read_bytes())
    return x509.Certificate.load(der)


async def judge(session: aiohttp.ClientSession, question: list[str]) -> str:
    method, leaf, issuer, root, _, response, _ = question
    fetchers = Fetchers(
        ocsp_fetcher=AIOHttpOCSPFetcher(session, request_nonces=method == "OCSP nonce", certid_hash_algo="sha256"),
        crl_fetcher=AIOHttpCRLFetcher(session),
        cert_fetcher=AIOHttpCertificateFetcher(session),
    )
    context = ValidationContext(
        trust_roots=[certificate(root)],
        allow_fetching=response == "-",
        ocsps=[] if response == "-" else [Path(response).read_bytes()],
        revinfo_policy=CertRevTrustPolicy(CRL_OF_BOTH if method.endswith("CRL") else OCSP_OF_LEAF),
        fetchers=fetchers,
    )
    validator = CertificateValidator(certificate(leaf), [certificate(issuer)], context)
    try:
        await validator.async_validate_path()
    except RevokedError as error:
        return f"revoked {REASONS[error.reason.native]}"
    except ExpiredError:
        return "expired"
    except InsufficientRevinfoError as error:
        return f"undetermined {error}"
    except Exception as error:  # noqa: BLE001 - whatever else is wrong, it does not accept
        return f"refused {type(error).__name__} {error}"
    return "good"


async def main() -> None:
    logging.disable(logging.CRITICAL)
    async with aiohttp.ClientSession() as session:
        for line in sys.stdin:
            verdict = await judge(session, line.rstrip("\n").split("\t"))
            print(verdict.replace("\n", " "), flush=True)


asyncio.run(main())
