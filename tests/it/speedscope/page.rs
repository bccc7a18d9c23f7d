//! Speedscope's page, served to Chromium with the file that it is to open.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::driver::Browser;

/// Speedscope's page, as `cargo xtask tools` installs it. Without it what it would show is not looked at,
/// except in CI.
fn page() -> Option<PathBuf> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/tools/node/node_modules/speedscope/dist/release");
    if page.join("index.html").exists() {
        return Some(page);
    }
    let message = "speedscope is missing: run `cargo xtask tools`";
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{message}");
    eprintln!("skipped: {message}");
    None
}

/// Serves the files of a folder, and one more, until the process ends. Returns the origin.
fn serve(folder: PathBuf, name: &str, bytes: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let files = Arc::new((folder, name.to_owned(), bytes.to_owned()));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let files = Arc::clone(&files);
            // Some connections a browser opens in advance, and leaves.
            thread::spawn(move || answer(&stream.unwrap(), &files.0, &files.1, &files.2));
        }
    });
    origin
}

/// Answers one request with a file of the folder or the one more.
fn answer(mut stream: &TcpStream, folder: &Path, name: &str, bytes: &[u8]) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let line = lines.next()?;
    lines.find(String::is_empty)?;
    let asked = line.split(' ').nth(1)?.trim_start_matches('/');
    let body = match asked {
        "" => fs::read(folder.join("index.html")).ok(),
        asked if asked == name => Some(bytes.to_owned()),
        asked => fs::read(folder.join(asked)).ok(),
    };
    let kind = match asked.rsplit_once('.').map_or("html", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css",
        "json" => "application/json",
        "png" => "image/png",
        _ => "application/octet-stream",
    };
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok()
}

/// One of the profiles of a file as speedscope shows them; of a trace they are the threads.
pub(super) struct Shown {
    /// What the toolbar says: the name, and which of how many it is.
    pub(super) title: String,
    /// The table of the view `Sandwich`: each function's name, total and self as they are printed.
    pub(super) rows: Vec<[String; 3]>,
    /// The calls, as they are exported, in the order in which they end.
    pub(super) calls: Vec<Call>,
}

#[derive(Debug)]
pub(super) struct Call {
    /// The functions' names, from the root to the call's own.
    pub(super) stack: Vec<String>,
    pub(super) at: f64,
    pub(super) until: f64,
    /// What was not in other calls.
    pub(super) itself: f64,
}

/// What the console says of a page where nothing is wrong.
const USUAL: [&str; 7] = [
    "\"speedscope v",
    "\"WebGL initialized.",
    "Automatic fallback to software WebGL",
    "GPU stall due to ReadPixels",
    "\"Importing as ",
    "\"import: ",
    "\"Saving\" ",
];

/// Opens a file in speedscope. It has to say nothing unusual of it, and to ask nobody else.
/// `None` where there is no speedscope or no browser.
#[track_caller]
pub(super) fn show(name: &str, bytes: &[u8]) -> Option<Vec<Shown>> {
    let origin = serve(page()?, name, bytes);
    let browser = Browser::start()?;
    // So high that the table, which has only the rows that can be seen, has them all.
    let screen = json!({ "width": 1280, "height": 4000, "deviceScaleFactor": 1, "mobile": false });
    browser.devtools("Emulation.setDeviceMetricsOverride", &screen);
    browser.open(&format!("{origin}/#profileURL={origin}/{name}"));
    let tab = |text: &str| {
        format!(
            "[...document.querySelectorAll('div')].findLast((one) => \
             one.textContent.endsWith({text:?}) && one.firstElementChild?.tagName === 'SPAN')"
        )
    };
    let wrong = "document.body.textContent.includes('Something went wrong')";
    browser.wait(&format!("return {} !== undefined || {wrong}", tab("Sandwich")));
    browser.is_quiet(&USUAL);
    let began = Instant::now();
    while coloured(&browser) < 1000 {
        assert!(began.elapsed() < Duration::from_secs(60), "no flame graph is drawn");
    }

    browser.run(&format!("{}.click()", tab("Sandwich")));
    // The table of profiles to choose from has no shares.
    let rows = "[...document.querySelectorAll('tr')].map((row) => [...row.children]) \
                .filter((cells) => cells[0].textContent.endsWith('%)')) \
                .map((cells) => [2, 0, 1].map((cell) => cells[cell].textContent))";
    let title = format!("{}.parentElement.parentElement.childNodes", tab("Sandwich"));
    let title = format!("[...{title}].slice(1, -1).map((one) => one.textContent).join('')");
    let table = |of: &str| {
        let shown = format!("rows.length > 0 && title.includes({of:?}) && [title, rows]");
        let found = browser.wait(&format!("const rows = {rows}, title = {title}; return {shown}"));
        let (title, rows): (String, _) = serde_json::from_value(found).unwrap();
        // The list to choose from is behind it.
        (title.split('#').next().unwrap().to_owned(), rows)
    };
    let mut tables: Vec<(String, Vec<[String; 3]>)> = vec![table("")];
    let count = tables[0].0.split("(1/").nth(1).map_or(1, |count| {
        let count = count.trim_end_matches(')');
        count.parse().unwrap()
    });
    for number in 2..=count {
        browser.run("window.dispatchEvent(new KeyboardEvent('keypress', { key: 'n' }))");
        tables.push(table(&format!("({number}/{count})")));
    }

    browser.run(&format!("{}.click()", tab("Export")));
    let began = Instant::now();
    let exported: Value = loop {
        let mut files = fs::read_dir(browser.downloads()).unwrap().map(|file| file.unwrap().path());
        let file = files.find(|file| file.extension().is_some_and(|ending| ending == "json"));
        // It is there before all of it is.
        let text = file.map(|file| fs::read(file).unwrap()).unwrap_or_default();
        if let Ok(whole) = serde_json::from_slice(&text) {
            break whole;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is exported");
        thread::sleep(Duration::from_millis(50));
    };
    browser.is_quiet(&USUAL);
    assert_eq!(browser.origins().into_iter().collect::<Vec<_>>(), [origin]);
    let profiles = exported["profiles"].as_array().unwrap();
    assert_eq!(tables.len(), profiles.len());
    let shown = tables.into_iter().zip(profiles).map(|((title, rows), profile)| {
        assert!(title.contains(profile["name"].as_str().unwrap()), "{title}");
        Shown { title, rows, calls: calls(&exported["shared"]["frames"], profile) }
    });
    Some(shown.collect())
}

/// Reads an exported profile.
fn calls(frames: &Value, profile: &Value) -> Vec<Call> {
    let (mut stack, mut open) = (Vec::new(), Vec::new());
    let mut calls = Vec::new();
    for event in profile["events"].as_array().unwrap() {
        let name = frames[event["frame"].as_u64().unwrap() as usize]["name"].as_str().unwrap();
        let now = event["at"].as_f64().unwrap();
        if event["type"] == "O" {
            stack.push(name.to_owned());
            open.push((now, 0.0));
            continue;
        }
        assert_eq!(stack.last().unwrap(), name);
        let (at, in_others) = open.pop().unwrap();
        if let Some((_, in_others)) = open.last_mut() {
            *in_others += now - at;
        }
        let itself = now - at - in_others;
        calls.push(Call { stack: stack.clone(), at, until: now, itself });
        stack.pop();
    }
    assert!(open.is_empty(), "{profile}");
    calls
}

/// How many pixels below the toolbar have a colour.
fn coloured(browser: &Browser) -> u64 {
    let shot = browser.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
    browser.run(&format!(
        "const shot = new Image(); \
         shot.onload = () => {{ \
             const canvas = document.createElement('canvas'); \
             [canvas.width, canvas.height] = [shot.width, shot.height]; \
             const to = canvas.getContext('2d'); \
             to.drawImage(shot, 0, 0); \
             const {{ data }} = to.getImageData(0, 30, shot.width, shot.height - 30); \
             let coloured = 0; \
             for (let at = 0; at < data.length; at += 4) {{ \
                 coloured += data[at] !== data[at + 1] || data[at] !== data[at + 2]; \
             }} \
             window.coloured = {{ coloured }}; \
         }}; \
         shot.src = 'data:image/png;base64,' + {}",
        shot["data"]
    ));
    browser.wait("const { coloured } = window; delete window.coloured; return coloured")["coloured"]
        .as_u64()
        .unwrap()
}
