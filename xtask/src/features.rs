//! The features of each crate, and the sets of them that `ci` lints and tests. The table is written
//! by hand, so that a change to it is seen in review; `check` compares it with the manifests, so that
//! no feature goes unseen.

use crate::error::{Error, Result};
use crate::packages::{WorkspacePackage, workspace_packages};

/// A package and its public features.
struct Crate {
    package: &'static str,
    features: &'static [&'static str],
    /// The sets whose tests run: those that select other code than larger ones do. What a feature
    /// only adds is tested with all of them, which the tests of the whole workspace are.
    tested: &'static [Set],
}

/// A set of a crate's features.
#[derive(Clone, Copy, PartialEq)]
enum Set {
    None,
    One(&'static str),
}

impl Set {
    /// The set as flags of cargo.
    fn flags(self) -> String {
        match self {
            Set::None => "--no-default-features".to_owned(),
            Set::One(feature) => format!("--no-default-features --features {feature}"),
        }
    }
}

const CRATES: &[Crate] = &[
    Crate { package: "profile-format", features: &[], tested: &[] },
    Crate { package: "profile-archive", features: &[], tested: &[] },
    Crate { package: "profile-analysis", features: &[], tested: &[] },
    Crate {
        package: "profile-core",
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
        ],
    },
    Crate {
        package: "profile-http",
        features: &["server", "tower", "client", "tls"],
        tested: &[Set::One("server"), Set::One("client")],
    },
    Crate {
        package: "profilez",
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
        // Its features choose among those of the other crates.
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

/// Compares the table with the manifest of every package in the workspace.
pub(crate) fn check() -> Result<()> {
    workspace_packages()?.iter().try_for_each(compare)
}

fn compare(package: &WorkspacePackage) -> Result<()> {
    let known = CRATES.iter().find(|known| known.package == package.name);
    let mut listed = known.map_or_else(Vec::new, |known| known.features.to_vec());
    listed.sort_unstable();
    if package.features == listed {
        return Ok(());
    }
    Err(Error::Check(format!(
        "the manifest of {} declares the features [{}], but xtask/src/features.rs lists [{}]",
        package.name,
        package.features.join(", "),
        listed.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

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
            ]
        );
        for of in CRATES {
            for set in of.tested {
                assert!(!matches!(set, Set::One(feature) if !of.features.contains(feature)));
            }
        }
    }
}
