//! Why no TLS connection came about, in words that say what to look at.

/// The reasons why no TLS connection came about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// None of the authorities that are trusted has signed the certificate.
    #[error("the server's certificate is signed by nobody that is trusted here")]
    UnknownIssuer,
    /// The certificate is that of an authority, as a self-signed one often is.
    #[error("the server shows an authority's certificate (CA:TRUE) where its own belongs")]
    Authority,
    /// The certificate has expired; holds when.
    #[error("the server's certificate has expired{0}")]
    Expired(String),
    /// The certificate is not valid yet; holds from when on.
    #[error("the server's certificate is not valid yet{0}")]
    NotValidYet(String),
    /// The certificate is for others.
    #[error("the server's certificate is not for {expected} but for {presented}")]
    WrongName {
        /// The host that was asked.
        expected: String,
        /// The names in the certificate.
        presented: String,
    },
    /// There is something else about the certificate; holds what.
    #[error("the server's certificate can't be used: {0}")]
    BadCertificate(String),
    /// The server wants to see a certificate, and was shown none.
    #[error("the server asks for a certificate of ours")]
    CertificateRequired,
    /// The server was shown a certificate that it doesn't take; holds its alert.
    #[error("the server does not take the certificate that it was shown: {0}")]
    CertificateRefused(String),
    /// The other side speaks something else.
    #[error("no TLS is spoken there")]
    NotTls,
    /// The other side hung up before anything was agreed on.
    #[error("the server hung up instead of speaking TLS")]
    HungUp,
    /// Anything else; holds what.
    #[error("TLS failed: {0}")]
    Other(String),
}
