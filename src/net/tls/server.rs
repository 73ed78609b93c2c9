//! The certificate that we show to clients: given, or made for ourselves.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{certificates, unreadable};
use crate::{Error, ErrorKind, Result};

/// What a server side of ours needs for TLS 1.2 and 1.3. Cheap to clone.
///
/// ```
/// let tls = rejoin::net::ServerTls::self_signed(&["db1".to_owned()])?;
/// # drop(tls);
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Clone)]
pub struct ServerTls(Arc<ServerConfig>);

impl ServerTls {
    /// From PEM files: `cert` with the chain, own certificate first, and its `key`.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where a file cannot be read or the two do not belong together.
    pub fn from_pem(cert: &Path, key: &Path) -> Result<Self> {
        let chain = certificates("tls-cert", cert)?;
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| unreadable("tls-key", key, &error.to_string()))?;
        Self::with(chain, key)
    }

    /// With a certificate and key made now, as mysqld makes its own. It proves nothing about who we
    /// are, so that clients can use it with `ssl-mode=PREFERRED` and `REQUIRED` only.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where a name cannot stand in a certificate.
    pub fn self_signed(names: &[String]) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(names).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                format!(
                    "cannot make a certificate for {}: {error}",
                    names.join(", ")
                ),
            )
            .caused_by(error)
        })?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Self::with(vec![made.cert.der().clone()], key.into())
    }

    fn with(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self> {
        let unusable = |error: rustls::Error| {
            Error::new(
                ErrorKind::Configuration,
                format!("tls-cert with tls-key cannot be used: {error}"),
            )
            .remedy("check that the key is the certificate's")
            .caused_by(error)
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for ServerTls {
    // The configuration holds the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}
