//! The packages of the workspace as cargo knows them: what their manifests declare, in whatever layout.
//! What is a workspace of its own is not among them.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::process::{capture, cargo};

/// A package of the workspace.
#[derive(Debug, PartialEq)]
pub(crate) struct WorkspacePackage {
    pub(crate) name: String,
    /// All but `default` and those with a leading underscore, which only other features turn on; sorted.
    pub(crate) features: Vec<String>,
}

/// Asks cargo for all of them.
pub(crate) fn workspace_packages() -> Result<Vec<WorkspacePackage>> {
    parse_metadata(&capture(&mut cargo("metadata --no-deps --format-version 1"))?)
}

/// Reads what `cargo metadata` writes.
fn parse_metadata(text: &str) -> Result<Vec<WorkspacePackage>> {
    let malformed =
        || Error::Check("`cargo metadata` writes something else than it did".to_owned());
    let metadata: Value = serde_json::from_str(text).map_err(|_| malformed())?;
    let packages = metadata["packages"].as_array().ok_or_else(malformed)?;
    packages.iter().map(|package| parse_package(package).ok_or_else(malformed)).collect()
}

fn parse_package(package: &Value) -> Option<WorkspacePackage> {
    let is_public = |name: &&String| *name != "default" && !name.starts_with('_');
    let mut features: Vec<String> =
        package["features"].as_object()?.keys().filter(is_public).cloned().collect();
    features.sort_unstable();
    Some(WorkspacePackage { name: package["name"].as_str()?.to_owned(), features })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_features_are_read() {
        let text = r#"{
            "packages": [
                {
                    "name": "x",
                    "features": { "server": [], "default": ["cli"], "cli": ["server"], "_inner": [] }
                },
                { "name": "y", "features": {} }
            ]
        }"#;
        let package = |name: &str, features: &[&str]| WorkspacePackage {
            name: name.to_owned(),
            features: features.iter().map(|&name| name.to_owned()).collect(),
        };
        let expected = [package("x", &["cli", "server"]), package("y", &[])];
        assert_eq!(parse_metadata(text).unwrap(), expected);
    }

    #[test]
    fn other_output_is_an_error() {
        for text in ["", "{}", r#"{"packages": [{"name": "x"}]}"#] {
            assert!(parse_metadata(text).is_err(), "{text}");
        }
    }
}
