//! Who has created a goroutine or a task that a helper has started for them.
//!
//! `sync.(*WaitGroup).Go` and its like start what others give them, and a dump names them as the
//! creator of everything. Who gave it is told by the outermost function of the stack, which lies
//! within the one that gave it: `main.serve.func1` is of `main.serve`.

use std::collections::HashMap;

use crate::dump::Group;

/// Functions that start what is given to them.
const STARTERS: &[&str] = &[
    "sync.(*WaitGroup).Go",
    "golang.org/x/sync/errgroup.(*Group).Go",
    "golang.org/x/sync/errgroup.(*Group).TryGo",
    "golang.org/x/sync/errgroup.(*Group).add",
    "golang.org/x/sync/singleflight.(*Group).DoChan",
    "github.com/sourcegraph/conc.(*WaitGroup).Go",
    "github.com/sourcegraph/conc/pool.(*Pool).Go",
    "github.com/sourcegraph/conc/pool.(*Pool).worker",
    "github.com/sourcegraph/conc/panics.(*Catcher).Try",
    "github.com/oklog/run.(*Group).Run",
    "gopkg.in/tomb.v2.(*Tomb).Go",
    "k8s.io/apimachinery/pkg/util/wait.(*Group).Start",
    "k8s.io/apimachinery/pkg/util/wait.(*Group).StartWithContext",
    "k8s.io/apimachinery/pkg/util/wait.(*Group).StartWithChannel",
    "github.com/cockroachdb/cockroach/pkg/util/stop.(*Stopper).RunAsyncTask",
    "github.com/cockroachdb/cockroach/pkg/util/stop.(*Stopper).RunAsyncTaskEx",
    "time.goFunc",
    "time.AfterFunc",
    "tokio::spawn",
    "tokio::task::spawn",
    "tokio::task::spawn::spawn",
    "tokio::task::spawn::spawn_inner",
    "tokio::task::spawn_blocking",
    "tokio::task::blocking::spawn_blocking",
    "tokio::runtime::blocking::pool::spawn_blocking",
    "async_std::task::spawn",
    "smol::spawn",
    "std::thread::spawn",
    "std::thread::Builder::spawn",
    "std::thread::Builder::spawn_unchecked",
    "rayon_core::spawn",
    "rayon::spawn",
];

/// Beginnings of what starts things in methods of many types.
const STARTING: &[&str] = &[
    "tokio::task::join_set::JoinSet",
    "tokio::runtime::handle::Handle::spawn",
    "tokio::runtime::runtime::Runtime::spawn",
    "tokio::task::local::",
    "github.com/sourcegraph/conc/pool.",
    "rayon_core::spawn::",
];

/// The most frames that are looked at, from the root of a stack on.
const FRAMES: usize = 64;

/// Names of origins, each with a number.
#[derive(Default)]
pub(super) struct OriginNames(HashMap<String, u32>);

impl OriginNames {
    pub(super) fn find_or_add(&mut self, name: &str) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(name.to_owned()).or_insert(next)
    }
}

/// Returns the function that gave a group's members to the one that started them; `None` where the
/// creator started something of its own, or the stack does not tell.
pub(super) fn find_origin(group: &Group<'_>) -> Option<String> {
    let creator = group.creator()?;
    if !is_starter(&group.function(creator)) {
        return None;
    }
    let frames = group.frames();
    let functions = frames.iter().rev().take(FRAMES).map(|&frame| group.function(frame));
    let given = functions
        .map(std::borrow::Cow::into_owned)
        .find(|function| !is_starter(function) && !is_entry(function))?;
    Some(enclosing_function(&given).to_owned())
}

/// Returns whether a function, or a closure in it, starts what is given to it.
fn is_starter(function: &str) -> bool {
    let function = enclosing_function(function);
    let plain = function.split_once("::<").map_or(function, |(plain, _)| plain);
    STARTERS.contains(&plain) || STARTING.iter().any(|start| function.starts_with(start))
}

/// Returns whether a function is where threads and goroutines begin.
fn is_entry(function: &str) -> bool {
    const BEGINNINGS: [&str; 12] = [
        "runtime.goexit",
        "std::",
        "core::",
        "alloc::",
        "<alloc::",
        "<core::",
        "<std::",
        "tokio::",
        "<tokio::",
        "__rust",
        "start_thread",
        "clone",
    ];
    BEGINNINGS.iter().any(|start| function.starts_with(start))
}

/// Returns the function that closures are in: `main.f` of `main.f.func1.2`, `app::run` of
/// `app::run::{{closure}}`.
fn enclosing_function(function: &str) -> &str {
    if let Some(at) = function.find("::{") {
        return &function[..at];
    }
    let mut name = function;
    while let Some((before, last)) = name.rsplit_once('.') {
        let last = last.trim_end_matches("-fm");
        let is_number = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
        };
        let closures = ["func", "gowrap", "deferwrap"];
        let is_closure = is_number(last)
            || closures.iter().any(|start| {
                last.strip_prefix(start)
                    .is_some_and(|rest| is_number(rest.split("-range").next().unwrap_or(rest)))
            });
        // `glob..func1` is a closure outside of functions.
        if !is_closure || before.is_empty() || before.ends_with('.') {
            break;
        }
        name = before;
    }
    name.strip_suffix("-fm").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closures_are_of_their_function() {
        for (function, enclosing) in [
            ("main.startA.func1", "main.startA"),
            ("main.startA.func1.2", "main.startA"),
            ("main.(*Server).Run.func3.gowrap1", "main.(*Server).Run"),
            ("main.newer.func1-range1", "main.newer"),
            ("main.(*T).Wait-fm", "main.(*T).Wait"),
            ("main.run", "main.run"),
            ("example.com/a.v2.Run.func1", "example.com/a.v2.Run"),
            ("main.glob..func1", "main.glob..func1"),
            ("app::run::{{closure}}", "app::run"),
            ("app::run::{closure#0}::{closure#1}", "app::run"),
        ] {
            assert_eq!(enclosing_function(function), enclosing);
        }
    }

    #[test]
    fn starters_are_known() {
        for function in [
            "sync.(*WaitGroup).Go",
            "sync.(*WaitGroup).Go.func1",
            "golang.org/x/sync/errgroup.(*Group).Go.func1",
            "tokio::task::spawn::spawn",
            "tokio::spawn::<app::run::{closure#0}>",
            "tokio::task::join_set::JoinSet<T>::spawn",
        ] {
            assert!(is_starter(function), "{function}");
        }
        assert!(!is_starter("main.Go") && !is_starter("app::spawn"));
    }
}
