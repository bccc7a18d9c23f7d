//! `threadcreate` without interposed functions: the threads that live now, by their names.
//!
//! What is measured: `/proc/self/task`. Each name is a function of its own, without a caller: who
//! created the threads is not known without the feature `intercept`. Cost: 10 µs for each thread.
//!
//! Where it is blind: threads that have ended; the stacks that created threads.

use std::collections::BTreeMap;
use std::time::SystemTime;

use profile_format::profile::{Function, Line, Profile};
use profile_format::{Kind, ProfileShape, Unavailable};

use crate::collector::{Collector, File, Pending, Window};
use crate::error::Error;
use crate::stacks::locate::unix_nanos;
use crate::stacks::raw::task::TaskFolder;
use crate::sys::own_work::own_threads;

/// Live threads by name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ThreadNames;

impl Collector for ThreadNames {
    fn kind(&self) -> Kind {
        Kind::Threadcreate
    }

    fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        Ok(Box::new(ThreadNames))
    }
}

impl Window for ThreadNames {
    fn close(self: Box<Self>) -> Pending {
        let taken = SystemTime::now();
        let names = count_names();
        Box::new(move || {
            let names = names.map_err(|source| Error::Collect {
                kind: Kind::Threadcreate,
                source: source.into(),
            })?;
            let bytes = build_profile(&names, taken);
            Ok(vec![File { name: Kind::Threadcreate.file_name(), bytes: bytes.into() }])
        })
    }
}

/// Counts the threads of each name.
fn count_names() -> std::io::Result<BTreeMap<String, i64>> {
    let tasks = TaskFolder::open()?;
    let mut names = BTreeMap::new();
    let own = own_threads();
    for tid in TaskFolder::ids()?.into_iter().filter(|tid| !own.contains(tid)) {
        // A thread that has ended meanwhile is left out.
        if let Some(name) = tasks.text(tid, "comm") {
            let name = String::from_utf8_lossy(name.bytes()).trim_end().to_owned();
            *names.entry(name).or_insert(0) += 1;
        }
    }
    Ok(names)
}

fn build_profile(names: &BTreeMap<String, i64>, taken: SystemTime) -> Profile {
    let mut builder = ProfileShape::THREADCREATE.builder(ProfileShape::THREADCREATE.period);
    for (thread, &count) in names {
        let name = builder.str(&format!("thread {thread}"));
        let function = builder.function(Function { name, ..Function::default() });
        let location = builder.location(None, 0, &[Line { function, ..Line::default() }]);
        let labels = [builder.text_label("thread", thread), builder.text_label("state", "live")];
        builder.sample(&[location], &[count], &labels);
    }
    builder.comment("engine: profilez, /proc: live threads by name");
    builder.comment("build with the feature `intercept` for the stacks that created them");
    builder.profile_mut().time_nanos = unix_nanos(taken);
    builder.finish()
}
