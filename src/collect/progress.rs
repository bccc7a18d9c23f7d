//! What is shown while a bundle is on its way.

use std::time::Duration;

use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use profilez::http::client::Progress;

/// A progress bar on standard error; hidden where that is no terminal.
pub(crate) struct CollectionBar {
    bar: ProgressBar,
}

impl CollectionBar {
    pub(crate) fn new(window: Duration, hidden: bool) -> CollectionBar {
        let target =
            if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target).with_message("connecting");
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(profilez::format::format_duration(window));
        // Where nobody looks there is nothing to keep moving.
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        CollectionBar { bar }
    }

    pub(crate) fn show(&self, progress: Progress) {
        match progress {
            Progress::Waiting(time) => {
                self.bar.set_message(format!("busy, asking again in {} s", time.as_secs().max(1)));
            }
            Progress::Recording => {
                self.bar.set_message(format!("recording for {}", self.bar.prefix()));
            }
            Progress::Received(bytes) => {
                self.bar.set_message(format!("received {}", BinaryBytes(bytes)));
            }
            _ => {}
        }
    }

    pub(crate) fn done(&self) {
        self.bar.finish_and_clear();
    }
}
