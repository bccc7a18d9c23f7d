//! Services that others wrote: whole bundles of Prometheus, etcd, Caddy and containerd, as Debian builds
//! them.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::command::{path, run};

/// A service while it runs, and the folder for all that it writes.
struct Running {
    child: Child,
    folder: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of `cargo xtask tools`. Without it the tests are skipped, except in CI.
fn program(name: &str) -> Option<PathBuf> {
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/services/usr/bin").join(name);
    if program.exists() {
        return Some(program);
    }
    let message = format!("{name} is missing: run `cargo xtask tools`");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{message}");
    eprintln!("skipped: {message}");
    None
}

/// Starts a service and waits until `is_up`; none if it ends before that.
fn start(
    program: &Path,
    arguments: impl FnOnce(&Path) -> Vec<String>,
    is_up: impl Fn(&Path) -> bool,
) -> Option<Running> {
    let folder = tempfile::tempdir().unwrap();
    let log = File::create(folder.path().join("log")).unwrap();
    let mut command = Command::new(program);
    command.args(arguments(folder.path())).current_dir(folder.path()).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(name, folder.path());
    }
    let mut running = Running { child: command.spawn().unwrap(), folder };
    let began = Instant::now();
    while !is_up(running.folder.path()) {
        if running.child.try_wait().unwrap().is_some() {
            eprintln!("{}", fs::read_to_string(running.folder.path().join("log")).unwrap());
            return None;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{} never came up", program.display());
        thread::sleep(Duration::from_millis(50));
    }
    Some(running)
}

/// A port that was free a moment ago.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Collects everything that is collected by default, and checks that it is there and can be read.
fn collect(running: &Running, service: &str, args: &[&str]) {
    let file = path(&running.folder, "x.tar.gz");
    let args = ["collect", "-d1s", "-o", &file].into_iter().chain(args.iter().copied());
    let ran = run(args).code(0);
    assert_eq!(ran.text(), format!("{file}\n"));
    let facts = run(["inspect", "--json", &file]).code(0).json();
    let manifest = &facts["manifest"];
    assert_eq!(manifest["source"], "individual");
    assert_eq!(manifest["service"], service);
    assert_eq!(manifest["errors"], serde_json::json!([]));
    assert_eq!(manifest["unavailable"], serde_json::json!([]));
    for kind in ["cpu", "heap", "allocs", "block", "mutex", "goroutine"] {
        let name = format!("{kind}.prof");
        let entry = facts["entries"].as_array().unwrap().iter().find(|e| e["name"] == *name);
        assert_eq!(entry.unwrap()["format"], "pprof", "{facts}");
    }
    let dump = run(["inspect", &format!("{file}:goroutine.txt")]);
    assert!(dump.code == Some(0) || dump.stderr.contains("dump"), "{}", dump.stderr);
    let report = run(["report", "--json", &file]).code(0).json();
    assert_eq!(report["notes"], serde_json::json!([]), "every entry was read");
    let report = run(["report", "-n", "0", &file]).code(0);
    assert!(report.text().contains(service));
    // What is in its profiles is chance; in its dump a server listens, and somebody writes the dump.
    for state in ["IO wait", "running"] {
        assert!(report.text().contains(state), "{state}: {}", report.text());
    }
    let top = run(["top", "-n", "0", &format!("{file}:goroutine.prof")]).code(0);
    assert!(top.text().contains("runtime."), "{}", top.text());
}

#[test]
fn prometheus() {
    let Some(program) = program("prometheus") else { return };
    let address = free();
    let arguments = |folder: &Path| {
        fs::write(folder.join("prometheus.yml"), "global: {}\n").unwrap();
        let words = ["--config.file=prometheus.yml", "--storage.tsdb.path=data"];
        let mut arguments = words.map(str::to_owned).to_vec();
        arguments.push(format!("--web.listen-address={address}"));
        arguments
    };
    let running = start(&program, arguments, |_| TcpStream::connect(&address).is_ok()).unwrap();
    collect(&running, "prometheus", &[&address]);
}

#[test]
fn etcd() {
    let Some(program) = program("etcd") else { return };
    let (clients, peers) = (free(), free());
    let arguments = |_: &Path| {
        let mut arguments = ["--data-dir=data", "--enable-pprof"].map(str::to_owned).to_vec();
        for option in ["listen-client-urls", "advertise-client-urls"] {
            arguments.push(format!("--{option}=http://{clients}"));
        }
        arguments.push(format!("--listen-peer-urls=http://{peers}"));
        arguments
    };
    let running = start(&program, arguments, |_| TcpStream::connect(&clients).is_ok()).unwrap();
    collect(&running, "etcd", &[&clients]);
}

#[test]
fn caddy() {
    let Some(program) = program("caddy") else { return };
    let address = free();
    let arguments = |folder: &Path| {
        let config = format!("{{\"admin\":{{\"listen\":\"{address}\"}}}}");
        fs::write(folder.join("caddy.json"), config).unwrap();
        ["run", "--config", "caddy.json"].map(str::to_owned).to_vec()
    };
    let running = start(&program, arguments, |_| TcpStream::connect(&address).is_ok()).unwrap();
    collect(&running, "caddy", &[&address]);
}

#[test]
fn containerd() {
    let Some(program) = program("containerd") else { return };
    let arguments = |folder: &Path| {
        let disabled = ["cri", "snapshotter.v1.btrfs", "snapshotter.v1.zfs"];
        let disabled = disabled.map(|name| match name {
            "cri" => "\"io.containerd.grpc.v1.cri\"".to_owned(),
            name => format!("\"io.containerd.{name}\""),
        });
        let folder = folder.display();
        let config = format!(
            "version = 2\nroot = \"{folder}/root\"\nstate = \"{folder}/state\"\n\
             disabled_plugins = [{}]\n[grpc]\naddress = \"{folder}/grpc.sock\"\n\
             [ttrpc]\naddress = \"{folder}/ttrpc.sock\"\n[debug]\naddress = \"{folder}/debug.sock\"\n",
            disabled.join(", ")
        );
        fs::write(format!("{folder}/config.toml"), config).unwrap();
        ["--config", "config.toml"].map(str::to_owned).to_vec()
    };
    let is_up = |folder: &Path| UnixStream::connect(folder.join("debug.sock")).is_ok();
    let Some(running) = start(&program, arguments, is_up) else {
        eprintln!("skipped: containerd does not start here; it needs root, and more of the kernel");
        return;
    };
    let socket = path(&running.folder, "debug.sock");
    collect(&running, "containerd", &["--unix-socket", &socket]);
}
