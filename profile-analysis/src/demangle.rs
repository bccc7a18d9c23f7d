//! Names as people write them: what compilers have mangled is undone, and of functions of C++ the
//! types of arguments and templates are left out, as `go tool pprof` does. So a function is one row
//! whatever it was made for.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// The most bytes of a name; a mangled one of a few bytes can stand for millions.
const LONGEST: usize = 4 << 10;

/// Returns a name without its mangling.
pub(crate) fn demangle(name: &str) -> Cow<'_, str> {
    let mangled = name.strip_prefix("__").map_or(name, |_| &name[1..]);
    if !mangled.starts_with("_R") && !mangled.starts_with("_Z") {
        return match is_cpp(name) {
            true => shorten_cpp(name).into(),
            false => name.into(),
        };
    }
    let rust = rustc_demangle::try_demangle(mangled).ok();
    if let Some(name) =
        rust.and_then(|symbol| BoundedText::write(|text| write!(text, "{symbol:#}")))
    {
        return name.into();
    }
    let options = cpp_demangle::DemangleOptions::new().no_params().no_return_type();
    let cpp = cpp_demangle::Symbol::new(mangled).ok();
    let cpp = cpp.and_then(|symbol| {
        BoundedText::write(|text| {
            symbol.structured_demangle(text, &options).map_err(|_| fmt::Error)
        })
    });
    cpp.map_or(Cow::Borrowed(name), |name| shorten_cpp(&name).into())
}

/// Returns whether a name is of C++, with its arguments: those of Rust and Go don't end in them.
fn is_cpp(name: &str) -> bool {
    let end = name.trim_end_matches(" const");
    end.ends_with(')') && end.contains("::") && !name.starts_with('<') && !name.contains("]).")
}

/// Returns a name of C++ without arguments and templates.
fn shorten_cpp(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    let (mut rest, mut depth) = (name, 0_usize);
    while let Some(c) = rest.chars().next() {
        // These are part of names.
        let kept =
            ["(anonymous namespace)", "operator()", "operator<=>", "operator<<", "operator>>"]
                .into_iter()
                .chain(["operator->", "operator<", "operator>"])
                .find(|kept| depth == 0 && rest.starts_with(kept));
        if let Some(kept) = kept {
            short.push_str(kept);
            rest = &rest[kept.len()..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '(' | '<' => depth += 1,
            ')' | '>' if depth > 0 => depth -= 1,
            c if depth == 0 => short.push(c),
            _ => {}
        }
    }
    let short = short.trim_end_matches(" const").trim();
    if short.is_empty() { name.to_owned() } else { short.to_owned() }
}

/// A text that ends where it is long enough.
struct BoundedText(String);

impl BoundedText {
    /// Returns what a function writes; `None` where it fails or writes too much.
    fn write(write: impl FnOnce(&mut BoundedText) -> fmt::Result) -> Option<String> {
        let mut text = BoundedText(String::new());
        write(&mut text).ok().map(|()| text.0)
    }
}

impl Write for BoundedText {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.0.len() + part.len() > LONGEST {
            return Err(fmt::Error);
        }
        self.0.push_str(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_people_write_them() {
        for (name, expected) in [
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("__ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector::push_back"),
            (
                "std::vector<int, std::allocator<int> >::push_back(int const&)",
                "std::vector::push_back",
            ),
            ("ns::(anonymous namespace)::f(int) const", "ns::(anonymous namespace)::f"),
            ("ns::F::operator()(int)", "ns::F::operator()"),
            ("shop.(*Ring[go.shape.*uint8]).Pop", "shop.(*Ring[go.shape.*uint8]).Pop"),
            ("<alloc::vec::Vec<T> as shop::Cut>::cut", "<alloc::vec::Vec<T> as shop::Cut>::cut"),
            ("core::ptr::drop_in_place<(u8, u8)>", "core::ptr::drop_in_place<(u8, u8)>"),
            ("main.main;evil\nname <script>", "main.main;evil\nname <script>"),
            ("_Rnonsense", "_Rnonsense"),
            ("_Z", "_Z"),
            ("", ""),
        ] {
            assert_eq!(demangle(name), expected);
        }
    }

    #[test]
    fn a_name_that_stands_for_millions_stays_as_it_is() {
        // Each of them is twice the one before it.
        let mut name = "_Z1fI1a".to_owned();
        for seed in 0..30 {
            name += &format!(
                "St4pairIS{0}_S{0}_E",
                if seed == 0 { String::new() } else { format!("{seed}") }
            );
        }
        assert!(demangle(&name).len() <= LONGEST.max(name.len()));
    }
}
