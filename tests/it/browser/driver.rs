//! Chromium, driven over WebDriver by a client of a few lines.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::http::receive_head;

/// A browser with one tab. It ends with this.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    folder: TempDir,
    /// What it asked for so far.
    requests: RefCell<Vec<String>>,
}

/// How long the page may take for what it is waited for; far more than it needs.
const PATIENCE: Duration = Duration::from_secs(60);

fn spawn_driver() -> Option<Child> {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()
}

/// The port that a driver says it listens on.
fn port_of(driver: &mut Child) -> Option<u16> {
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.find_map(|line| {
        let line = line.unwrap();
        let port = line.rsplit_once("on port ")?.1.trim_end_matches('.').to_owned();
        line.contains("started successfully").then(|| port.parse().unwrap())
    });
    // What it says later goes nowhere, and must not stop it.
    std::thread::spawn(move || lines.for_each(drop));
    port
}

impl Browser {
    /// Starts one. `None` where there is no chromedriver, except in CI.
    pub(crate) fn start() -> Option<Browser> {
        // The port that one chooses may be another's by the time it listens: then it ends.
        let mut tries = 0;
        let (driver, port) = loop {
            let Some(mut driver) = spawn_driver() else {
                let message = "chromedriver is missing: run `cargo xtask tools`";
                assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{message}");
                eprintln!("skipped: {message}");
                return None;
            };
            if let Some(port) = port_of(&mut driver) {
                break (driver, port);
            }
            tries += 1;
            assert!(tries < 5, "chromedriver does not listen: {:?}", driver.wait());
        };
        let mut browser = Browser {
            driver,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            session: String::new(),
            folder: TempDir::new().unwrap(),
            requests: RefCell::default(),
        };
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            // Some versions draw nothing with WebGL unless they are told that software may.
            "--enable-unsafe-swiftshader",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--user-data-dir={}", browser.folder.path().join("user").display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let session = browser.command("POST", "/session", &wanted);
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        let downloads = browser.downloads();
        std::fs::create_dir(&downloads).unwrap();
        browser.devtools(
            "Browser.setDownloadBehavior",
            &json!({ "behavior": "allow", "downloadPath": downloads }),
        );
        Some(browser)
    }

    /// Where downloads end up.
    pub(crate) fn downloads(&self) -> PathBuf {
        self.folder.path().join("downloads")
    }

    pub(crate) fn open(&self, url: &str) {
        self.command("POST", &format!("{}/url", self.session), &json!({ "url": url }));
    }

    /// What a script returns: the body of a function.
    pub(crate) fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.command("POST", &format!("{}/execute/sync", self.session), &body)
    }

    /// The text of the first element that a selector finds; empty where it finds none.
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.textContent ?? ''");
        self.run(&script).as_str().unwrap().to_owned()
    }

    /// The texts of all elements that a selector finds.
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        let script = format!(
            "return [...document.querySelectorAll({selector:?})].map((one) => one.textContent)"
        );
        serde_json::from_value(self.run(&script)).unwrap()
    }

    pub(crate) fn click(&self, selector: &str) {
        let script = format!("document.querySelector({selector:?}).click()");
        self.run(&script);
    }

    /// Types into a field, as far as its listeners can tell.
    pub(crate) fn fill(&self, selector: &str, text: &str) {
        self.run(&format!(
            "const field = document.querySelector({selector:?}); field.value = {text:?}; \
             field.dispatchEvent(new Event('input', {{ bubbles: true }})); \
             field.dispatchEvent(new Event('change', {{ bubbles: true }}))"
        ));
    }

    /// Presses a key while an element has the focus.
    pub(crate) fn press(&self, selector: &str, key: &str) {
        self.run(&format!(
            "const one = document.querySelector({selector:?}); one.focus(); \
             one.dispatchEvent(new KeyboardEvent('keydown', {{ key: {key:?}, bubbles: true }}))"
        ));
    }

    /// Waits until a script returns something true.
    #[track_caller]
    pub(crate) fn wait(&self, script: &str) -> Value {
        let began = Instant::now();
        loop {
            let value = self.run(script);
            if !matches!(value, Value::Null | Value::Bool(false)) && value != json!("") {
                return value;
            }
            assert!(began.elapsed() < PATIENCE, "never true: {script}\n{}", self.text("body"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A command of the developer tools.
    pub(crate) fn devtools(&self, name: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": name, "params": parameters });
        self.command("POST", &format!("{}/goog/cdp/execute", self.session), &body)
    }

    /// Shows the page as on a screen of this width, at its full height, and keeps the picture.
    pub(crate) fn picture(&self, width: u32, path: &Path) {
        let resize = |height: u64| {
            let screen = json!({
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
            });
            self.devtools("Emulation.setDeviceMetricsOverride", &screen);
            // Two frames, so that what depends on the width has been drawn again.
            let drawn = "const done = arguments[arguments.length - 1]; \
                         requestAnimationFrame(() => requestAnimationFrame(() => done(true)))";
            let body = json!({ "script": drawn, "args": [] });
            self.command("POST", &format!("{}/execute/async", self.session), &body);
        };
        resize(900);
        let height = self.run("return document.documentElement.scrollHeight").as_u64().unwrap();
        resize(height.min(16_000));
        let shot = self.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
        let png = base64::engine::general_purpose::STANDARD
            .decode(shot["data"].as_str().unwrap())
            .unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, png).unwrap();
    }

    /// What the console says, less what a test expects.
    #[track_caller]
    pub(crate) fn is_quiet(&self, expected: &[&str]) {
        let log = self.log("browser");
        let odd: Vec<&str> = log
            .iter()
            .filter_map(|entry| entry["message"].as_str())
            .filter(|message| !expected.iter().any(|known| message.contains(known)))
            .collect();
        assert!(odd.is_empty(), "{odd:#?}");
    }

    /// The origins of all that was asked for so far.
    pub(crate) fn origins(&self) -> HashSet<String> {
        let mut requests = self.requests.borrow_mut();
        for entry in self.log("performance") {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            if event["message"]["method"] == "Network.requestWillBeSent" {
                let url = event["message"]["params"]["request"]["url"].as_str().unwrap();
                requests.push(url.to_owned());
            }
        }
        let outside = requests.iter().filter(|url| url.starts_with("http"));
        outside.map(|url| url.split('/').take(3).collect::<Vec<_>>().join("/")).collect()
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let log =
            self.command("POST", &format!("{}/se/log", self.session), &json!({ "type": kind }));
        log.as_array().unwrap().clone()
    }

    #[track_caller]
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let body = body.to_string();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let (status, answer) = answer(stream).unwrap();
        let value = answer["value"].clone();
        assert_eq!(status, 200, "{path} {body}: {value}");
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closing the session ends the browser; without one there is none.
        if !self.session.is_empty()
            && let Ok(mut stream) = TcpStream::connect(self.address)
        {
            let head = format!(
                "DELETE {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                self.session, self.address
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = answer(stream);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Reads one answer. The driver keeps the connection open, whatever it is told.
fn answer(stream: TcpStream) -> io::Result<(u16, Value)> {
    let mut reader = BufReader::new(stream);
    let (status, headers) = receive_head(&mut reader)?;
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((status, serde_json::from_slice(&body)?))
}
