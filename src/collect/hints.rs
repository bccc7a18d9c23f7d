//! What to do where TLS stands in the way.

use profilez::http::HandshakeError;

use crate::args::CollectArgs;

/// The hint for an `http` URL of a listener that wants TLS.
pub(super) const HTTPS: &str = "TLS is spoken there: collect from a URL that begins with https://";

/// Returns whether a refusal says that TLS is spoken there, in the words of nginx or of Go's
/// servers.
pub(super) fn is_about_https(message: &str) -> bool {
    let message = message.to_lowercase();
    ["http request was sent to https", "http request to an https"]
        .iter()
        .any(|words| message.contains(words))
}

/// Returns what to do about a handshake that failed; `None` where nobody could tell.
pub(super) fn hint_of_handshake(error: &HandshakeError, args: &CollectArgs) -> Option<String> {
    const ANYWAY: &str = "--insecure talks to it all the same, and to anybody else";
    let hint = match error {
        HandshakeError::UnknownIssuer => match &args.cacert {
            Some(file) => format!(
                "is the authority that signed it in {}, the file of --cacert? {ANYWAY}",
                file.display()
            ),
            None => format!("--cacert FILE trusts the authority that signed it; {ANYWAY}"),
        },
        HandshakeError::Authority => {
            format!("give the service one that an authority signed, for --cacert FILE; {ANYWAY}")
        }
        HandshakeError::Expired(_) | HandshakeError::NotValidYet(_) => {
            format!("it needs a new one, or this host's clock is wrong; {ANYWAY}")
        }
        HandshakeError::WrongName { .. } => {
            format!("collect from the name that is in its certificate; {ANYWAY}")
        }
        HandshakeError::BadCertificate(_) => ANYWAY.to_owned(),
        HandshakeError::CertificateRequired => "--cert FILE and --key FILE show one".to_owned(),
        HandshakeError::CertificateRefused(_) => {
            "is the certificate of --cert one that it knows?".to_owned()
        }
        HandshakeError::NotTls | HandshakeError::HungUp => {
            "if that is a plain listener, collect from a URL that begins with http://".to_owned()
        }
        _ => return None,
    };
    Some(hint)
}
