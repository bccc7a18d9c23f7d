//! Services that others wrote in Go, for the tests that collect from them: taken out of Debian's
//! packages into `target/tools/services`, and installed nowhere, so that none is started or left.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::{Error, Result};
use crate::process::{self, root};

const PACKAGES: [&str; 4] = ["prometheus", "etcd-server", "caddy", "containerd"];

/// Downloads and unpacks what is missing. Where that can't be done, because this is no Debian or there
/// is no network, it says so; with `CI` set to `true` that is an error.
pub(crate) fn install() -> Result<()> {
    let folder = root().join("target/tools/services");
    let stamp = folder.join("stamp");
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let done = unpack(&folder).and_then(|()| {
        fs::write(&stamp, &wanted).map_err(|source| Error::File { path: stamp, source })
    });
    match done {
        Err(error) if std::env::var_os("CI").is_none_or(|ci| ci != "true") => {
            eprintln!("no services to collect from, their tests will be skipped: {error}");
            Ok(())
        }
        done => done,
    }
}

fn unpack(folder: &Path) -> Result<()> {
    if !Path::new("/usr/bin/dpkg-deb").exists() {
        return Err(Error::Check("they come from Debian's packages, and this is no Debian".into()));
    }
    let packages = folder.join("packages");
    let file_error = |source| Error::File { path: packages.clone(), source };
    fs::create_dir_all(&packages).map_err(file_error)?;
    if process::run(&mut download(&packages)).is_err() {
        // The lists may be missing or old; only root can renew them.
        process::run(Command::new("apt-get").args(["update", "--quiet=2"]))?;
        process::run(&mut download(&packages))?;
    }
    for entry in packages.read_dir().map_err(file_error)? {
        let path = entry.map_err(file_error)?.path();
        process::run(Command::new("dpkg-deb").arg("--extract").arg(path).arg(folder))?;
    }
    fs::remove_dir_all(&packages).map_err(file_error)
}

fn download(into: &Path) -> Command {
    let mut apt = Command::new("apt-get");
    // Its own user for downloads can't write here.
    apt.args(["--quiet=2", "-o", "APT::Sandbox::User=root", "download"]).args(PACKAGES);
    apt.current_dir(into);
    apt
}
