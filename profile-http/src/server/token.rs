//! The authorizer for one secret token, as Bearer or as the password of Basic.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header;
use http::request::Parts;
use profile_format::is_unseen;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Authorizer, Denied, Identity};
use crate::Error;

/// Lets in whoever knows a token: `Authorization: Bearer TOKEN`, or Basic with any user name and the
/// token as password, so that `go tool pprof http://x:TOKEN@host/...` works.
///
/// The token is kept as a hash. Comparing hashes of equal length in constant time tells an attacker
/// neither the token's length nor how much of a guess was right.
#[derive(Clone)]
pub struct Token {
    sha256: [u8; 32],
}

impl Token {
    /// Returns an authorizer for this token.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyToken`]: an empty token is most likely a setting that is missing.
    pub fn new(token: &str) -> Result<Token, Error> {
        if token.trim().is_empty() {
            return Err(Error::EmptyToken);
        }
        Ok(Token { sha256: Sha256::digest(token).into() })
    }

    fn is(&self, guess: &[u8]) -> bool {
        let guess: [u8; 32] = Sha256::digest(guess).into();
        self.sha256.ct_eq(&guess).into()
    }
}

impl Authorizer for Token {
    fn authorize(&self, request: &Parts) -> Result<Identity, Denied> {
        let header = request.headers.get(header::AUTHORIZATION).ok_or(Denied::Unauthenticated)?;
        let (scheme, credentials) = split(header.as_bytes()).ok_or(Denied::Unauthenticated)?;
        if scheme.eq_ignore_ascii_case(b"bearer") && self.is(credentials) {
            return Ok(Identity::new("token"));
        }
        if scheme.eq_ignore_ascii_case(b"basic")
            && let Ok(pair) = STANDARD.decode(credentials)
            && let Some(colon) = pair.iter().position(|&byte| byte == b':')
            && self.is(&pair[colon + 1..])
        {
            return Ok(Identity::new(user_name(&pair[..colon])));
        }
        Err(Denied::Unauthenticated)
    }
}

/// Returns the scheme and what follows it after the spaces.
fn split(header: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = header.iter().position(|&byte| byte == b' ')?;
    Some((&header[..space], header[space..].trim_ascii()))
}

/// Returns a user name for the log: it is not checked against anything, so it is bounded and
/// printable.
fn user_name(bytes: &[u8]) -> String {
    let name: String =
        String::from_utf8_lossy(bytes).chars().filter(|&c| !is_unseen(c)).take(64).collect();
    if name.is_empty() { "token".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorize(header: Option<&str>) -> Result<Identity, Denied> {
        let mut request = http::Request::builder();
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Token::new("s3cret:x").unwrap().authorize(&parts)
    }

    #[test]
    fn takes_the_token_as_bearer_and_as_basic_password() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert_eq!(authorize(Some("Bearer s3cret:x")), Ok(Identity::new("token")));
        assert_eq!(authorize(Some("bearer   s3cret:x")), Ok(Identity::new("token")));
        assert_eq!(authorize(Some(&basic("alice:s3cret:x"))), Ok(Identity::new("alice")));
        assert_eq!(authorize(Some(&basic(":s3cret:x"))), Ok(Identity::new("token")));
        let refused = [
            "",
            "Bearer",
            "Bearer ",
            "Bearer s3cret",
            "Bearer s3cret:x2",
            "Basic",
            "Basic !!!",
            "Digest s3cret:x",
            &basic("s3cret:x:"),
            &basic("no colon"),
            "s3cret:x",
        ];
        for header in refused {
            assert_eq!(authorize(Some(header)), Err(Denied::Unauthenticated), "{header}");
        }
        assert_eq!(authorize(None), Err(Denied::Unauthenticated));
    }

    #[test]
    fn an_empty_token_is_no_token() {
        assert!(matches!(Token::new(""), Err(Error::EmptyToken)));
        assert!(matches!(Token::new(" \n"), Err(Error::EmptyToken)));
    }
}
