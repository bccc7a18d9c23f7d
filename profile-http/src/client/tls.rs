//! Whom to trust, and as whom to come, from PEM files.

use std::fmt;

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::{Error, Result};

/// The settings that differ from the defaults. Its `Debug` shows no key.
#[derive(Default)]
pub(super) struct TlsSettings {
    authorities: Vec<Certificate<'static>>,
    identity: Option<ClientCert>,
    insecure: bool,
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("authorities", &self.authorities.len())
            .field("identity", &self.identity.is_some())
            .field("insecure", &self.insecure)
            .finish()
    }
}

impl TlsSettings {
    pub(super) fn authorities(&mut self, pem: &[u8]) -> Result<()> {
        self.authorities.extend(certificates(pem)?);
        Ok(())
    }

    pub(super) fn identity(&mut self, chain: &[u8], key: &[u8]) -> Result<()> {
        self.identity = Some(ClientCert::new_with_certs(&certificates(chain)?, private_key(key)?));
        Ok(())
    }

    pub(super) fn insecure(&mut self) {
        self.insecure = true;
    }

    pub(super) fn into_config(self) -> TlsConfig {
        let roots = if self.authorities.is_empty() {
            RootCerts::WebPki
        } else {
            RootCerts::from(self.authorities)
        };
        TlsConfig::builder()
            .root_certs(roots)
            .client_cert(self.identity)
            .disable_verification(self.insecure)
            .build()
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>> {
    let mut found = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => {
                return Err(Error::Tls(format!("the certificate can't be read: {error}")));
            }
        }
    }
    if found.is_empty() {
        return Err(Error::Tls("there is no certificate in PEM form".to_owned()));
    }
    Ok(found)
}

fn private_key(pem: &[u8]) -> Result<PrivateKey<'static>> {
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::PrivateKey(key)) => return Ok(key),
            Ok(_) => {}
            // The parser's own words could quote the key.
            Err(_) => return Err(Error::Tls("the key can't be read".to_owned())),
        }
    }
    Err(Error::Tls("there is no private key in PEM form without a passphrase".to_owned()))
}
