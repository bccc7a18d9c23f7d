//! Whether `SIGPROF` is free to be used, and who uses it where it is not.

use profile_format::Kind;

use crate::cpu::raw::sigprof::SigprofOwner;
use crate::error::Error;
use crate::stacks::objects;

/// Makes the error of a CPU engine that can't have `SIGPROF`.
pub(crate) fn in_use(owner: SigprofOwner) -> Error {
    let holder = match owner {
        SigprofOwner::Free => "nobody".to_owned(),
        SigprofOwner::Timer => "a timer (ITIMER_PROF) that something else has set".to_owned(),
        SigprofOwner::Handler(handler) => {
            let handler = handler as u64;
            let object = objects::loaded().into_iter().find(|object| {
                object.segments.iter().any(|s| (s.start..s.limit).contains(&handler))
            });
            let object = object.map_or_else(|| "?".into(), |o| o.path.display().to_string());
            format!("a signal handler at {handler:#x} of {object}")
        }
    };
    Error::InUse { kind: Kind::Cpu, what: "SIGPROF", holder }
}
