//! The browser that the tests of the live page drive: Debian's Chromium with its driver.

use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::process;

const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// Installs it where it is missing. Where that can't be done, because this is no Debian or not root,
/// it says so; with `CI` set to `true` that is an error.
pub(crate) fn install() -> Result<()> {
    if is_there("chromedriver") && is_there("chromium") {
        return Ok(());
    }
    let done = process::run(&mut apt()).or_else(|_| {
        // The lists may be missing or old.
        process::run(Command::new("apt-get").args(["update", "--quiet=2"]))?;
        process::run(&mut apt())
    });
    match done {
        Err(error) if std::env::var_os("CI").is_none_or(|ci| ci != "true") => {
            eprintln!("no browser, the live page's tests will be skipped: {error}");
            Ok(())
        }
        Err(error) => Err(Error::Check(format!("the live page's tests need a browser: {error}"))),
        Ok(()) => Ok(()),
    }
}

fn is_there(program: &str) -> bool {
    let mut version = Command::new(program);
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["--quiet=2", "--yes", "--no-install-recommends", "install"]).args(PACKAGES);
    apt.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    apt
}
