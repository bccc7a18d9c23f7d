//! The `profilez` command from outside: what it prints where, what it leaves behind, and how it ends.

mod collecting;
mod demo;
mod fallback;
mod interrupts;
mod losses;
mod profiles;
mod reading;
pub(crate) mod sources;
mod tls;

use std::fmt::Display;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// How a run of the command ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        Ran { code: output.status.code(), stdout: output.stdout, stderr }
    }

    /// Fails unless the exit code is this one.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Ran {
        assert_eq!(self.code, Some(expected), "{}{}", self.text(), self.stderr);
        self
    }

    /// Fails unless the command failed with an error on one line that holds each of these, and
    /// printed nothing.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, expected: &[&str]) -> Ran {
        let ran = self.code(code);
        let error = ran.error();
        for part in expected {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
        assert_eq!(ran.text(), "", "{error}");
        ran
    }

    /// The line with the error. There is one.
    #[track_caller]
    fn error(&self) -> &str {
        let errors: Vec<_> =
            self.stderr.lines().filter_map(|line| line.strip_prefix("profilez: error: ")).collect();
        assert_eq!(errors.len(), 1, "{}", self.stderr);
        assert!(self.stderr.lines().all(|line| line.starts_with("profilez: ")), "{}", self.stderr);
        errors[0]
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap_or("(binary)")
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.text(), self.stderr))
    }
}

/// The command, out of reach of the settings of whoever runs the tests.
fn profilez<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_profilez"));
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let lower = name.to_lowercase();
        if name.starts_with("PROFILEZ_") || lower.contains("color") || lower.ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command
}

pub(crate) fn run<'a>(args: impl IntoIterator<Item = &'a str>) -> Ran {
    Ran::of(profilez(args).output().unwrap())
}

/// Starts the command, for a test that meddles with it.
fn start<'a>(args: impl IntoIterator<Item = &'a str>) -> Child {
    profilez(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn interrupt(child: &Child) {
    let kill = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

pub(crate) fn path(directory: &tempfile::TempDir, name: impl Display) -> String {
    directory.path().join(name.to_string()).to_str().unwrap().to_owned()
}

/// The names in a directory, sorted.
fn listed(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn shells_and_manuals_know_every_subcommand() {
    let help = run(["--help"]).code(0);
    let shown = help.text().split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: Vec<_> = shown.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let commands =
        ["collect", "report", "groups", "top", "inspect", "trace", "diff", "flame", "man"];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(["completions", shell]).code(0);
        for command in commands {
            assert!(names.contains(&command) && ran.text().contains(command), "{shell}: {command}");
        }
    }
    assert!(run(["completions", "tcsh"]).code(2).stderr.contains("tcsh"));
    assert!(run(["man"]).code(0).text().contains(".TH"));
    let directory = tempfile::tempdir().unwrap();
    let pages = path(&directory, "man1");
    run(["man", &pages]).code(0);
    let written = self::listed(&pages);
    for command in commands {
        assert!(written.contains(&format!("profilez-{command}.1")), "{command}: {written:?}");
    }
    run(["man", "/proc/nowhere"]).fails(1, &["/proc/nowhere"]);
}

#[test]
fn the_help_says_what_there_is() {
    let check = |args: &[&str], expected: &[&str]| {
        let ran = run(args.iter().copied()).code(0);
        for part in expected {
            assert!(ran.text().contains(part), "{args:?}: {part} is not in {}", ran.text());
        }
    };
    check(&["--help"], &["demo", "collect", "report", "inspect", "130", "--color"]);
    check(&["collect", "--help"], &["PROFILEZ_TOKEN", "--unix-socket", "--force", ".partial"]);
    check(&["demo", "--help"], &["--serve", "--output", "--json"]);
    check(&["report", "--help"], &["bundle.tar.gz:heap.prof", "standard input", "--json"]);
    check(&["inspect", "--help"], &["bundle.tar.gz:heap.prof", "standard input", "--json"]);
    check(&["--version"], &[env!("CARGO_PKG_VERSION")]);
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    let cases: &[&[&str]] = &[
        &[],
        &["nonsense"],
        &["collect"],
        &["collect", "localhost:1", "--duration", "soon"],
        &["collect", "localhost:1", "--timeout", "0s"],
        &["collect", "localhost:1", "--max-size", "-1"],
        &["collect", "localhost:1", "--token", "a", "--token-file", "b"],
        &["inspect"],
        &["report", "x", "--nonsense"],
        &["demo", "-o", "-"],
        &["demo", "--force"],
        &["demo", "--serve", "--json"],
        &["--color", "sometimes", "inspect", "x"],
    ];
    for args in cases {
        let ran = run(args.iter().copied()).code(2);
        assert!(ran.stdout.is_empty(), "{args:?}");
        assert!(!ran.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_service_that_can_not_be_meant_ends_with_2() {
    run(["collect", "ftp://localhost/"]).fails(2, &["ftp://localhost/", "http"]);
    run(["collect", "http://localhost:99999"]).fails(2, &["99999", "port"]);
    run(["collect", "localhost:1", "-H", "no colon"]).fails(2, &["Name: value"]);
    run(["collect", "localhost:1", "-o", "-", "--json"]).fails(2, &["-o FILE"]);
    run(["collect", "localhost:1", "localhost:2", "-o", "x"]).fails(2, &["directory"]);
    run(["collect", "localhost:1", "-d", "5s", "--timeout", "5s"]).fails(2, &["timeout"]);
    let ran = run(["collect", "localhost:1", "-d", "soon"]).code(2);
    assert!(ran.stderr.contains("such as 10s or 1m30s"), "{}", ran.stderr);
    let ran = run(["collect", "http://x:s3cret@localhost:99999"]).fails(2, &[]);
    assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);
}

#[test]
fn colours_come_when_they_are_wanted() {
    let check = |args: &[&str], variable: Option<(&str, &str)>, expected: bool| {
        let mut command = profilez(["inspect", "/nowhere/at/all"]);
        command.args(args).envs(variable);
        let ran = Ran::of(command.output().unwrap()).code(1);
        assert_eq!(ran.stderr.contains('\x1b'), expected, "{args:?} {variable:?} {}", ran.stderr);
    };
    check(&[], None, false);
    check(&["--color", "always"], None, true);
    check(&["--color", "always"], Some(("NO_COLOR", "1")), true);
    check(&["--color", "never"], Some(("CLICOLOR_FORCE", "1")), false);
    check(&[], Some(("CLICOLOR_FORCE", "1")), true);
    check(&[], Some(("NO_COLOR", "1")), false);
}
