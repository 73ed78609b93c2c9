//! Which certificates of a server pass, as `ssl-mode` decides.
//!
//! mysqld's own certificates have no subjectAltName, so a check of the name cannot succeed with
//! them: VERIFY_CA checks the chain alone, VERIFY_IDENTITY chain and name, the weaker modes only that
//! the peer holds the certificate's key.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};

use super::{certificates, unreadable};
use crate::net::{ConnectOptions, SslMode, TlsVersions};
use crate::{Error, ErrorKind, Result};

/// Certificates made for no name are checked for none, so any name will do where it is not compared.
pub(super) fn server_name(host: &str, mode: SslMode) -> Result<ServerName<'static>> {
    match ServerName::try_from(host.to_owned()) {
        Ok(name) => Ok(name),
        Err(error) if mode == SslMode::VerifyIdentity => Err(Error::new(
            ErrorKind::Configuration,
            format!("host '{host}' cannot be in a certificate"),
        )
        .remedy("use ssl-mode=VERIFY_CA")
        .caused_by(error)),
        Err(_) => Ok(ServerName::from(std::net::IpAddr::from([0, 0, 0, 0]))),
    }
}

/// What a client of these options does in a handshake.
pub(super) fn config(options: &ConnectOptions) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unusable = |what: &str, error: rustls::Error| {
        Error::new(
            ErrorKind::Configuration,
            format!("{what} cannot be used: {error}"),
        )
        .remedy("check the PEM files")
    };
    let verifier = verifier(options, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(options.tls_versions))
        .map_err(|error| unusable("TLS", error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match (&options.ssl_cert, &options.ssl_key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unreadable("ssl-key", key, &error.to_string()))?;
            builder
                .with_client_auth_cert(certificates("ssl-cert", cert)?, key)
                .map_err(|error| unusable("ssl-cert with ssl-key", error))?
        }
        _ => {
            return Err(Error::new(
                ErrorKind::Configuration,
                "ssl-cert and ssl-key are needed together",
            ));
        }
    };
    // As MySQL's clients, which name the server only with --tls-sni-servername.
    config.enable_sni = false;
    Ok(config)
}

static ONLY_12: [&SupportedProtocolVersion; 1] = [&TLS12];
static ONLY_13: [&SupportedProtocolVersion; 1] = [&TLS13];

fn versions(versions: TlsVersions) -> &'static [&'static SupportedProtocolVersion] {
    match versions {
        TlsVersions::Both => rustls::ALL_VERSIONS,
        TlsVersions::Only12 => &ONLY_12,
        TlsVersions::Only13 => &ONLY_13,
    }
}

fn verifier(
    options: &ConnectOptions,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>> {
    if !matches!(
        options.ssl_mode,
        SslMode::VerifyCa | SslMode::VerifyIdentity
    ) {
        return Ok(Arc::new(AnyCertificate(Arc::clone(provider))));
    }
    let Some(path) = &options.ssl_ca else {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!("ssl-mode={} needs ssl-ca", options.ssl_mode),
        )
        .remedy("give the ca.pem of the server's data directory as ssl-ca"));
    };
    let mut roots = RootCertStore::empty();
    let given = certificates("ssl-ca", path)?;
    let (usable, _) = roots.add_parsable_certificates(given);
    if usable == 0 {
        return Err(unreadable("ssl-ca", path, "it holds no usable certificate"));
    }
    let roots = Arc::new(roots);
    if options.ssl_mode == SslMode::VerifyCa {
        return Ok(Arc::new(ChainOnly {
            roots,
            provider: Arc::clone(provider),
        }));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| unreadable("ssl-ca", path, &error.to_string()))?;
    Ok(verifier)
}

/// PREFERRED and REQUIRED: any certificate whose key the peer proves to hold.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

/// VERIFY_CA: a certificate that a known authority signed, for whatever name.
#[derive(Debug)]
struct ChainOnly {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
