//! The bounded buffer of a trace: threads write events to chunks of their own, and the oldest full
//! chunk is written over when there is no empty one.
//!
//! What records here may run inside interposed functions of libc: it does not allocate, lock, wait,
//! panic, or touch a thread-local that is initialised lazily. An event is four words. A thread that
//! goes on writing after the window was closed writes to memory that is still there, behind what is
//! read.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::sys::{region, this_thread};
use crate::task::KindId;

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
/// Chunks of the open window, and how many were taken.
static CHUNKS: AtomicUsize = AtomicUsize::new(0);
static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// Events that are lost.
static LOST: AtomicU64 = AtomicU64::new(0);
/// Whether somebody has the buffer.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// A chunk's first word: free, being written to, or full; the thread's id above it.
const FREE: u64 = 0;
const OPENED: u64 = 1;
const FULL: u64 = 2;

/// The words, once a first window was opened.
static REGION: OnceLock<&'static [AtomicU64]> = OnceLock::new();

/// Where a thread writes.
#[derive(Clone, Copy)]
struct Place {
    window: u32,
    /// Events in the chunk.
    used: u32,
    chunk: Option<&'static [AtomicU64]>,
}

thread_local! {
    /// Constant and without a destructor, so that it can be used anywhere.
    static PLACE: Cell<Place> = const { Cell::new(Place { window: 0, used: 0, chunk: None }) };
}

/// Whether a window is open.
#[inline]
pub(crate) fn is_on() -> bool {
    OPEN.load(Ordering::Relaxed) != 0
}

/// What an event says.
// What is recorded depends on the features; what is written is the same.
#[cfg_attr(not(all(feature = "tracing", intercepted)), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
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

impl Event {
    #[inline]
    fn words(self) -> [u64; EVENT] {
        let head = |tag: u64, kind: KindId| tag | u64::from(kind.0) << 8;
        match self {
            Event::Poll { kind, began, ended, task } => [head(POLL, kind), began, ended, task],
            Event::Woken { kind, by, at, began, task } => {
                [head(WOKEN, kind) | u64::from(by) << 40, at, began, task]
            }
            Event::Wait { began, ended, address } => [WAIT, began, ended, address],
            Event::Wake { at, address } => [WAKE, at, address, 0],
            Event::Span { kind, began, ended, span } => [head(SPAN, kind), began, ended, span],
            Event::Instant { kind, at } => [head(INSTANT, kind), at, 0, 0],
            Event::Text([a, b, c]) => [TEXT, a, b, c],
        }
    }

    fn from_words([head, a, b, c]: [u64; EVENT]) -> Option<Event> {
        let kind = KindId((head >> 8) as u32);
        Some(match head & 0xff {
            POLL => Event::Poll { kind, began: a, ended: b, task: c },
            WOKEN => {
                let by = (head >> 40) as u32;
                Event::Woken { kind, by, at: a, began: b, task: c }
            }
            WAIT => Event::Wait { began: a, ended: b, address: c },
            WAKE => Event::Wake { at: a, address: b },
            SPAN => Event::Span { kind, began: a, ended: b, span: c },
            INSTANT => Event::Instant { kind, at: a },
            TEXT => Event::Text([a, b, c]),
            _ => return None,
        })
    }
}

/// Records a poll, if a window is open.
#[inline]
pub(crate) fn poll(kind: KindId, began: u64, ended: u64, task: u64) {
    record(Event::Poll { kind, began, ended, task });
}

/// Records an event of the calling thread, if a window is open.
#[inline]
pub(crate) fn record(event: Event) {
    let window = OPEN.load(Ordering::Relaxed);
    if window != 0 {
        write(window, event.words());
    }
}

/// A thread's wait for a word of memory, which is over when this is dropped.
#[cfg(intercepted)]
pub(crate) struct Wait {
    began: u64,
    address: u64,
}

/// A thread begins to wait. `None` where no window is open.
#[cfg(intercepted)]
#[inline]
pub(crate) fn wait(address: u64) -> Option<Wait> {
    is_on().then(|| Wait { began: crate::sys::intercept::now(), address })
}

#[cfg(intercepted)]
impl Drop for Wait {
    fn drop(&mut self) {
        let Wait { began, address } = *self;
        record(Event::Wait { began, ended: crate::sys::intercept::now(), address });
    }
}

/// A thread is about to wake those that wait for a word of memory.
#[cfg(intercepted)]
#[inline]
pub(crate) fn wake(address: u64) {
    if is_on() {
        record(Event::Wake { at: crate::sys::intercept::now(), address });
    }
}

fn write(window: u32, event: [u64; EVENT]) {
    let mut place = PLACE.get();
    if place.window != window || place.used as usize == EVENTS - 1 {
        place = take(window, place);
    }
    let Some(chunk) = place.chunk else {
        LOST.fetch_add(1, Ordering::Relaxed);
        PLACE.set(Place { window: 0, used: 0, chunk: None });
        return;
    };
    place.used += 1;
    let at = place.used as usize * EVENT;
    for (word, value) in chunk[at..at + EVENT].iter().zip(event) {
        word.store(value, Ordering::Relaxed);
    }
    chunk[1].store(place.used.into(), Ordering::Release);
    PLACE.set(place);
}

/// Takes a chunk for the calling thread: an empty one, or else the oldest full one.
#[cold]
fn take(window: u32, full: Place) -> Place {
    TAKING.fetch_add(1, Ordering::SeqCst);
    let chunk = if OPEN.load(Ordering::SeqCst) == window { find(window, full) } else { None };
    TAKING.fetch_sub(1, Ordering::SeqCst);
    Place { window, used: 0, chunk }
}

fn find(window: u32, full: Place) -> Option<&'static [AtomicU64]> {
    let words = *REGION.get()?;
    if full.window == window
        && let Some(chunk) = full.chunk
    {
        chunk[0].store(FULL | u64::from(this_thread::tid()) << 32, Ordering::Release);
    }
    let chunks = CHUNKS.load(Ordering::Relaxed);
    // Chunks that other threads are writing to are passed over.
    for _ in 0..chunks {
        let index = TAKEN.fetch_add(1, Ordering::Relaxed) % chunks;
        let chunk = &words[index * WORDS..][..WORDS];
        let state = chunk[0].load(Ordering::Acquire);
        let own = OPENED | u64::from(this_thread::tid()) << 32;
        if state & 3 == OPENED
            || chunk[0].compare_exchange(state, own, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            continue;
        }
        if state & 3 == FULL {
            LOST.fetch_add(chunk[1].load(Ordering::Relaxed), Ordering::Relaxed);
        }
        chunk[1].store(0, Ordering::Relaxed);
        let [low, high] = this_thread::name();
        chunk[2].store(low, Ordering::Relaxed);
        chunk[3].store(high, Ordering::Relaxed);
        return Some(chunk);
    }
    None
}

/// The open buffer. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Open {
    buffer: Option<Buffer>,
}

/// A closed buffer, whose events can be read. Dropping it gives the memory back.
#[derive(Debug)]
pub(crate) struct Closed {
    buffer: Buffer,
    /// Events of each chunk when it closed: a thread that was writing one just then may finish it later,
    /// and what is read is to be the same each time.
    used: Box<[u8]>,
    /// Events that found no room, or were written over.
    pub(crate) lost: u64,
}

/// Whoever holds this has the one buffer of the process.
#[derive(Debug)]
struct Buffer {
    words: &'static [AtomicU64],
    chunks: usize,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        OPEN.store(0, Ordering::SeqCst);
        settle();
        region::release(&self.words[..self.chunks * WORDS]);
        IN_USE.store(false, Ordering::Release);
    }
}

/// Waits until nobody takes a chunk for a window that was closed: a few instructions of theirs.
fn settle() {
    while TAKING.load(Ordering::SeqCst) != 0 {
        std::thread::yield_now();
    }
}

/// Why there is no buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Another trace has it.
    InUse,
    /// The operating system refused the addresses.
    NoMemory,
}

/// Opens the buffer with so many bytes, at least 1 MiB and at most [`MOST`].
pub(crate) fn open(bytes: usize) -> Result<Open, OpenError> {
    static WINDOWS: AtomicU32 = AtomicU32::new(1);
    if IN_USE.swap(true, Ordering::AcqRel) {
        return Err(OpenError::InUse);
    }
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
    Ok(Open { buffer: Some(Buffer { words, chunks }) })
}

impl Open {
    /// Closes the buffer: nothing that is in it changes any more.
    pub(crate) fn close(mut self) -> Closed {
        OPEN.store(0, Ordering::SeqCst);
        settle();
        let buffer = self.buffer.take().expect("it is taken once, and here");
        let chunks = buffer.words.chunks_exact(WORDS).take(buffer.chunks);
        let used = chunks.map(|chunk| match chunk[0].load(Ordering::Acquire) & 3 {
            FREE => 0,
            _ => chunk[1].load(Ordering::Acquire).min(EVENTS as u64 - 1) as u8,
        });
        Closed { used: used.collect(), buffer, lost: LOST.load(Ordering::Relaxed) }
    }
}

/// The events that one thread wrote to one chunk.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) thread: u32,
    name: [u64; 2],
    words: &'a [AtomicU64],
}

impl Closed {
    /// The chunks that were written to, in no order.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        let chunks = self.buffer.words.chunks_exact(WORDS).take(self.buffer.chunks);
        chunks.zip(&self.used).filter(|&(_, &used)| used > 0).map(|(chunk, &used)| Chunk {
            thread: (chunk[0].load(Ordering::Relaxed) >> 32) as u32,
            name: [2, 3].map(|at: usize| chunk[at].load(Ordering::Relaxed)),
            words: &chunk[EVENT..][..usize::from(used) * EVENT],
        })
    }
}

impl Chunk<'_> {
    /// The events in the order in which they were written.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        self.words.chunks_exact(EVENT).filter_map(|words| {
            Event::from_words([0, 1, 2, 3].map(|at: usize| words[at].load(Ordering::Relaxed)))
        })
    }

    /// The thread's name when it took the chunk.
    pub(crate) fn name(&self) -> String {
        let bytes: Vec<u8> = self.name.iter().flat_map(|word| word.to_le_bytes()).collect();
        let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }
}

/// The buffer is the process's: tests that open it take turns.
#[cfg(test)]
pub(crate) fn turn() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: u64) -> Event {
        Event::Poll { kind: KindId(7), began: n, ended: n + 1, task: n }
    }

    /// The numbers of the events of this test: other tests' tasks may be in the buffer too.
    fn numbers(closed: &Closed) -> Vec<u64> {
        let events = closed.chunks().flat_map(|chunk| chunk.events().collect::<Vec<_>>());
        let ours = events.filter_map(|event| match event {
            Event::Poll { kind: KindId(7), began, ended, task } if began == task => {
                assert_eq!(ended, began + 1);
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
        assert_eq!(numbers(&super::open(0).unwrap().close()), [], "the memory was given back");
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
        let open = open(0).unwrap();
        let room = ((1 << 20) / CHUNK * (EVENTS - 1)) as u64;
        let written = 3 * room;
        (0..written).for_each(|n| record(event(n)));
        let closed = open.close();
        let numbers = numbers(&closed);
        let kept = numbers.len() as u64;
        assert!(kept <= room && kept > room - 4 * EVENTS as u64, "{kept} of {room}");
        assert_eq!(numbers.last(), Some(&(written - 1)));
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "no holes");
        assert!(closed.lost >= written - kept, "{} lost, {kept} kept", closed.lost);
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

    #[test]
    fn a_window_can_close_while_threads_write() {
        let _turn = turn();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut n = 0;
                    while !stop.load(Ordering::Relaxed) {
                        record(event(n));
                        n += 1;
                    }
                });
            }
            for _ in 0..50 {
                let closed = open(0).unwrap().close();
                // Every event that is there is whole.
                numbers(&closed);
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
