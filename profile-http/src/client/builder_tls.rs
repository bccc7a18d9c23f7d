//! The settings of a client that speaks TLS.

use super::builder::ClientBuilder;
use crate::Result;

impl ClientBuilder {
    /// Trusts these certificate authorities, as PEM, in place of the built-in ones.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`](crate::Error::Tls): there is no certificate in it.
    pub fn certificate_authorities(mut self, pem: &[u8]) -> Result<ClientBuilder> {
        self.tls.authorities(pem)?;
        Ok(self)
    }

    /// Shows this certificate to a server that wants to know who asks: a chain and its key, as PEM.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`](crate::Error::Tls): there is no certificate in it, or no key.
    pub fn identity(mut self, certificates: &[u8], key: &[u8]) -> Result<ClientBuilder> {
        self.tls.identity(certificates, key)?;
        Ok(self)
    }

    /// Talks to servers whoever they are. What is sent to them, a token too, can be read by anybody
    /// on the way.
    pub fn insecure(mut self) -> ClientBuilder {
        self.tls.insecure();
        self
    }
}
