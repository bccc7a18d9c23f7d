//! The features of each crate, and the sets of them that `ci` lints and tests. The table is written
//! by hand, so that a change to it is seen in review; `check` compares it with the manifests, so that
//! no feature goes unseen.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::process::root;

/// A package, its folder and its public features, in the order of its manifest.
struct Crate {
    package: &'static str,
    folder: &'static str,
    features: &'static [&'static str],
    /// The sets whose tests run: those that select other code than larger ones do. What a feature
    /// only adds is tested with all of them.
    tested: &'static [Set],
}

/// A set of a crate's features.
#[derive(Clone, Copy, PartialEq)]
enum Set {
    None,
    One(&'static str),
    All,
}

impl Set {
    /// The set as flags of cargo.
    fn flags(self) -> String {
        match self {
            Set::None => "--no-default-features".to_owned(),
            Set::One(feature) => format!("--no-default-features --features {feature}"),
            Set::All => "--all-features".to_owned(),
        }
    }
}

const CRATES: &[Crate] = &[
    Crate { package: "profile-format", folder: "profile-format", features: &[], tested: &[] },
    Crate { package: "profile-archive", folder: "profile-archive", features: &[], tested: &[] },
    Crate { package: "profile-analysis", folder: "profile-analysis", features: &[], tested: &[] },
    Crate {
        package: "profile-core",
        folder: "profile-core",
        features: &[
            "sampler",
            "intercept",
            "pprof-rs",
            "heap",
            "jemalloc",
            "tokio",
            "await-tree",
            "tracing",
        ],
        // Without `sampler` there is another CPU engine or none, without `intercept` waits are
        // sampled, and without `jemalloc` the wrapper is the only feeder.
        tested: &[
            Set::None,
            Set::One("sampler"),
            Set::One("intercept"),
            Set::One("pprof-rs"),
            Set::One("heap"),
            Set::All,
        ],
    },
    Crate {
        package: "profile-http",
        folder: "profile-http",
        features: &["server", "tower", "client", "tls"],
        tested: &[Set::One("server"), Set::One("client"), Set::All],
    },
    Crate {
        package: "profilez",
        folder: ".",
        features: &[
            "cli",
            "server",
            "client",
            "tls",
            "sampler",
            "intercept",
            "pprof-rs",
            "heap",
            "jemalloc",
            "tokio",
            "await-tree",
            "tracing",
            "tower",
        ],
        // Its features choose among those of the other crates. With all of them the tests of the
        // whole workspace have run already.
        tested: &[Set::None],
    },
];

/// Each package with the flags for one set of features that is built by itself: none, and each one
/// alone.
pub(crate) fn single() -> Vec<(&'static str, String)> {
    let sets = |of: &Crate| {
        let ones = of.features.iter().map(|feature| Set::One(feature));
        std::iter::once(Set::None).chain(ones).collect::<Vec<_>>()
    };
    CRATES.iter().flat_map(|of| sets(of).into_iter().map(|set| (of.package, set.flags()))).collect()
}

/// Each package with the flags for one set of features whose tests run.
pub(crate) fn tested() -> Vec<(&'static str, String)> {
    CRATES.iter().flat_map(|of| of.tested.iter().map(|set| (of.package, set.flags()))).collect()
}

/// Compares the table with the manifest of every package in the repository.
pub(crate) fn check() -> Result<()> {
    compare(root(), ".")?;
    for package in packages()? {
        let folder = package.file_name().unwrap_or_default().to_string_lossy();
        compare(&package, &folder)?;
    }
    Ok(())
}

/// The folders with a manifest just below the root, where all packages but the root's are. What is a
/// workspace of its own has features of its own.
pub(crate) fn packages() -> Result<Vec<PathBuf>> {
    let file_error = |source| Error::File { path: root().to_owned(), source };
    let mut packages = Vec::new();
    for entry in root().read_dir().map_err(file_error)? {
        let path = entry.map_err(file_error)?.path();
        let manifest = fs::read_to_string(path.join("Cargo.toml"));
        if manifest.is_ok_and(|manifest| !manifest.contains("[workspace]")) {
            packages.push(path);
        }
    }
    packages.sort();
    Ok(packages)
}

fn compare(package: &Path, folder: &str) -> Result<()> {
    let path = package.join("Cargo.toml");
    let manifest = fs::read_to_string(&path).map_err(|source| Error::File { path, source })?;
    let declared = declared(&manifest);
    let listed = CRATES.iter().find(|known| known.folder == folder).map_or(&[][..], |c| c.features);
    if declared == listed {
        return Ok(());
    }
    Err(Error::Check(format!(
        "{folder}/Cargo.toml declares the features [{}], but xtask/src/features.rs lists [{}]",
        declared.join(", "),
        listed.join(", ")
    )))
}

/// The names in the `[features]` section but for `default` and those with a leading underscore,
/// which only other features turn on. It reads the layout that our manifests have: a name stands
/// first in its line, and the lines of a list that go on below it begin with a quote or a bracket.
fn declared(manifest: &str) -> Vec<&str> {
    let section = manifest.lines().map(str::trim).skip_while(|line| *line != "[features]").skip(1);
    section
        .take_while(|line| !line.starts_with('[') || line.starts_with("[\""))
        .filter(|line| !line.starts_with(['#', '"', ']']))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().trim_matches('"'))
        .filter(|name| *name != "default" && !name.starts_with('_'))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_read_from_the_features_section_only() {
        let manifest = r#"
[package]
name = "x"

[features]
default = ["cli"]
# A comment with a = sign.
cli = [
    "server", "dep:clap", # why = because
]
server = ["dep:http"]
bare=[]
_inner = []

[dependencies]
serde = "1"
"#;
        assert_eq!(declared(manifest), ["cli", "server", "bare"]);
        assert_eq!(declared("[package]\nname = \"x\"\n"), [""; 0]);
    }

    #[test]
    fn the_table_is_what_the_manifests_declare() {
        check().unwrap();
    }

    fn of_core(sets: Vec<(&'static str, String)>) -> Vec<String> {
        sets.into_iter().filter(|(package, _)| *package == "profile-core").map(|(_, f)| f).collect()
    }

    #[test]
    fn each_crate_is_linted_bare_and_with_each_feature() {
        assert_eq!(
            of_core(single()),
            [
                "--no-default-features",
                "--no-default-features --features sampler",
                "--no-default-features --features intercept",
                "--no-default-features --features pprof-rs",
                "--no-default-features --features heap",
                "--no-default-features --features jemalloc",
                "--no-default-features --features tokio",
                "--no-default-features --features await-tree",
                "--no-default-features --features tracing",
            ]
        );
        let packages: BTreeSet<&str> = single().into_iter().map(|(package, _)| package).collect();
        assert_eq!(packages.len(), CRATES.len());
    }

    #[test]
    fn what_selects_other_code_is_tested() {
        assert_eq!(
            of_core(tested()),
            [
                "--no-default-features",
                "--no-default-features --features sampler",
                "--no-default-features --features intercept",
                "--no-default-features --features pprof-rs",
                "--no-default-features --features heap",
                "--all-features",
            ]
        );
        for of in CRATES {
            for set in of.tested {
                assert!(!matches!(set, Set::One(feature) if !of.features.contains(feature)));
            }
        }
    }
}
