//! Reads the errors of `rustls`.

use std::error::Error as StdError;

use crate::HandshakeError;

/// Returns the error of TLS that a failure is about, if it is about one.
pub(super) fn read(error: &(dyn StdError + 'static)) -> Option<HandshakeError> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(of_rustls(error));
    }
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        return read(error.get_ref()?);
    }
    match error.downcast_ref::<ureq::Error>()? {
        ureq::Error::Rustls(error) => Some(of_rustls(error)),
        ureq::Error::Tls(what) => Some(HandshakeError::Other((*what).to_owned())),
        ureq::Error::Io(error) => read(error),
        _ => None,
    }
}

fn of_rustls(error: &rustls::Error) -> HandshakeError {
    use rustls::{AlertDescription as Alert, Error, InvalidMessage};

    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => HandshakeError::NotTls,
        Error::AlertReceived(Alert::CertificateRequired) => HandshakeError::CertificateRequired,
        Error::AlertReceived(
            alert @ (Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied),
        ) => HandshakeError::CertificateRefused(alert_words(alert)),
        Error::AlertReceived(alert) => HandshakeError::Other(format!(
            "the server ends it with the alert {:?}",
            alert_words(alert)
        )),
        error => HandshakeError::Other(error.to_string()),
    }
}

/// Returns an alert's name as words.
fn alert_words(alert: &rustls::AlertDescription) -> String {
    let mut words = String::new();
    for c in format!("{alert:?}").chars() {
        if c.is_uppercase() && words.ends_with(char::is_lowercase) {
            words.push(' ');
        }
        words.push(c);
    }
    words
}

fn of_certificate(error: &rustls::CertificateError) -> HandshakeError {
    use rustls::CertificateError as Certificate;

    let at = |word: &str, time: &rustls::pki_types::UnixTime| {
        let since = std::time::Duration::from_secs(time.as_secs());
        let time = std::time::SystemTime::UNIX_EPOCH.checked_add(since);
        time.map_or_else(String::new, |time| format!(", {word} {}", profile_archive::rfc3339(time)))
    };
    match error {
        Certificate::UnknownIssuer => HandshakeError::UnknownIssuer,
        Certificate::Expired => HandshakeError::Expired(String::new()),
        Certificate::ExpiredContext { not_after, .. } => {
            HandshakeError::Expired(at("on", not_after))
        }
        Certificate::NotValidYet => HandshakeError::NotValidYet(String::new()),
        Certificate::NotValidYetContext { not_before, .. } => {
            HandshakeError::NotValidYet(at("but from", not_before))
        }
        Certificate::NotValidForName => HandshakeError::WrongName {
            expected: "this host".to_owned(),
            presented: "others".to_owned(),
        },
        Certificate::NotValidForNameContext { expected, presented } => HandshakeError::WrongName {
            expected: expected.to_str().into_owned(),
            presented: certificate_names(presented),
        },
        Certificate::BadEncoding => HandshakeError::BadCertificate("it can't be read".to_owned()),
        Certificate::BadSignature => {
            HandshakeError::BadCertificate("its signature is wrong".to_owned())
        }
        Certificate::Revoked => HandshakeError::BadCertificate("it was revoked".to_owned()),
        Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => {
            HandshakeError::BadCertificate("it is not for servers".to_owned())
        }
        // The error inside is of a crate that nobody sees from here; its words are the variant's name.
        error if format!("{error:?}").contains("CaUsedAsEndEntity") => HandshakeError::Authority,
        error => HandshakeError::BadCertificate(error.to_string()),
    }
}

/// Returns the names in a certificate. They come as `DnsName("localhost")`.
fn certificate_names(presented: &[String]) -> String {
    const MOST: usize = 5;
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    let mut shown: Vec<String> = presented.iter().take(MOST).map(bare).collect();
    match presented.len() {
        0 => return "no name at all".to_owned(),
        more if more > MOST => shown.push("others".to_owned()),
        _ => {}
    }
    super::printable(&shown.join(", "), 300)
}
