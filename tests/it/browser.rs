//! The live page in a real browser, against real services of this process.

pub(crate) mod driver;

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use profilez::analysis::rules::RuleSet;
use profilez::http::server::{DebugService, Server, Token};
use profilez::task::{self, Instrument as _};

use crate::support::own_process::is_own_process;
use crate::support::server::{real, sample_heap};
use driver::Browser;

fn serve() -> (Server, String) {
    let server = DebugService::builder("shop").version("1.2.3").build();
    let server = server.serve("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", server.local_addr().unwrap());
    (server, origin)
}

/// Waits for the first figures.
#[track_caller]
fn visit(browser: &Browser, origin: &str) {
    browser.open(&format!("{origin}/debug/"));
    browser.wait("return document.querySelectorAll('.card').length === 6");
}

/// A thread that burns CPU time in a function whose name is markup.
struct Busy {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

// SAFETY: no other symbol has this name.
#[unsafe(export_name = "<script>document.title='taken over'</script>")]
#[inline(never)]
extern "C" fn named_like_markup(stop: &AtomicBool) {
    let mut state = 1u64;
    while !stop.load(Ordering::Relaxed) {
        let mut turn = 0;
        // Arithmetic without a call, so that every sample is this function's.
        while turn < 1_000_000 {
            state = (state * 1_664_525 + 1_013_904_223) & 0xffff_ffff;
            turn += 1;
        }
    }
    black_box(state);
}

impl Busy {
    fn start() -> Busy {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let stop = Arc::clone(&stop);
            thread::Builder::new().name("busy".to_owned()).spawn(move || named_like_markup(&stop))
        };
        Busy { stop, thread: Some(thread.unwrap()) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

#[test]
fn the_page_shows_live_figures_and_asks_nobody_else() {
    let _real = real();
    let Some(browser) = Browser::start() else { return };
    let (server, origin) = serve();
    visit(&browser, &origin);
    assert_eq!(browser.text("#service"), "shop");
    assert_eq!(browser.text("#version"), "1.2.3");
    let pid = std::process::id().to_string();
    assert!(browser.text("#where").contains(&pid), "{}", browser.text("#where"));
    let cards = browser.texts(".card");
    assert!(cards[0].starts_with("CPU usage") && cards[0].contains('%'), "{cards:?}");
    for card in &cards[1..5] {
        assert!(card.chars().any(|c| c.is_ascii_digit()), "{card}");
    }
    // The charts move.
    let drawn = "return document.getElementById('memory-chart').toDataURL()";
    let before = browser.run(drawn);
    let kept = black_box(vec![1u8; 64 << 20]);
    browser.wait(&format!("{drawn} !== {before}"));
    drop(kept);
    // Zooming in and out again, with the pointer and with keys.
    browser.press("#cpu-chart", "+");
    browser.wait("return !document.getElementById('zoom-reset').hidden");
    browser.click("#zoom-reset");
    browser.wait("return document.getElementById('zoom-reset').hidden");
    browser.run(
        "const chart = document.getElementById('cpu-chart'); \
         const edge = chart.getBoundingClientRect(); \
         chart.setPointerCapture = () => {}; \
         const at = (type, x) => chart.dispatchEvent(new PointerEvent(type, \
             { clientX: edge.left + x, clientY: edge.top + 40, button: 0, pointerId: 1 })); \
         at('pointerdown', 60); at('pointermove', 260); at('pointerup', 260)",
    );
    browser.wait("return document.getElementById('zoom-text').textContent.includes(' to ')");
    assert_eq!(browser.origins().into_iter().collect::<Vec<_>>(), [origin]);
    browser.is_quiet(&[]);
    server.shut_down();
}

#[test]
fn polling_stops_while_nobody_looks() {
    let _real = real();
    let Some(browser) = Browser::start() else { return };
    let (server, origin) = serve();
    visit(&browser, &origin);
    browser.fill("#interval", "1");
    let looks = "return performance.getEntriesByType('resource').length";
    let hidden = |hidden: bool| {
        browser.run(&format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }}); \
             document.dispatchEvent(new Event('visibilitychange'))"
        ));
    };
    // What is under way may still end.
    let settled = || loop {
        let before = browser.run(looks);
        thread::sleep(Duration::from_millis(2500));
        if browser.run(looks) == before {
            break before;
        }
    };
    hidden(true);
    let before = settled();
    hidden(false);
    browser.wait(&format!("{looks} > {before}"));
    browser.click("#pause");
    assert_eq!(browser.text("#status"), "paused");
    let before = settled();
    browser.click("#pause");
    browser.wait(&format!("{looks} > {before}"));
    server.shut_down();
}

/// Waits for a lock that somebody keeps, for a request.
#[inline(never)]
fn handle_checkout_request(lock: &Mutex<u32>) {
    // A test that fails drops what it holds in a panic.
    black_box(*lock.lock().unwrap_or_else(PoisonError::into_inner));
    black_box(());
}

#[test]
fn what_is_stuck_comes_first_and_rows_stay_open() {
    let _real = real();
    let Some(browser) = Browser::start() else { return };
    let busy = Busy::start();
    let lock = Arc::new(Mutex::new(1));
    let held = lock.lock().unwrap();
    let wait = |lock: &Arc<Mutex<u32>>| {
        let lock = Arc::clone(lock);
        thread::spawn(move || handle_checkout_request(&lock))
    };
    let mut waiters: Vec<JoinHandle<()>> = (0..12).map(|_| wait(&lock)).collect();
    let (server, origin) = serve();
    visit(&browser, &origin);
    browser.wait(
        "return document.querySelector('#groups tr.rowline .fn')?.textContent \
             .includes('handle_checkout_request')",
    );
    let first = browser.text("#groups tr.rowline");
    assert!(first.contains("12×"), "{first}");
    let judged = browser.texts("#groups tr.rowline:first-child .badge.bad:not([hidden])");
    assert_eq!(judged, ["stuck?"]);
    browser.wait("return document.getElementById('badges').textContent.includes('12 stuck')");

    // Markup in a name is text.
    let names = browser.texts("#groups .fn").join("\n");
    assert!(names.contains("<script>document.title='taken over'</script>"), "{names}");
    assert_eq!(browser.run("return document.querySelectorAll('#groups script').length"), 0);
    assert!(browser.run("return document.title").as_str().unwrap().starts_with("shop"));

    // A row stays open, and the same, while its count changes.
    browser.click("#groups tr.rowline");
    browser
        .wait("return document.querySelector('#groups tr.detail')?.textContent.includes('why it looks stuck')");
    browser.run("window.row = document.querySelector('#groups tr.rowline')");
    waiters.push(wait(&lock));
    browser.click("#groups-refresh");
    browser.wait("return window.row.textContent.includes('13×')");
    assert_eq!(browser.run("return window.row.isConnected"), true);
    assert_eq!(browser.run("return document.querySelectorAll('#groups tr.detail').length"), 1);

    // Filters.
    browser.click("[data-category=stuck]");
    browser.wait("return document.querySelectorAll('#groups tr.rowline').length === 1");
    browser.click("[data-category=all]");
    browser.fill("#group-search", "taken over");
    browser.wait("return document.querySelectorAll('#groups tr.rowline').length === 1");
    browser.fill("#group-search", "");
    browser.fill("#group-state", "running");
    browser.wait(
        "const rows = [...document.querySelectorAll('#groups tr.rowline')]; \
         return rows.length > 0 && rows.every((row) => row.textContent.includes('running'))",
    );
    browser.fill("#group-state", "");
    // Hiding by source file is kept over a reload.
    browser.click("#groups tr.rowline button.link");
    browser.wait("return !document.getElementById('unhide').hidden");
    visit(&browser, &origin);
    browser.wait("return !document.getElementById('unhide').hidden");
    assert!(!browser.texts("#groups .fn").join(" ").contains("handle_checkout_request"));
    browser.click("#unhide");
    browser.wait("return document.querySelector('#groups .fn').textContent.includes('checkout')");

    // Two moments.
    browser.click("#mark");
    waiters.extend((0..7).map(|_| wait(&lock)));
    browser.click("#groups-refresh");
    browser.wait(
        "return [...document.querySelectorAll('#compared tr.rowline')].some((row) => \
             row.textContent.includes('handle_checkout_request') && row.textContent.includes('+7'))",
    );
    browser.is_quiet(&[]);
    drop(held);
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    drop(busy);
    server.shut_down();
}

/// Waits for a stock that never comes, for a request.
async fn reserve_stock() {
    std::future::pending::<()>().await_point().await;
}

/// Nothing less than a minute counts as a wait, and so the test takes one.
#[test]
fn a_request_that_waits_too_long_by_a_rule_of_the_users_comes_first() {
    if !is_own_process("browser::a_request_that_waits_too_long_by_a_rule_of_the_users_comes_first")
    {
        return;
    }
    let Some(browser) = Browser::start() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    // Long before its rule says so, and never by the shipped ones.
    let patient = task::named("wait_for_delivery").background();
    let _patient = patient.spawn_on(std::future::pending::<()>(), runtime.handle());
    let _stuck = task::named("reserve_stock").spawn_on(reserve_stock(), runtime.handle());
    let rules = "[[rule]]\nid = \"stock\"\ncategory = \"per-request\"\nstuck_after = \"1m\"\n\
                 severity = \"high\"\nmatch = { label = { task = \"reserve_*\" } }\n";
    let service = DebugService::builder("shop").rules(RuleSet::parse(rules).unwrap()).build();
    let server = service.serve("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", server.local_addr().unwrap());
    visit(&browser, &origin);
    let began = Instant::now();
    let first = "#groups tr.rowline";
    let stuck =
        "return document.querySelectorAll('#groups tr.rowline .badge.bad:not([hidden])').length";
    let is_first = || {
        browser.click("#groups-refresh");
        thread::sleep(Duration::from_millis(500));
        let row = browser.texts(first).into_iter().next().unwrap_or_default();
        (row.contains("reserve_stock") && browser.run(stuck) == 1).then_some(row)
    };
    let row = loop {
        if let Some(row) = is_first() {
            break row;
        }
        assert!(began.elapsed() < Duration::from_secs(150), "{:?}", browser.texts(first));
    };
    assert!(began.elapsed() > Duration::from_secs(50), "stuck already: {row}");
    assert!(row.contains("1 min") && row.contains("per-request"), "{row}");
    browser.click(first);
    let why = browser.text("#groups tr.detail");
    assert!(why.contains("waiting for 1 min or more") && why.contains("stock"), "{why}");
    browser.wait("return document.getElementById('badges').textContent.includes('1 stuck')");
    browser.is_quiet(&[]);
    server.shut_down();
}

#[test]
fn a_flame_graph_opens_and_zooms() {
    let _real = real();
    let Some(browser) = Browser::start() else { return };
    let busy = Busy::start();
    let (server, origin) = serve();
    visit(&browser, &origin);
    browser.fill("#flame-seconds", "1");
    browser.click("#flame-take");
    browser.wait("return !document.getElementById('flame-box').hidden");
    let where_ = || browser.text("#flame-where");
    assert!(where_().starts_with("all — "), "{}", where_());
    // The function that burns is the largest, and its name is text.
    let top = browser.text("#flame-top tr.rowline");
    assert!(top.contains("<script>document.title='taken over'</script>"), "{top}");
    // With keys down the largest children, and into one of them.
    for _ in 0..3 {
        browser.press("#flame", "ArrowDown");
    }
    let third = where_();
    assert!(!third.starts_with("all — "), "{third}");
    browser.press("#flame", "Enter");
    browser.wait("return !document.getElementById('flame-reset').disabled");
    browser.click("#flame-reset");
    assert!(where_().starts_with("all — "), "{}", where_());
    // From the leaves on, the function is right below the root.
    browser.click("#flame-invert");
    browser.press("#flame", "ArrowDown");
    assert!(where_().starts_with("<script>"), "{}", where_());
    // A click zooms.
    browser.click("#flame-reset");
    browser.run(
        "const graph = document.getElementById('flame'); \
         const edge = graph.getBoundingClientRect(); \
         graph.dispatchEvent(new MouseEvent('click', \
             { clientX: edge.left + 5, clientY: edge.top + 28, bubbles: true }))",
    );
    browser.wait("return !document.getElementById('flame-reset').disabled");
    assert!(where_().starts_with("<script>"), "{}", where_());
    browser.fill("#flame-search", "taken over");
    assert!(where_().contains("% of what is shown"), "{}", where_());
    // A recording can be cancelled.
    browser.fill("#flame-seconds", "50");
    browser.click("#flame-take");
    browser.wait("return !document.getElementById('flame-stop').hidden");
    browser.click("#flame-stop");
    browser.wait("return document.getElementById('flame-note').textContent === 'Cancelled.'");
    browser.is_quiet(&[]);
    drop(busy);
    server.shut_down();
}

#[test]
fn a_bundle_downloads_and_the_command_reads_it() {
    let _real = real();
    let Some(browser) = Browser::start() else { return };
    let (server, origin) = serve();
    visit(&browser, &origin);
    browser.fill("#bundle-seconds", "1");
    browser.click("#bundle-take");
    browser.wait("return !document.getElementById('bundle-progress').hidden");
    browser
        .wait("return document.getElementById('bundle-note').textContent.startsWith('Collected ')");
    let bundle = loop {
        let files = browser.downloads().read_dir().unwrap();
        let found = files
            .map(|file| file.unwrap().path())
            .find(|path| path.extension().is_some_and(|ending| ending == "gz"));
        if let Some(path) = found {
            break path;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let inspected = assert_cmd::Command::cargo_bin("profilez")
        .unwrap()
        .args(["inspect", "--json"])
        .arg(&bundle)
        .assert()
        .success();
    let facts: serde_json::Value = serde_json::from_slice(&inspected.get_output().stdout).unwrap();
    assert_eq!(facts["format"], "bundle");
    assert_eq!(facts["manifest"]["service"], "shop");

    // The next is cancelled, and undone.
    browser.fill("#bundle-seconds", "50");
    browser.click("#bundle-take");
    browser
        .wait("return document.getElementById('bundle-note').textContent.startsWith('Recording')");
    browser.click("#bundle-stop");
    browser
        .wait("return document.getElementById('bundle-note').textContent.startsWith('Cancelled')");
    browser.is_quiet(&[]);
    server.shut_down();
}

#[test]
fn a_wrong_token_is_refused_and_the_right_one_is_the_tabs() {
    let _real = real();
    let Some(browser) = Browser::start() else { return };
    let service = DebugService::builder("shop").authorizer(Token::new("s3cret").unwrap()).build();
    let server = service.serve("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", server.local_addr().unwrap());
    browser.open(&format!("{origin}/debug/"));
    browser.wait("return !document.getElementById('lock').hidden");
    assert!(browser.texts(".card").is_empty());
    let enter = |token: &str| {
        browser.fill("#token", token);
        browser.run("document.getElementById('lock-form').requestSubmit()");
    };
    enter("wrong");
    browser.wait("return document.getElementById('lock-error').textContent.includes('refuses')");
    assert_eq!(browser.run("return document.getElementById('main').hidden"), true);
    enter("s3cret");
    browser.wait("return document.querySelectorAll('.card').length === 6");
    // It survives a reload of the tab, and is nowhere else.
    visit(&browser, &origin);
    assert_eq!(browser.run("return JSON.stringify(localStorage).includes('s3cret')"), false);
    assert_eq!(browser.run("return document.cookie"), "");
    assert_eq!(browser.run("return document.body.textContent.includes('s3cret')"), false);
    browser.is_quiet(&["401 (Unauthorized)"]);
    server.shut_down();
}

/// Keeps more and more.
#[inline(never)]
fn leak_session(leaked: &mut Vec<Vec<u8>>) {
    leaked.push(black_box(vec![1u8; 1 << 20]));
}

#[test]
fn a_leak_climbs() {
    if !is_own_process("browser::a_leak_climbs") {
        return;
    }
    let Some(browser) = Browser::start() else { return };
    sample_heap();
    let (server, origin) = serve();
    let steady = black_box(vec![7u8; 24 << 20]);
    let mut leaked = Vec::new();
    visit(&browser, &origin);
    browser.fill("#interval", "1");
    let climbed = "const row = [...document.querySelectorAll('#leaks tr.rowline')] \
                       .find((row) => row.textContent.includes('leak_session')); \
                   return row?.textContent.includes('growing') ?? false";
    while browser.run(climbed) != true {
        leak_session(&mut leaked);
        thread::sleep(Duration::from_millis(100));
        assert!(leaked.len() < 1200, "{}", browser.text("#leaks"));
    }
    let first = browser.text("#leaks tr.rowline");
    assert!(first.contains("leak_session") && first.contains("high"), "{first}");
    browser.click("#leaks tr.rowline");
    let why = browser.text("#leaks tr.detail");
    assert!(why.contains("grew by"), "{why}");
    // In the table of allocations it has grown since the page was opened.
    let grown = browser.texts("#allocations tr.rowline");
    let row = grown.iter().find(|row| row.contains("leak_session")).unwrap();
    assert!(row.contains("+"), "{row}");
    browser.click("#alloc-all");
    browser.wait(
        "return document.getElementById('alloc-all').getAttribute('aria-checked') === 'true'",
    );
    drop((steady, leaked));
    server.shut_down();
}

#[test]
fn both_themes_fit_every_screen() {
    let _real = real();
    let Some(browser) = Browser::start() else { return };
    let busy = Busy::start();
    let (server, origin) = serve();
    visit(&browser, &origin);
    browser.fill("#flame-seconds", "1");
    browser.click("#flame-take");
    browser.wait("return !document.getElementById('flame-box').hidden");
    browser.wait("return document.querySelector('#groups tr.rowline')");
    browser.click("#groups tr.rowline");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    for theme in ["dark", "light"] {
        browser.click("#theme");
        assert_eq!(browser.run("return document.documentElement.dataset.theme"), theme);
        for width in [400, 1280, 1920] {
            browser.picture(width, &folder.join(format!("{theme}-{width}.png")));
            let beyond = browser.run(
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth",
            );
            assert_eq!(beyond, 0, "{theme} {width}");
        }
    }
    browser.is_quiet(&[]);
    drop(busy);
    server.shut_down();
}
