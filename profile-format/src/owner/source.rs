//! The crate that a source file is of, told from its path alone.

use std::borrow::Cow;

/// A source file of a crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CrateFile<'a> {
    /// Name of the crate or of its repository, with `-` or `_` as the folder has it.
    pub(super) name: &'a str,
    /// The path within the crate.
    pub(super) path: &'a str,
    pub(super) home: CrateHome,
}

/// The kind of folder that a crate's source lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CrateHome {
    /// The standard library's.
    Standard,
    /// Nobody works in there: it was downloaded, unpacked or built from such a folder.
    Downloaded,
    /// One that carries a crate's name, and may be somebody's own.
    Named,
}

/// Returns a path with slashes; nothing where dumps have a mark for a file that is not known.
pub(super) fn with_slashes(file: &str) -> Cow<'_, str> {
    if file.bytes().all(|byte| byte == b'?') {
        return "".into();
    }
    if file.contains('\\') { file.replace('\\', "/").into() } else { file.into() }
}

/// Hexadecimal digits behind the names of cargo's folders.
const HASH: usize = 16;

impl<'a> CrateFile<'a> {
    /// Finds the crate of a file, its path with slashes. `None` where the path names none.
    pub(super) fn locate(file: &'a str) -> Option<CrateFile<'a>> {
        standard(file)
            .or_else(|| downloaded(file))
            .or_else(|| build_script(file))
            .or_else(|| named(file))
    }

    /// Returns the path below the crate's `src`, without the ending.
    pub(super) fn module_path(&self) -> &'a str {
        module_path(self.path)
    }
}

/// Returns the part of a path that says which module it is of: below the last `src`, without what
/// every crate or folder has.
pub(super) fn module_path(path: &str) -> &str {
    let below = path.rsplit_once("/src/").map_or(path, |(_, below)| below);
    let below = below.strip_prefix("src/").unwrap_or(below);
    let module = below.strip_suffix(".rs").unwrap_or(below);
    let module = module.strip_suffix("/mod").unwrap_or(module);
    if matches!(module, "lib" | "main" | "mod") { "" } else { module }
}

fn standard(file: &str) -> Option<CrateFile<'_>> {
    let in_library = || {
        let (_, rest) = file.split_once("/rustc/")?;
        rest.split_once("/library/").map(|(_, below)| below)
    };
    let in_toolchain = || file.split_once("/lib/rustlib/src/rust/library/").map(|(_, below)| below);
    if let Some(below) = in_library().or_else(in_toolchain) {
        let (name, path) = below.split_once('/')?;
        return Some(CrateFile { name, path, home: CrateHome::Standard });
    }
    if let Some(below) = file.strip_prefix("/rust/deps/") {
        let (folder, path) = below.split_once('/')?;
        let name = without_version(folder).unwrap_or(folder);
        return Some(CrateFile { name, path, home: CrateHome::Standard });
    }
    let (name, path) = file.strip_prefix("library/")?.split_once('/')?;
    let is_standard = ["std", "core", "alloc"].contains(&name) && path.starts_with("src/");
    is_standard.then_some(CrateFile { name, path, home: CrateHome::Standard })
}

/// Finds the crate below a registry, a checkout or a vendor's folder.
fn downloaded(file: &str) -> Option<CrateFile<'_>> {
    let home = CrateHome::Downloaded;
    if let Some(below) = below_folders(file, "registry/").next() {
        // Debian's has neither `src` nor an index.
        let indexed = below.strip_prefix("src/").and_then(|below| below.split_once('/'));
        let below = indexed.map_or(below, |(_index, below)| below);
        if let Some((folder, path)) = below.split_once('/')
            && let Some(name) = without_version(folder)
        {
            return Some(CrateFile { name, path, home });
        }
    }
    if let Some(below) = below_folders(file, "git/checkouts/").next() {
        let (folder, below) = below.split_once('/')?;
        let (_revision, path) = below.split_once('/')?;
        // A repository of several crates has a folder for each.
        let of_member = path.split_once("/src/").and_then(|(before, _)| before.rsplit('/').next());
        let name = of_member.or_else(|| without_hash(folder)).unwrap_or(folder);
        return Some(CrateFile { name, path, home });
    }
    let (folder, path) = below_folders(file, "vendor/").next()?.split_once('/')?;
    let is_code = [".rs", ".c", ".h", ".cc", ".cpp", ".S"].iter().any(|end| file.ends_with(end));
    let name = without_version(folder).unwrap_or(folder);
    is_code.then_some(CrateFile { name, path, home })
}

/// Finds the crate whose build script compiled a file: `build/<crate>-<hash>/out/`.
fn build_script(file: &str) -> Option<CrateFile<'_>> {
    below_folders(file, "build/").find_map(|below| {
        let (folder, below) = below.split_once('/')?;
        let path = below.strip_prefix("out/")?;
        let name = without_hash(folder)?;
        Some(CrateFile { name, path, home: CrateHome::Downloaded })
    })
}

/// Finds a folder `<crate>-<version>/src` or `<crate>/src`, whoever put it there.
fn named(file: &str) -> Option<CrateFile<'_>> {
    let at = file.rfind("/src/").or_else(|| file.rfind("/include/"))?;
    let folder = file[..at].rsplit('/').next().unwrap_or_default();
    let name = without_version(folder).unwrap_or(folder);
    // Bazel's folders say where the crate came from.
    let name = name.rsplit_once("__").map_or(name, |(_, name)| name);
    let path = &file[at + 1..];
    (!name.is_empty()).then_some(CrateFile { name, path, home: CrateHome::Named })
}

/// Returns the parts of a path below each folder of a name, which ends in a slash; the last first.
fn below_folders<'a>(file: &'a str, folder: &'a str) -> impl Iterator<Item = &'a str> {
    let found = file.rmatch_indices(folder).map(|(at, _)| at);
    let whole = found.filter(|&at| at == 0 || file.as_bytes()[at - 1] == b'/');
    whole.map(|at| &file[at + folder.len()..])
}

/// Returns a name without the version behind it; `None` where there is none.
fn without_version(folder: &str) -> Option<&str> {
    folder.match_indices('-').find_map(|(at, _)| {
        let version = &folder[at + 1..];
        let digits = version.bytes().take_while(u8::is_ascii_digit).count();
        let is_version = digits > 0 && version.as_bytes().get(digits) == Some(&b'.');
        is_version.then_some(&folder[..at])
    })
}

/// Returns a name without the hash behind it; `None` where there is none.
fn without_hash(folder: &str) -> Option<&str> {
    let (name, hash) = folder.rsplit_once('-')?;
    let is_hash = hash.len() == HASH && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, expected: Option<(&str, &str, CrateHome)>) {
        let file = with_slashes(file);
        let found = CrateFile::locate(&file);
        let found = found.as_ref().map(|found| (found.name, found.module_path(), found.home));
        assert_eq!(found, expected, "{file}");
    }

    #[test]
    fn tells_the_crate_of_each_kind_of_path() {
        use CrateHome::{Downloaded, Named, Standard};
        let index = "/home/u/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";
        let hash = "59807616e1fa2540724bfbac14d7976d7e4a3860";
        check(
            &format!("/rustc/{hash}/library/std/src/sys/sync/mutex/futex.rs"),
            Some(("std", "sys/sync/mutex/futex", Standard)),
        );
        check(
            &format!("/rustc/{hash}/library\\core\\src\\ops\\function.rs"),
            Some(("core", "ops/function", Standard)),
        );
        check(
            "/u/.rustup/toolchains/1.88/lib/rustlib/src/rust/library/alloc/src/vec/mod.rs",
            Some(("alloc", "vec", Standard)),
        );
        check("library/std/src/rt.rs", Some(("std", "rt", Standard)));
        check("library/books/src/rt.rs", Some(("books", "rt", Named)));
        check("/rust/deps/hashbrown-0.15.2/src/lib.rs", Some(("hashbrown", "", Standard)));
        let park = "runtime/scheduler/multi_thread/park";
        check(&format!("{index}/tokio-1.48.0/src/{park}.rs"), Some(("tokio", park, Downloaded)));
        check(
            r"C:\Users\u\.cargo\registry\src\index.crates.io-6f17d22bba15001f\rayon-core-1.13.0\src\sleep\mod.rs",
            Some(("rayon-core", "sleep", Downloaded)),
        );
        check("/usr/share/cargo/registry/mio-1.0.3/src/poll.rs", Some(("mio", "poll", Downloaded)));
        check(
            "/root/.cargo/git/checkouts/tokio-0123456789abcdef/1a2b3c4/tokio/src/park.rs",
            Some(("tokio", "park", Downloaded)),
        );
        check(
            "/root/.cargo/git/checkouts/flume-0123456789abcdef/1a2b3c4/src/lib.rs",
            Some(("flume", "", Downloaded)),
        );
        check("/app/vendor/smol/src/main.rs", Some(("smol", "", Downloaded)));
        check("vendor/parking-2.2.1/src/lib.rs", Some(("parking", "", Downloaded)));
        check("/app/vendor/github.com/a/b.go", None);
        let jemalloc = "target/release/build/tikv-jemalloc-sys-d1f583d6c3715701/out/build/src";
        check(
            &format!("/app/{jemalloc}/prof.c"),
            Some(("tikv-jemalloc-sys", "prof.c", Downloaded)),
        );
        check("/build/external/crates__mio-1.0.3/src/lib.rs", Some(("mio", "", Named)));
        check("/usr/src/jemalloc-5.3.0/src/arena.c", Some(("jemalloc", "arena.c", Named)));
        check("/builds/shop-1.2.3/src/cart.rs", Some(("shop", "cart", Named)));
        for nothing in ["", "src/main.rs", "/src/alloc.rs", "registry/", "/git/checkouts/a", "-"] {
            check(nothing, None);
        }
    }
}
