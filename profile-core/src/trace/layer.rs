//! Spans and events of `tracing`, as a layer of a subscriber.
//!
//! Without an open window entering a span costs one look at a word, and events are not wanted at all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{OnceLock, PoisonError, RwLock};

use tracing::field::{Field, Visit};
use tracing::span::Id;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::Filtered;
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::events::KindId;
use crate::events::ring::{self, TraceEvent};
use crate::sys::clock;
use crate::sys::own_work::OwnWork;
use crate::task::{Category, TaskKind, intern};

/// Puts spans and events into traces. Made by [`layer`].
#[derive(Debug)]
#[non_exhaustive]
pub struct TraceLayer;

/// The filter of the layer: spans of a level, and events of it while a window is open.
#[derive(Clone, Copy, Debug)]
pub struct WhileOpen {
    most: tracing::Level,
}

/// Makes a layer that puts spans and events up to this level into traces.
///
/// Spans are looked at from the moment they are made, so that those that are open when a window opens
/// are in the trace; events only while one is open. Fields are left out, but for an event's message, of
/// which 120 bytes are kept.
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// let layer = profile_core::trace::layer(tracing::Level::INFO);
/// let subscriber = tracing_subscriber::registry().with(layer);
/// # let _ = subscriber;
/// ```
pub fn layer<S>(most: tracing::Level) -> Filtered<TraceLayer, WhileOpen, S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    TraceLayer.with_filter(WhileOpen { most })
}

impl<S> Filter<S> for WhileOpen {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        *metadata.level() <= self.most && (metadata.is_span() || ring::is_on())
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if *metadata.level() > self.most {
            Interest::never()
        } else if metadata.is_span() {
            Interest::always()
        } else {
            Interest::sometimes()
        }
    }

    fn max_level_hint(&self) -> Option<tracing_subscriber::filter::LevelFilter> {
        Some(self.most.into())
    }
}

/// Spans of one thread that are open inside each other; more are not recorded.
const DEEPEST: usize = 256;

thread_local! {
    /// The spans that this thread is in while a window is open, each with the time at which it was
    /// entered.
    static ENTERED: RefCell<Vec<(u64, u64)>> = const { RefCell::new(Vec::new()) };
}

impl<S> Layer<S> for TraceLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        if !ring::is_on() {
            return;
        }
        let at = clock::precise();
        // A thread that is ending has nothing to record any more.
        let _ = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            if entered.len() < DEEPEST {
                let _own = OwnWork::begin();
                entered.push((id.into_u64(), at));
            }
        });
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let entered = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let index = entered.iter().rposition(|&(span, _)| span == id.into_u64())?;
            // Spans need not be left in the order in which they were entered.
            Some(entered.remove(index).1)
        });
        let Ok(Some(began)) = entered else { return };
        if ring::is_on()
            && let Some(metadata) = context.metadata(id)
        {
            let ended = clock::precise();
            ring::record(TraceEvent::Span {
                kind: kind_of_callsite(metadata),
                began,
                ended,
                span: id.into_u64(),
            });
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !ring::is_on() {
            return;
        }
        let at = clock::precise();
        let mut message = EventMessage::default();
        // This runs code of the program, which may record events itself.
        event.record(&mut message);
        ring::record_instant(kind_of_callsite(event.metadata()), at, &message.bytes[..message.len]);
    }
}

/// The beginning of an event's message.
struct EventMessage {
    bytes: [u8; ring::LONGEST_TEXT],
    len: usize,
}

impl Default for EventMessage {
    fn default() -> EventMessage {
        EventMessage { bytes: [0; ring::LONGEST_TEXT], len: 0 }
    }
}

impl Visit for EventMessage {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // It says that it is full, and that is that.
            let _ = write!(self, "{value:?}");
        }
    }
}

impl fmt::Write for EventMessage {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let end = self.len + c.len_utf8();
            if end > self.bytes.len() {
                return Err(fmt::Error);
            }
            c.encode_utf8(&mut self.bytes[self.len..end]);
            self.len = end;
        }
        Ok(())
    }
}

/// Returns the kind of a callsite.
fn kind_of_callsite(metadata: &'static Metadata<'static>) -> KindId {
    static KNOWN: OnceLock<RwLock<HashMap<usize, KindId>>> = OnceLock::new();
    let known = KNOWN.get_or_init(RwLock::default);
    let at = std::ptr::from_ref(metadata) as usize;
    if let Some(&kind) = known.read().unwrap_or_else(PoisonError::into_inner).get(&at) {
        return kind;
    }
    let _own = OwnWork::begin();
    let name = if metadata.is_event() { metadata.target() } else { metadata.name() };
    let (file, line) = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or(0));
    let kind = intern(TaskKind::new(name, file, line, Category::Unknown));
    known.write().unwrap_or_else(PoisonError::into_inner).insert(at, kind);
    kind
}
