//! `threadcreate`: the stack that created each thread.
//!
//! What is measured: every call of `pthread_create` since the program's start, seen by standing in
//! for it (feature `intercept`). Each stack counts its threads, with the label `state`: `live` or
//! `ended`. Cost: about 3 µs for each thread that is created. A window holds the same as a
//! snapshot, as in Go.
//!
//! Where it is blind: threads made by system calls of their own, and the main thread. In a forked
//! child the threads of its parent count as live.

use std::time::SystemTime;

use profile_format::owner::{FrameOwner, FrameText};
use profile_format::profile::{Builder, Profile};
use profile_format::{Kind, ProfileShape, Unavailable};

use crate::collector::{Collector, File, Pending, Window};
use crate::error::Error;
use crate::stacks::locate::{AddressLocator, Symbols, unix_nanos};
use crate::waits::births::{self, BirthSite};
use crate::waits::block::check_intercepted;
use crate::waits::encode::StackFrames;

/// Profiles of thread creation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ThreadCreate;

impl Collector for ThreadCreate {
    fn kind(&self) -> Kind {
        Kind::Threadcreate
    }

    fn check(&self) -> Result<(), Unavailable> {
        check_intercepted(Kind::Threadcreate)
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        self.check()?;
        Ok(Box::new(ThreadCreate))
    }
}

impl Window for ThreadCreate {
    fn close(self: Box<Self>) -> Pending {
        let taken = SystemTime::now();
        let (creators, unknown) = births::list_birth_sites();
        Box::new(move || {
            let bytes = build_profile(creators, unknown, taken);
            Ok(vec![File { name: Kind::Threadcreate.file_name(), bytes: bytes.into() }])
        })
    }
}

fn build_profile(mut creators: Vec<BirthSite>, unknown: u64, taken: SystemTime) -> Profile {
    let mut builder = ProfileShape::THREADCREATE.builder(ProfileShape::THREADCREATE.period);
    let mut locator = AddressLocator::new(&mut builder, Symbols::Resolved);
    creators.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.stack.cmp(&b.stack)));
    let (mut total, mut live) = (0, 0);
    for creator in creators {
        let locations = locator.stack(&mut builder, creator.stack.0.iter().copied());
        let locations = trim_std_frames(&builder, &locations);
        for (state, count) in [("live", creator.live), ("ended", creator.total - creator.live)] {
            if count > 0 {
                let label = builder.text_label("state", state);
                builder.sample(locations, &[count as i64], &[label]);
            }
        }
        total += creator.total;
        live += creator.live;
    }
    builder.comment(&format!(
        "engine: profilez, interposed pthread_create; {total} threads created, {live} of them live"
    ));
    if unknown > 0 {
        builder.comment(&format!("{unknown} more threads were created at stacks not known"));
    }
    builder.profile_mut().time_nanos = unix_nanos(taken);
    builder.finish()
}

/// Cuts std's functions off the leaf of a stack: every thread begins in those.
fn trim_std_frames<'a>(builder: &Builder, locations: &'a [u32]) -> &'a [u32] {
    let is_std = |location: &u32| {
        let stack = StackFrames::of(builder, std::slice::from_ref(location));
        let is_standard = |frame: &FrameText<'_>| frame.owner == FrameOwner::Standard;
        !stack.frames.is_empty() && stack.frames.iter().all(is_standard)
    };
    let first = locations.iter().position(|location| !is_std(location)).unwrap_or(0);
    &locations[first..]
}
