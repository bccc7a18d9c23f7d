//! The profile of a kind that this process can't give, for readers that ask for it all the same.

use std::time::SystemTime;

use profile_format::Unavailable;
use profile_format::profile::Profile;

/// Makes a profile without samples that is otherwise as the kind's own: its sample types, its
/// period type and its default, with comments that say why it is empty.
///
/// Profile stores take it, and one that holds samples can be compared with it. `None` for a kind
/// whose profiles are of another format.
pub fn empty_profile(why: &Unavailable) -> Option<Profile> {
    let shape = why.kind.facts().profile?;
    let mut builder = shape.builder(shape.period);
    builder.comment(&format!("not collected: {}", why.reason));
    if !why.hint.is_empty() {
        builder.comment(&why.hint);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    builder.profile_mut().time_nanos = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
    Some(builder.finish())
}

#[cfg(test)]
mod tests {
    use profile_format::Kind;

    use super::*;

    #[test]
    fn an_empty_profile_is_one_that_stores_take() {
        for kind in Kind::ALL {
            let why = Unavailable::new(kind, "no source", "switch it on");
            let Some(profile) = empty_profile(&why) else {
                assert_eq!(kind, Kind::Trace);
                continue;
            };
            profile.check().unwrap();
            assert!(profile.samples.is_empty() && profile.period_type.is_some());
            let comments: Vec<_> =
                profile.comments.iter().map(|&comment| profile.str(comment)).collect();
            assert_eq!(comments, ["not collected: no source", "switch it on"]);
        }
    }
}
