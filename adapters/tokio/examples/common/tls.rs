//! Whom the example programs trust.

use std::path::Path;
use std::sync::Arc;

use duologue_tokio::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::common::Failure;

/// A connector that trusts the certificates of a file (PEM), and nobody else.
pub(crate) fn trusting(file: &Path) -> Result<TlsConnector, Failure> {
    let unreadable = |why: &dyn std::fmt::Display| format!("reading certificates from {}: {why}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| unreadable(&e))? {
        roots.add(certificate.map_err(|e| unreadable(&e))?).map_err(|e| unreadable(&e))?;
    }
    if roots.is_empty() {
        return Err(unreadable(&"there are none").into());
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
