//! What an answer of one of Go's endpoints holds: told from its bytes, since a status and a content
//! type are said easily.

use profile_core::profile::{DecodeLimits, Profile};

/// The form of the answer that an endpoint should give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentForm {
    /// A profile.proto, gzip'd or not.
    Profile,
    /// Stacks as text.
    Dump,
    /// A Go execution trace, or trace events.
    Trace,
}

/// The content that is kept of an answer.
#[derive(Debug)]
pub(super) struct AnswerContent {
    pub(super) ending: &'static str,
    pub(super) bytes: Vec<u8>,
    /// A doubt about it, if there is one.
    pub(super) doubt: Option<String>,
}

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Checks an answer, and returns its content.
///
/// # Errors
///
/// Why it is not what it should be.
pub(super) fn recognise(
    form: ContentForm,
    bytes: Vec<u8>,
    content_type: &str,
) -> Result<AnswerContent, String> {
    if bytes.is_empty() {
        return Err("the answer is empty".to_owned());
    }
    let wrong = |what: &str| Err(format!("the answer is no {what} but {content_type:?}"));
    match form {
        ContentForm::Profile if bytes.starts_with(&GZIP) => {
            // What can't be read here may be of use elsewhere.
            let doubt = Profile::decode(&bytes, &DecodeLimits::default()).err();
            let doubt = doubt.map(|error| format!("what came can't be read: {error}"));
            Ok(AnswerContent { ending: "prof", bytes, doubt })
        }
        ContentForm::Profile => match Profile::decode(&bytes, &DecodeLimits::default()) {
            Ok(profile) => {
                Ok(AnswerContent { ending: "prof", bytes: profile.encode_gzip(), doubt: None })
            }
            Err(_) => wrong("profile"),
        },
        ContentForm::Dump if bytes.trim_ascii_start().starts_with(b"goroutine ") => {
            Ok(AnswerContent { ending: "txt", bytes, doubt: None })
        }
        ContentForm::Dump => wrong("dump"),
        ContentForm::Trace => match trace_ending(&bytes) {
            Some(ending) => Ok(AnswerContent { ending, bytes, doubt: None }),
            None => wrong("trace"),
        },
    }
}

/// Returns the ending of a trace's file name. Go's traces begin with `go 1.22 trace` and zeros, 16
/// bytes in all; ours are a JSON document.
pub(super) fn trace_ending(bytes: &[u8]) -> Option<&'static str> {
    let head = &bytes[..bytes.len().min(16)];
    let go = head.starts_with(b"go 1.") && head.windows(6).any(|window| window == b" trace");
    if go {
        Some("out")
    } else {
        matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')).then_some("json")
    }
}

#[cfg(test)]
mod tests {
    use profile_core::profile::Builder;

    use super::*;

    #[test]
    fn takes_what_it_knows() {
        let profile = Builder::new(&[("samples", "count")]).finish();
        let gzip = profile.encode_gzip();
        let ending = |form, bytes: &[u8]| {
            recognise(form, bytes.to_vec(), "x/y").map(|c| (c.ending, c.doubt.is_some()))
        };
        assert_eq!(ending(ContentForm::Profile, &gzip), Ok(("prof", false)));
        assert_eq!(ending(ContentForm::Profile, &gzip[..gzip.len() - 9]), Ok(("prof", true)));
        assert_eq!(ending(ContentForm::Profile, &profile.encode()), Ok(("prof", false)));
        assert_eq!(ending(ContentForm::Dump, b"goroutine 1 [running]:\n"), Ok(("txt", false)));
        assert_eq!(ending(ContentForm::Trace, b"go 1.22 trace\0\0\0x"), Ok(("out", false)));
        assert_eq!(ending(ContentForm::Trace, b"{\"traceEvents\":[]}"), Ok(("json", false)));
        for form in [ContentForm::Profile, ContentForm::Dump, ContentForm::Trace] {
            for bytes in [&b""[..], b"<html>no</html>", b"busy", &[0xff; 40]] {
                let error = ending(form, bytes).unwrap_err();
                assert!(bytes.is_empty() || error.contains("x/y"), "{form:?} {error}");
            }
        }
    }

    #[test]
    fn a_raw_profile_is_compressed() {
        let raw = Builder::new(&[("samples", "count")]).finish().encode();
        let content = recognise(ContentForm::Profile, raw, "").unwrap();
        assert!(content.bytes.starts_with(&GZIP));
    }
}
