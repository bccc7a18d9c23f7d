//! Names of functions, cut for people: those of layered services can take 37 000 bytes, most of them
//! the types of inner layers.

use std::borrow::Cow;

/// The longest name that is kept as it is, in bytes.
pub(crate) const LONGEST: usize = 512;

/// The sign that stands for what was left out.
const GAP: &str = "…";

/// Returns a name of at most [`LONGEST`] bytes. What stands deepest within angle brackets is left out
/// first; where that is not enough, the middle is.
pub(crate) fn shorten(name: &str) -> Cow<'_, str> {
    if name.len() <= LONGEST {
        return Cow::Borrowed(name);
    }
    // The bytes that stand at each depth, and the lists that begin there.
    let mut at_depth: Vec<(usize, usize)> = Vec::new();
    for (depth, byte) in depths(name) {
        if depth >= at_depth.len() {
            at_depth.resize(depth + 1, (0, 0));
        }
        at_depth[depth].0 += 1;
        at_depth[depth].1 += usize::from(byte == b'<');
    }
    let mut len = 0;
    let mut deepest = None;
    for (depth, &(bytes, lists)) in at_depth.iter().enumerate() {
        len += bytes;
        if len + lists * GAP.len() <= LONGEST {
            deepest = Some(depth);
        } else if len > LONGEST {
            break;
        }
    }
    Cow::Owned(deepest.map_or_else(|| without_middle(name), |deepest| without_inner(name, deepest)))
}

/// Returns each byte of a name with the number of angle brackets that it stands in. The brackets
/// themselves stand outside.
fn depths(name: &str) -> impl Iterator<Item = (usize, u8)> {
    let mut depth = 0usize;
    let mut before = 0;
    name.bytes().map(move |byte| {
        // An arrow closes nothing.
        if byte == b'>' && before != b'-' {
            depth = depth.saturating_sub(1);
        }
        let at = depth;
        depth += usize::from(byte == b'<');
        before = byte;
        (at, byte)
    })
}

/// Returns a name without what stands deeper than this.
fn without_inner(name: &str, deepest: usize) -> String {
    let mut short = Vec::with_capacity(LONGEST);
    let mut is_left_out = false;
    for (depth, byte) in depths(name) {
        if depth <= deepest {
            short.push(byte);
        } else if !is_left_out {
            short.extend_from_slice(GAP.as_bytes());
        }
        is_left_out = depth > deepest;
    }
    // Brackets are whole characters, and so is what stands between two.
    String::from_utf8_lossy(&short).into_owned()
}

/// Returns the beginning and the end of a name.
fn without_middle(name: &str) -> String {
    let half = (LONGEST - GAP.len()) / 2;
    let is_boundary = |at: &usize| name.is_char_boundary(*at);
    let begin = (0..=half).rev().find(is_boundary).unwrap_or(0);
    let end = (name.len() - half..name.len()).find(is_boundary).unwrap_or(name.len());
    format!("{}{GAP}{}", &name[..begin], &name[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the type of a service in so many layers.
    fn layers(count: usize) -> String {
        (0..count).fold("Router".to_owned(), |inner, layer| {
            format!("tower::layer{layer}::Layer<{inner}, fn() -> Vec<u8>>")
        })
    }

    #[test]
    fn inner_types_go_first() {
        let name =
            format!("<{} as tower::Service<Request<Body>>>::call::{{closure#0}}", layers(400));
        assert!(name.len() > 12_000);
        let short = shorten(&name);
        assert!((LONGEST / 2..=LONGEST).contains(&short.len()), "{short}");
        assert!(short.starts_with("<tower::layer399::Layer<tower::layer398::Layer<"), "{short}");
        assert!(
            short.ends_with(
                ", fn() -> Vec<u8>> as tower::Service<Request<Body>>>::call::{closure#0}"
            ),
            "{short}"
        );
        assert_eq!(short.matches('<').count(), short.replace("->", "").matches('>').count());
    }

    #[test]
    fn names_that_fit_and_names_without_types() {
        for name in ["", "main", &"x".repeat(LONGEST)] {
            assert!(matches!(shorten(name), Cow::Borrowed(same) if same == name));
        }
        let flat = shorten(&format!("begin{}end", "é".repeat(40_000))).into_owned();
        assert!(flat.len() <= LONGEST && flat.starts_with("begin") && flat.ends_with("end"));
        for broken in ["<".repeat(1000), ">".repeat(1000), "a<b".repeat(500), "->".repeat(400)] {
            assert!(shorten(&broken).len() <= LONGEST, "{broken}");
        }
    }
}
