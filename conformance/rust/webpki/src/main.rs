//! Asks rustls-webpki about certificates and CRLs. Questions and answers are lines as conformance/revocation/tool.ts describes them.
//!
//! It judges as strictly as it can: a certificate of which no CRL speaks is refused, and so is a CRL after its nextUpdate.

use std::error::Error;
use std::io::stdin;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};

fn main() -> Result<(), Box<dyn Error>> {
    for line in stdin().lines() {
        let line = line?;
        let question: Vec<&str> = line.split('\t').collect();
        let verdict = judge(&question).unwrap_or_else(|error| format!("refused {error}"));
        println!("{}", verdict.replace('\n', " "));
    }
    Ok(())
}

fn judge(question: &[&str]) -> Result<String, Box<dyn Error>> {
    let [_, certificate, issuer, root, crl, ..] = question else { return Err("a question has seven fields".into()) };
    let (certificate, issuer) = (CertificateDer::from_pem_file(certificate)?, CertificateDer::from_pem_file(issuer)?);
    let root = CertificateDer::from_pem_file(root)?;
    let anchors = [anchor_from_trusted_cert(&root)?];
    let crl = CertificateRevocationListDer::from(std::fs::read(crl)?);
    let crl = CertRevocationList::Borrowed(BorrowedCertRevocationList::from_der(&crl)?);
    let crls = [&crl];
    let revocation = RevocationOptionsBuilder::new(&crls)
        .map_err(|_| "no CRL")?
        .with_depth(RevocationCheckDepth::EndEntity)
        .with_status_policy(UnknownStatusPolicy::Deny)
        .with_expiration_policy(ExpirationPolicy::Enforce)
        .build();
    let leaf = EndEntityCert::try_from(&certificate)?;
    let (issuers, usage) = ([issuer], KeyUsage::server_auth());
    let found = leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &issuers, UnixTime::now(), usage, Some(revocation), None);
    Ok(match found {
        Ok(_) => "good".into(),
        Err(webpki::Error::CertRevoked) => "revoked".into(),
        Err(webpki::Error::CertExpired { .. }) => "expired".into(),
        Err(error @ (webpki::Error::UnknownRevocationStatus | webpki::Error::CrlExpired { .. })) => format!("undetermined {error:?}"),
        Err(error) => format!("refused {error:?}"),
    })
}
