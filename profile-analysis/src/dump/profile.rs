//! Goroutines and threads out of a profile.proto, whose labels say what a text dump's headers say.

use profile_format::profile::{Label, Profile, Sample};

use super::table::{NONE, OpenGoroutine, ROOT, StackTable};
use super::{Dump, DumpFormat, Options, header};

/// Reads the goroutines of a profile that counts them: one of sample type `goroutine`,
/// `goroutineleak` or `threadcreate`. Labels `state`, `wait` (minutes, or another unit of time) and
/// `goroutine` or `id` are what a header has, also as CockroachDB names them
/// (`go::goroutine_state`); the others are labels. Without a state the frames tell it, where they
/// can. Returns `None` for other profiles.
///
/// # Panics
///
/// Where the profile refers to what it does not hold ([`Profile::check`]); one that was decoded
/// never does.
pub fn from_profile(profile: &Profile, options: &Options) -> Option<Dump> {
    const KINDS: [&str; 3] = ["goroutine", "goroutineleak", "threadcreate"];
    let counted = |name: &str| KINDS.contains(&name);
    let index = profile.sample_types.iter().position(|kind| counted(profile.str(kind.kind)))?;
    let kind = profile.str(profile.sample_types[index].kind);
    let (leaked, threads) = (kind == "goroutineleak", kind == "threadcreate");
    let mut table = StackTable::new(&options.limits, options.by_label.as_deref());
    let mut task = OpenGoroutine::new();
    let mut goroutines = 0_u64;
    for (number, sample) in profile.samples.iter().enumerate() {
        let Ok(count @ 1..) = u64::try_from(sample.values[index]) else { continue };
        task.clear();
        task.count = count;
        task.leaked = leaked;
        let offset = number as u64;
        for label in sample.labels {
            take_label(profile, label, &mut table, &mut task, offset);
        }
        take_stack(profile, &sample, &mut table, &mut task, offset);
        if task.state == NONE && !threads {
            table.derive_state(&mut task, offset);
        }
        goroutines = goroutines.saturating_add(count);
        table.add_goroutine(&mut task, offset);
    }
    let format = DumpFormat::Pprof;
    Some(Dump {
        format,
        goroutines,
        says_none: goroutines == 0,
        crash: false,
        truncated: false,
        unwrapped: Vec::new(),
        table,
    })
}

fn take_label(
    profile: &Profile,
    label: &Label,
    table: &mut StackTable,
    task: &mut OpenGoroutine,
    offset: u64,
) {
    let (key, value) = (profile.str(label.key), profile.str(label.str));
    match key.strip_prefix("go::").unwrap_or(key) {
        "state" | "goroutine_state" if !value.is_empty() => {
            let (state, leaked) = header::split_suffixes(value.as_bytes());
            task.leaked |= leaked;
            task.state = table.intern_state(state, offset);
        }
        "wait" | "wait_minutes" | "goroutine_wait_minutes" => {
            task.wait = parse_minutes(value, label.num, profile.str(label.num_unit));
        }
        "goroutine" | "id" | "goroutine_id" if value.is_empty() => {
            task.id = label.num.unsigned_abs();
        }
        // The id of another goroutine.
        "goroutine_created_by" => {}
        _ => {
            let number = label.num.to_string();
            let value = if value.is_empty() && label.num != 0 { &number } else { value };
            let label = table.intern_label(key.as_bytes(), value.as_bytes(), offset);
            if !task.labels.contains(&label) {
                task.labels.push(label);
            }
        }
    }
}

/// Returns the whole minutes, from one on, of `5 minutes` or of a number and its unit.
fn parse_minutes(text: &str, number: i64, unit: &str) -> Option<u64> {
    let (number, unit) = match text.split_once(' ') {
        Some((number, unit)) => (number.parse().ok()?, unit),
        None if text.is_empty() => (number, unit),
        None => (text.parse().ok()?, unit),
    };
    let number = u64::try_from(number).ok()?;
    let in_a_minute = match unit {
        "nanoseconds" | "ns" => 60_000_000_000,
        "microseconds" | "us" => 60_000_000,
        "milliseconds" | "ms" => 60_000,
        "seconds" | "s" => 60,
        "hours" | "h" => return Some(number.saturating_mul(60)).filter(|&wait| wait > 0),
        _ => 1,
    };
    Some(number / in_a_minute).filter(|&wait| wait > 0)
}

fn take_stack(
    profile: &Profile,
    sample: &Sample<'_>,
    table: &mut StackTable,
    task: &mut OpenGoroutine,
    offset: u64,
) {
    let mut node = ROOT;
    let mut whole = true;
    for &location in sample.stack {
        let location = &profile.locations[location as usize];
        let lines = profile.lines_of(location);
        if lines.is_empty() {
            let name = format!("{:#x}", location.address);
            let frame = table.intern_frame(name.as_bytes(), b"", false, offset);
            whole = whole && table.push_frame(&mut node, frame, offset);
        }
        for (depth, line) in lines.iter().enumerate() {
            let function = &profile.functions[line.function as usize];
            let name = match profile.str(function.name) {
                "" => profile.str(function.system_name),
                name => name,
            };
            let place = match profile.str(function.filename) {
                "" => String::new(),
                file => format!("{file}:{}", line.line.max(0)),
            };
            let inlined = depth + 1 < lines.len();
            let frame = table.intern_frame(name.as_bytes(), place.as_bytes(), inlined, offset);
            whole = whole && table.push_frame(&mut node, frame, offset);
        }
    }
    task.node = node;
    task.partial = !whole;
}
