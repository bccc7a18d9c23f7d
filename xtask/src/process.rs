//! Running other programs from the root of the workspace: each one is echoed on stderr before it
//! starts, and named by its whole command line when it fails. What to run is up to the callers.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask is a folder of the workspace")
}

/// The cargo that runs us, with these words as its arguments.
pub(crate) fn cargo(words: &str) -> Command {
    let mut command = Command::new(cargo_program());
    command.args(words.split_whitespace()).current_dir(root());
    command
}

/// Runs a program whose output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = echo(command);
    let status =
        command.status().map_err(|source| Error::Start { command: line.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { command: line, status }) }
}

/// Runs a program and returns what it wrote to stdout; its stderr goes where ours goes.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = echo(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Error::Start { command: line.clone(), source })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    eprint!("{text}");
    Err(Error::Failed { command: line, status: output.status })
}

fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn echo(command: &Command) -> String {
    let line = render(command);
    eprintln!("$ {line}");
    line
}

/// The command as one would type it at the root of the workspace.
fn render(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.to_string_lossy(), quote(value)));
        }
    }
    let program = command.get_program();
    if program == cargo_program() {
        words.push("cargo".to_owned());
    } else {
        words.push(quote(program));
    }
    words.extend(command.get_args().map(quote));
    words.join(" ")
}

fn quote(word: &OsStr) -> String {
    let word = Path::new(word).strip_prefix(root()).map_or(word, Path::as_os_str).to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let shown = render(cargo("doc --no-deps").env("RUSTDOCFLAGS", "-D warnings"));
        assert_eq!(shown, "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");

        let mut inside = Command::new(root().join("target/tools/venv/bin/go"));
        inside.args(["version", "it's", "*"]);
        assert_eq!(render(&inside), r"target/tools/venv/bin/go version 'it'\''s' '*'");
    }
}
