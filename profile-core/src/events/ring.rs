//! The bounded buffer of a trace: threads write events to chunks of their own, and the oldest full
//! chunk is written over when there is no empty one.
//!
//! What records here may run inside interposed functions of libc: it does not allocate, lock, wait,
//! panic, or touch a thread-local that is initialised lazily. An event is four words. A thread that
//! goes on writing after the window was closed writes to memory that is still there, behind what is
//! read. One that is off the processor in the middle of an event from there until the next window has opened
//! may spoil one event of that: to rule it out would take an atomic operation of every event.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::events::KindId;
use crate::sys::raw::{region, this_thread};

/// Words of an event.
const EVENT: usize = 4;
/// Events of a chunk, of which the first one's place is the chunk's head.
const EVENTS: usize = 256;
const WORDS: usize = EVENTS * EVENT;
/// Bytes of a chunk.
pub(crate) const CHUNK: usize = WORDS * size_of::<u64>();
/// The largest buffer, for which addresses are reserved: 256 MiB.
pub(crate) const MOST: usize = 256 << 20;

/// Counts windows while one is open; 0 while none is.
static OPEN: AtomicU32 = AtomicU32::new(0);
/// Threads that may be taking a chunk.
static TAKING: AtomicUsize = AtomicUsize::new(0);
/// Number of chunks of the open window.
static CHUNKS: AtomicUsize = AtomicUsize::new(0);
/// Number of times that a chunk of the open window was looked at to be taken.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// Events that are lost.
static LOST: AtomicU64 = AtomicU64::new(0);
/// True while somebody has the buffer.
static IN_USE: AtomicBool = AtomicBool::new(false);
/// True while the buffer is still held and its window is over.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// Time for which a trace that is over is waited for while it is still being written.
const WRITTEN: Duration = Duration::from_secs(3);

/// A chunk's first word: free, being written to, or full; the thread's id above it.
const FREE: u64 = 0;
const OPENED: u64 = 1;
const FULL: u64 = 2;

/// The words, once a first window was opened.
static REGION: OnceLock<&'static [AtomicU64]> = OnceLock::new();

/// The place in the buffer that a thread writes to.
#[derive(Clone, Copy)]
struct ChunkCursor {
    window: u32,
    /// Events in the chunk. Where there was none, those that were lost since one was looked for: it is
    /// not looked for again before as many are lost as a chunk holds.
    used: u32,
    chunk: Option<&'static [AtomicU64]>,
}

thread_local! {
    /// Constant and without a destructor, so that it can be used anywhere.
    static PLACE: Cell<ChunkCursor> = const { Cell::new(ChunkCursor { window: 0, used: 0, chunk: None }) };
}

/// Returns whether a window is open.
#[inline]
pub(crate) fn is_on() -> bool {
    OPEN.load(Ordering::Relaxed) != 0
}

/// An event of a trace.
// What is recorded depends on the features; what is written is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TraceEvent {
    /// A poll of a task.
    Poll { kind: KindId, began: u64, ended: u64, task: u64 },
    /// A poll of a task that began because a thread had woken it; `by` has 24 bits.
    Woken { kind: KindId, by: u32, at: u64, began: u64, task: u64 },
    /// A thread waited for a word of memory to change.
    Wait { began: u64, ended: u64, address: u64 },
    /// A thread woke those that wait for a word of memory.
    Wake { at: u64, address: u64 },
    /// A span was entered and left.
    Span { kind: KindId, began: u64, ended: u64, span: u64 },
    /// Something that happened at one moment.
    Instant { kind: KindId, at: u64 },
    /// A part of the text of the event before it, as bytes, zeros at its end.
    Text([u64; 3]),
}

const POLL: u64 = 1;
const WAIT: u64 = 2;
const WAKE: u64 = 3;
const SPAN: u64 = 4;
const INSTANT: u64 = 5;
const TEXT: u64 = 6;
const WOKEN: u64 = 7;

impl TraceEvent {
    #[inline]
    fn words(self) -> [u64; EVENT] {
        let head = |tag: u64, kind: KindId| tag | u64::from(kind.0) << 8;
        match self {
            TraceEvent::Poll { kind, began, ended, task } => [head(POLL, kind), began, ended, task],
            TraceEvent::Woken { kind, by, at, began, task } => {
                [head(WOKEN, kind) | u64::from(by) << 40, at, began, task]
            }
            TraceEvent::Wait { began, ended, address } => [WAIT, began, ended, address],
            TraceEvent::Wake { at, address } => [WAKE, at, address, 0],
            TraceEvent::Span { kind, began, ended, span } => [head(SPAN, kind), began, ended, span],
            TraceEvent::Instant { kind, at } => [head(INSTANT, kind), at, 0, 0],
            TraceEvent::Text([a, b, c]) => [TEXT, a, b, c],
        }
    }

    fn from_words([head, a, b, c]: [u64; EVENT]) -> Option<TraceEvent> {
        let kind = KindId((head >> 8) as u32);
        Some(match head & 0xff {
            POLL => TraceEvent::Poll { kind, began: a, ended: b, task: c },
            WOKEN => {
                let by = (head >> 40) as u32;
                TraceEvent::Woken { kind, by, at: a, began: b, task: c }
            }
            WAIT => TraceEvent::Wait { began: a, ended: b, address: c },
            WAKE => TraceEvent::Wake { at: a, address: b },
            SPAN => TraceEvent::Span { kind, began: a, ended: b, span: c },
            INSTANT => TraceEvent::Instant { kind, at: a },
            TEXT => TraceEvent::Text([a, b, c]),
            _ => return None,
        })
    }
}

/// Records a poll, if a window is open.
#[inline]
pub(crate) fn record_poll(kind: KindId, began: u64, ended: u64, task: u64) {
    record(TraceEvent::Poll { kind, began, ended, task });
}

/// Records an event of the calling thread, if a window is open.
#[inline]
pub(crate) fn record(event: TraceEvent) {
    let window = OPEN.load(Ordering::Relaxed);
    if window != 0 {
        write(window, &[event.words()]);
    }
}

/// Bytes of a text that fit one event.
const TEXT_BYTES: usize = 24;
/// The longest text of an event.
pub(crate) const LONGEST_TEXT: usize = 5 * TEXT_BYTES;

/// Records something that happened at one moment, and the beginning of its text, if a window is open.
pub(crate) fn record_instant(kind: KindId, at: u64, text: &[u8]) {
    let window = OPEN.load(Ordering::Relaxed);
    if window == 0 {
        return;
    }
    let mut events = [TraceEvent::Instant { kind, at }.words(); 1 + LONGEST_TEXT / TEXT_BYTES];
    let text = &text[..text.len().min(LONGEST_TEXT)];
    let mut count = 1;
    for part in text.chunks(TEXT_BYTES) {
        let mut bytes = [0; TEXT_BYTES];
        bytes[..part.len()].copy_from_slice(part);
        let word = |at: usize| {
            bytes[8 * at..][..8].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
        };
        events[count] = TraceEvent::Text([word(0), word(1), word(2)]).words();
        count += 1;
    }
    write(window, &events[..count]);
}

/// Writes events that belong together to one chunk.
fn write(window: u32, events: &[[u64; EVENT]]) {
    let mut place = PLACE.get();
    let count = events.len() as u32;
    if place.window != window || place.used + count > EVENTS as u32 - 1 {
        place = take_chunk(window, place);
    }
    let at = (place.used as usize + 1) * EVENT;
    place.used += count;
    if let Some(chunk) = place.chunk {
        for (word, &value) in chunk[at..].iter().zip(events.as_flattened()) {
            word.store(value, Ordering::Relaxed);
        }
        chunk[1].store(place.used.into(), Ordering::Release);
    } else if OPEN.load(Ordering::Relaxed) == window {
        // Of a window that was closed meanwhile nothing is lost.
        LOST.fetch_add(count.into(), Ordering::Relaxed);
    }
    PLACE.set(place);
}

/// Takes a chunk for the calling thread: an empty one, or else the oldest that nobody writes to.
#[cold]
fn take_chunk(window: u32, full: ChunkCursor) -> ChunkCursor {
    TAKING.fetch_add(1, Ordering::SeqCst);
    let chunk = if OPEN.load(Ordering::SeqCst) == window { find_chunk(window, full) } else { None };
    TAKING.fetch_sub(1, Ordering::SeqCst);
    ChunkCursor { window, used: 0, chunk }
}

/// Chunks of other threads at which is looked closer in a first pass, whether their thread has ended.
const LOOKED_AT: u32 = 8;

fn find_chunk(window: u32, full: ChunkCursor) -> Option<&'static [AtomicU64]> {
    let words = *REGION.get()?;
    if full.window == window
        && let Some(chunk) = full.chunk
    {
        chunk[0].store(FULL | u64::from(this_thread::tid()) << 32, Ordering::Release);
    }
    let chunks = CHUNKS.load(Ordering::Relaxed);
    // Chunks that other threads are writing to are passed over. One that has ended writes no more.
    for pass in 0..2 {
        let mut looked_at = 0;
        for _ in 0..chunks {
            let index = TAKEN.fetch_add(1, Ordering::Relaxed) % chunks;
            let chunk = &words[index * WORDS..][..WORDS];
            let state = chunk[0].load(Ordering::Acquire);
            if state & 3 == OPENED {
                looked_at += 1;
                let closer = pass == 1 || looked_at <= LOOKED_AT;
                if !closer || !this_thread::has_ended((state >> 32) as u32) {
                    continue;
                }
            }
            if let Some(chunk) = claim(chunk, state) {
                return Some(chunk);
            }
        }
    }
    None
}

/// Makes a chunk the calling thread's, if it is still as it was.
fn claim(chunk: &'static [AtomicU64], state: u64) -> Option<&'static [AtomicU64]> {
    let own = OPENED | u64::from(this_thread::tid()) << 32;
    chunk[0].compare_exchange(state, own, Ordering::AcqRel, Ordering::Relaxed).ok()?;
    if state & 3 != FREE {
        LOST.fetch_add(chunk[1].load(Ordering::Relaxed), Ordering::Relaxed);
    }
    chunk[1].store(0, Ordering::Relaxed);
    let [low, high] = this_thread::name();
    chunk[2].store(low, Ordering::Relaxed);
    chunk[3].store(high, Ordering::Relaxed);
    Some(chunk)
}

/// The open buffer. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct OpenBuffer {
    buffer: Option<HeldBuffer>,
}

/// A closed buffer, whose events can be read. Dropping it gives the memory back.
#[derive(Debug)]
pub(crate) struct ClosedBuffer {
    buffer: HeldBuffer,
    /// Events of each chunk when it closed: a thread that was writing one just then may finish it later,
    /// and what is read is to be the same each time.
    used: Box<[u8]>,
    /// Events that found no room, or were written over.
    pub(crate) lost: u64,
}

/// The one buffer of the process; whoever holds this has it.
#[derive(Debug)]
struct HeldBuffer {
    words: &'static [AtomicU64],
    chunks: usize,
}

impl Drop for HeldBuffer {
    fn drop(&mut self) {
        OPEN.store(0, Ordering::SeqCst);
        wait_for_takers();
        region::release(&self.words[..self.chunks * WORDS]);
        CLOSED.store(false, Ordering::Relaxed);
        IN_USE.store(false, Ordering::Release);
    }
}

/// Time that those who take a chunk have to end: it is a few instructions of theirs.
const SETTLED: Duration = Duration::from_millis(200);
/// Threads that were counted in [`TAKING`] and will not be counted out again: a handler of the program's
/// has left them by `siglongjmp`, or a debugger stops them.
static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);

/// Waits until nobody takes a chunk for a window that was closed; not for those that don't end. Such
/// a one may spoil an event of the next window, as [above](self).
fn wait_for_takers() {
    let began = Instant::now();
    loop {
        let taking = TAKING.load(Ordering::SeqCst);
        if taking <= GIVEN_UP.load(Ordering::Relaxed) {
            return;
        }
        if began.elapsed() > SETTLED {
            GIVEN_UP.store(taking, Ordering::Relaxed);
            return;
        }
        std::thread::yield_now();
    }
}

/// The reason why there is no buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Another trace has it.
    InUse,
    /// The operating system refused the addresses.
    NoMemory,
}

/// Opens the buffer with so many bytes, at least 1 MiB and at most [`MOST`]. One whose trace is still being
/// written is waited for, for a while.
pub(crate) fn open(bytes: usize) -> Result<OpenBuffer, OpenError> {
    static WINDOWS: AtomicU32 = AtomicU32::new(1);
    let began = Instant::now();
    while IN_USE.swap(true, Ordering::AcqRel) {
        if !CLOSED.load(Ordering::Relaxed) || began.elapsed() > WRITTEN {
            return Err(OpenError::InUse);
        }
        thread::sleep(Duration::from_millis(1));
    }
    forget_in_forks();
    let reserve = || region::reserve(MOST / size_of::<u64>());
    let Some(words) = REGION.get().copied().or_else(reserve) else {
        IN_USE.store(false, Ordering::Release);
        return Err(OpenError::NoMemory);
    };
    let words = *REGION.get_or_init(|| words);
    // Every chunk is free: the memory is new, or was given back.
    let chunks = bytes.clamp(1 << 20, MOST) / CHUNK;
    CHUNKS.store(chunks, Ordering::Relaxed);
    TAKEN.store(0, Ordering::Relaxed);
    LOST.store(0, Ordering::Relaxed);
    // 0 says that none is open.
    let window = WINDOWS.fetch_add(1, Ordering::Relaxed).max(1);
    OPEN.store(window, Ordering::SeqCst);
    Ok(OpenBuffer { buffer: Some(HeldBuffer { words, chunks }) })
}

/// Sees to it that a forked process records nothing of its parent's window, and can open one of its
/// own.
fn forget_in_forks() {
    extern "C" fn child() {
        OPEN.store(0, Ordering::SeqCst);
        TAKING.store(0, Ordering::SeqCst);
        GIVEN_UP.store(0, Ordering::Relaxed);
        if IN_USE.load(Ordering::SeqCst)
            && let Some(words) = REGION.get()
        {
            region::release(words);
        }
        CLOSED.store(false, Ordering::SeqCst);
        IN_USE.store(false, Ordering::SeqCst);
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| this_thread::in_forks(child));
}

impl OpenBuffer {
    /// Closes the buffer: nothing that is in it changes any more.
    pub(crate) fn close(mut self) -> ClosedBuffer {
        OPEN.store(0, Ordering::SeqCst);
        wait_for_takers();
        CLOSED.store(true, Ordering::Relaxed);
        let buffer = self.buffer.take().expect("it is taken once, and here");
        let chunks = buffer.words.chunks_exact(WORDS).take(buffer.chunks);
        let used = chunks.map(|chunk| match chunk[0].load(Ordering::Acquire) & 3 {
            FREE => 0,
            _ => chunk[1].load(Ordering::Acquire).min(EVENTS as u64 - 1) as u8,
        });
        ClosedBuffer { used: used.collect(), buffer, lost: LOST.load(Ordering::Relaxed) }
    }
}

/// The events that one thread wrote to one chunk.
#[derive(Clone, Copy)]
pub(crate) struct EventChunk<'a> {
    pub(crate) thread: u32,
    name: [u64; 2],
    words: &'a [AtomicU64],
}

impl ClosedBuffer {
    /// Iterates over the chunks that were written to, in no order.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = EventChunk<'_>> {
        let chunks = self.buffer.words.chunks_exact(WORDS).take(self.buffer.chunks);
        chunks.zip(&self.used).filter(|&(_, &used)| used > 0).map(|(chunk, &used)| EventChunk {
            thread: (chunk[0].load(Ordering::Relaxed) >> 32) as u32,
            name: [2, 3].map(|at: usize| chunk[at].load(Ordering::Relaxed)),
            words: &chunk[EVENT..][..usize::from(used) * EVENT],
        })
    }
}

impl EventChunk<'_> {
    /// Iterates over the events in the order in which they were written.
    pub(crate) fn events(&self) -> impl Iterator<Item = TraceEvent> {
        self.words.chunks_exact(EVENT).filter_map(|words| {
            TraceEvent::from_words([0, 1, 2, 3].map(|at: usize| words[at].load(Ordering::Relaxed)))
        })
    }

    /// Returns the thread's name when it took the chunk.
    pub(crate) fn name(&self) -> String {
        let bytes: Vec<u8> = self.name.iter().flat_map(|word| word.to_le_bytes()).collect();
        let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }
}

/// Waits for a test's turn: the buffer is the process's, and tests that open it take turns.
#[cfg(test)]
pub(crate) fn turn() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No other test's.
    const KIND: KindId = KindId(u32::MAX - 7);

    fn event(n: u64) -> TraceEvent {
        TraceEvent::Poll { kind: KIND, began: n, ended: n + 1, task: n }
    }

    /// Returns the numbers of the events of this test: other tests' tasks may be in the buffer too.
    fn numbers(closed: &ClosedBuffer) -> Vec<u64> {
        let events = closed.chunks().flat_map(|chunk| chunk.events().collect::<Vec<_>>());
        let ours = events.filter_map(|event| match event {
            TraceEvent::Poll { kind: KIND, began, ended, task } => {
                assert_eq!((began, ended), (task, task + 1));
                Some(task)
            }
            _ => None,
        });
        let mut numbers: Vec<u64> = ours.collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn nothing_is_recorded_without_a_window() {
        let _turn = turn();
        record(event(1));
        let open = open(0).unwrap();
        record(event(2));
        let closed = open.close();
        record(event(3));
        assert_eq!(numbers(&closed), [2]);
        drop(closed);
        assert_eq!(
            numbers(&crate::events::ring::open(0).unwrap().close()),
            [],
            "the memory was given back"
        );
    }

    #[test]
    fn there_is_one_buffer() {
        let _turn = turn();
        let first = open(0).unwrap();
        assert_eq!(open(0).unwrap_err(), OpenError::InUse);
        let closed = first.close();
        assert_eq!(open(0).unwrap_err(), OpenError::InUse, "it is still being read");
        drop(closed);
        drop(open(0).unwrap());
    }

    #[test]
    fn the_oldest_are_lost_and_counted() {
        let _turn = turn();
        let chunks = (1 << 20) / CHUNK;
        let room = (chunks * (EVENTS - 1)) as u64;
        let written = 3 * room;
        let trace = || {
            let open = open(0).unwrap();
            (0..written).for_each(|n| record(event(n)));
            let closed = open.close();
            // Other tests that write meanwhile lose events, too.
            (TAKEN.load(Ordering::Relaxed) == 3 * chunks).then_some(closed)
        };
        let closed = (0..1000).find_map(|_| trace()).expect("others don't write all the time");
        let numbers = numbers(&closed);
        let kept = numbers.len() as u64;
        assert!(kept <= room && kept > room - 4 * EVENTS as u64, "{kept} of {room}");
        assert_eq!(numbers.last(), Some(&(written - 1)));
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "no holes");
        assert_eq!(closed.lost, written - kept);
    }

    #[test]
    fn threads_write_beside_each_other() {
        let _turn = turn();
        let (threads, each) = (4, 10_000);
        let open = open(4 << 20).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                std::thread::Builder::new()
                    .name("ring-writer".to_owned())
                    .spawn_scoped(scope, move || {
                        (0..each).for_each(|n| record(event(thread * each + n)));
                    })
                    .unwrap();
            }
        });
        let closed = open.close();
        assert_eq!(numbers(&closed), (0..threads * each).collect::<Vec<_>>());
        let named = closed.chunks().filter(|chunk| chunk.name() == "ring-writer");
        let mut tids: Vec<u32> = named.map(|chunk| chunk.thread).collect();
        tids.sort_unstable();
        tids.dedup();
        assert!(tids.len() as u64 == threads || cfg!(not(target_os = "linux")), "{tids:?}");
    }

    #[cfg(stacks)]
    #[test]
    fn what_ended_threads_wrote_is_as_old_as_the_rest() {
        let _turn = turn();
        let (threads, after) = (300, 5_000);
        let open = open(1 << 20).unwrap();
        for n in 0..threads {
            thread::spawn(move || record(event(n))).join().unwrap();
        }
        (threads..threads + after).for_each(|n| record(event(n)));
        let closed = open.close();
        let numbers = numbers(&closed);
        assert!(numbers.len() as u64 > after, "{} events", numbers.len());
        assert!((threads..threads + after).all(|n| numbers.binary_search(&n).is_ok()));
        // The latest of the threads, of which there are more than chunks.
        assert!(numbers.binary_search(&(threads - 1)).is_ok());
        assert!(numbers[0] > 100 && closed.lost >= numbers[0], "{} lost", closed.lost);
    }

    #[test]
    fn texts_stay_with_their_event() {
        let _turn = turn();
        let open = open(1 << 20).unwrap();
        let text = [b'x'; LONGEST_TEXT + 7];
        (0..2000).for_each(|at| record_instant(KIND, at, &text));
        let closed = open.close();
        let mut seen = 0;
        for chunk in closed.chunks() {
            let events: Vec<TraceEvent> = chunk.events().collect();
            for (index, event) in events.iter().enumerate() {
                if let TraceEvent::Instant { kind: KIND, .. } = event {
                    let parts = events[index + 1..].iter().take(LONGEST_TEXT / TEXT_BYTES);
                    let parts: Vec<_> = parts.collect();
                    assert_eq!(parts, [&TraceEvent::Text([u64::from_ne_bytes([b'x'; 8]); 3]); 5]);
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 2000);
    }

    #[test]
    fn a_window_can_close_while_threads_write() {
        let _turn = turn();
        let (windows, writers) = (50, 2);
        let stop = AtomicBool::new(false);
        let (mut whole, mut torn) = (0, 0);
        thread::scope(|scope| {
            for _ in 0..writers {
                scope.spawn(|| {
                    let mut n = 0;
                    while !stop.load(Ordering::Relaxed) {
                        record(event(n));
                        n += 1;
                    }
                });
            }
            for _ in 0..windows {
                let open = open(0).unwrap();
                thread::sleep(Duration::from_millis(1));
                let closed = open.close();
                for event in closed.chunks().flat_map(|chunk| chunk.events().collect::<Vec<_>>()) {
                    // Others are another test's.
                    if let TraceEvent::Poll { kind: KIND, began, ended, task } = event {
                        let is_whole = (began, ended) == (task, task + 1);
                        *(if is_whole { &mut whole } else { &mut torn }) += 1;
                    }
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(whole > 1000, "{whole} events");
        // Each writer may have been off the processor from one window into the next.
        assert!(torn <= windows * writers, "{torn} of {whole} events are of two");
    }
}
