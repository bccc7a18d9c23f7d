//! Trees of the crate `await-tree` as what tasks wait in.
//!
//! The only way to a tree's nodes is through its serialization: the text form has names and
//! structure in one. [`TreeWalk`] is a serializer that keeps what it is given, and goes no deeper
//! than it has room.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use await_tree::{AnyKey, Registry, Tree};
use profile_format::Unavailable;
use serde::ser::{Impossible, Serialize, SerializeSeq, SerializeStruct, Serializer};

use crate::task::awaits::{Awaited, Awaits, Detail, MOST_PLACES};
use crate::task::{Registration, TaskId, TaskSource, register};

/// Shows the trees of a registry in dumps that are asked for them, for as long as the result lives.
///
/// A tree that is registered under the [id](crate::task::current) of a task stands in that task's
/// block. Any other stands by itself, with its root span as the name and its key as a label.
///
/// ```
/// use await_tree::{InstrumentAwait as _, Registry};
/// use profile_core::task::{self, Instrument as _};
///
/// let registry = Registry::new(await_tree::Config::default());
/// let _shown = task::show_trees(&registry);
/// let work = async move {
///     // Inside the task, which has an id from its first poll on.
///     let root = registry.register(task::current().expect("a task is polled"), "checkout");
///     root.instrument(async { 42 }.instrument_await("answer")).await
/// };
/// let _task = work.instrument(task::named("checkout"));
/// ```
pub fn show_trees(registry: &Registry) -> Registration {
    register(AwaitTrees(registry.clone()))
}

struct AwaitTrees(Registry);

impl TaskSource for AwaitTrees {
    fn offers(&self, detail: Detail) -> Option<Result<(), Unavailable>> {
        (detail == Detail::AwaitTree).then_some(Ok(()))
    }

    fn awaits(
        &self,
        _: Detail,
        tell: &mut dyn FnMut(Awaits) -> ControlFlow<()>,
    ) -> Result<(), Unavailable> {
        for (key, tree) in self.0.collect_all() {
            if tell(awaits(&key, &tree)).is_break() {
                return Err(Detail::AwaitTree.unavailable("not all trees in time", ""));
            }
        }
        Ok(())
    }
}

fn awaits(key: &AnyKey, tree: &Tree) -> Awaits {
    let mut found = TreePlaces::default();
    // What is read before an error stays, and there is none.
    let _ = tree.serialize(TreeWalk { found: &mut found, depth: 0, field: TreeField::Other });
    let task = key.downcast_ref::<TaskId>().copied();
    let name = found.places.first().map_or_else(String::new, |root| root.name.clone());
    let key = if task.is_some() { String::new() } else { key.to_string() };
    let running = found.current != found.root;
    Awaits { task, name, key, running, places: found.places }
}

/// The places that are found in a tree.
#[derive(Default)]
struct TreePlaces {
    places: Vec<Awaited>,
    /// The node that is being polled; the root where none is.
    current: u64,
    root: u64,
}

/// The field that a value stands in.
#[derive(Clone, Copy, PartialEq)]
enum TreeField {
    Current,
    Id,
    Name,
    Elapsed,
    Children,
    Detached,
    Other,
}

impl TreeField {
    fn new(name: &str) -> TreeField {
        match name {
            "current" => TreeField::Current,
            "id" => TreeField::Id,
            "name" => TreeField::Name,
            "elapsed_ns" => TreeField::Elapsed,
            "children" => TreeField::Children,
            "detached" => TreeField::Detached,
            _ => TreeField::Other,
        }
    }
}

/// Takes one value of a tree, at a depth of it.
struct TreeWalk<'a> {
    found: &'a mut TreePlaces,
    depth: u32,
    field: TreeField,
}

impl TreeWalk<'_> {
    fn number(self, number: u128) {
        let TreePlaces { places, current, root } = self.found;
        match (self.field, places.last_mut()) {
            (TreeField::Current, _) => *current = number as u64,
            // A node begins with its id.
            (TreeField::Id, last) => {
                if last.is_none() {
                    *root = number as u64;
                }
                places.push(Awaited { depth: self.depth, ..Awaited::default() });
            }
            (TreeField::Elapsed, Some(last)) => {
                let nanos = u64::try_from(number).unwrap_or(u64::MAX);
                last.since = Some(Duration::from_nanos(nanos));
            }
            _ => {}
        }
    }
}

impl SerializeStruct for TreeWalk<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> fmt::Result {
        value.serialize(TreeWalk {
            found: self.found,
            depth: self.depth,
            field: TreeField::new(name),
        })
    }

    fn end(self) -> fmt::Result {
        Ok(())
    }
}

impl SerializeSeq for TreeWalk<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
        if self.found.places.len() < MOST_PLACES {
            value.serialize(TreeWalk {
                found: self.found,
                depth: self.depth,
                field: TreeField::Other,
            })?;
        }
        Ok(())
    }

    fn end(self) -> fmt::Result {
        Ok(())
    }
}

/// Methods for values that no tree has, or that say nothing of use.
macro_rules! nothing {
    ($($name:ident($($of:ty),*)),* $(,)?) => {
        $(fn $name(self, $(_: $of),*) -> fmt::Result { Ok(()) })*
    };
}

impl Serializer for TreeWalk<'_> {
    type Ok = ();
    type Error = fmt::Error;
    type SerializeSeq = Self;
    type SerializeStruct = Self;
    type SerializeTuple = Impossible<(), fmt::Error>;
    type SerializeTupleStruct = Impossible<(), fmt::Error>;
    type SerializeTupleVariant = Impossible<(), fmt::Error>;
    type SerializeMap = Impossible<(), fmt::Error>;
    type SerializeStructVariant = Impossible<(), fmt::Error>;

    nothing! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32),
        serialize_i64(i64), serialize_f32(f32), serialize_f64(f64), serialize_char(char),
        serialize_bytes(&[u8]), serialize_none(), serialize_unit(), serialize_unit_struct(&'static str),
        serialize_unit_variant(&'static str, u32, &'static str),
    }

    fn serialize_u8(self, number: u8) -> fmt::Result {
        self.serialize_u128(number.into())
    }

    fn serialize_u16(self, number: u16) -> fmt::Result {
        self.serialize_u128(number.into())
    }

    fn serialize_u32(self, number: u32) -> fmt::Result {
        self.serialize_u128(number.into())
    }

    fn serialize_u64(self, number: u64) -> fmt::Result {
        self.serialize_u128(number.into())
    }

    fn serialize_u128(self, number: u128) -> fmt::Result {
        self.number(number);
        Ok(())
    }

    fn serialize_str(self, text: &str) -> fmt::Result {
        if self.field == TreeField::Name
            && let Some(last) = self.found.places.last_mut()
        {
            last.name = text.to_owned();
        }
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> fmt::Result {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> fmt::Result {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> fmt::Result {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, fmt::Error> {
        // What was detached is inside of nothing.
        let depth = if self.field == TreeField::Children { self.depth + 1 } else { 0 };
        Ok(TreeWalk { depth, ..self })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, fmt::Error> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, fmt::Error> {
        Err(fmt::Error)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, fmt::Error> {
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, pending};
    use std::pin::pin;
    use std::task::{Context, Waker};

    use await_tree::{Config, InstrumentAwait as _, span};

    use super::*;
    use crate::task::{self, Instrument as _};

    fn told(registry: &Registry) -> Vec<Awaits> {
        let mut told = Vec::new();
        let all = AwaitTrees(registry.clone()).awaits(Detail::AwaitTree, &mut |awaits| {
            told.push(awaits);
            ControlFlow::Continue(())
        });
        assert_eq!(all, Ok(()));
        told
    }

    fn lines(awaits: &Awaits) -> Vec<String> {
        let line = |place: &Awaited| "-".repeat(place.depth as usize) + &place.name;
        awaits.places.iter().map(line).collect()
    }

    #[test]
    fn a_tree_is_told_as_it_is() {
        let registry = Registry::new(Config::default());
        let work = {
            let registry = registry.clone();
            async move {
                let (one, two) = (pin!(leaf(1)), pin!(leaf(2)));
                let both = async move {
                    let (mut one, mut two) = (one, two);
                    std::future::poll_fn(|cx| {
                        assert!(one.as_mut().poll(cx).is_pending());
                        two.as_mut().poll(cx)
                    })
                    .await;
                };
                let root = registry.register(task::current().unwrap(), "root\n  forged [1s]");
                root.instrument(both.instrument_await("both")).await;
            }
        };
        async fn leaf(number: u32) {
            pending::<()>().instrument_await(span!("leaf {number}")).await;
        }
        let mut task = pin!(work.instrument(task::named("has a tree")));
        assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let _other = registry.register("by its key", "other");

        let mut all = told(&registry);
        all.sort_by_key(|awaits| awaits.task.is_none());
        let [known, other] = &all[..] else { panic!("{all:?}") };
        let mut ids = Vec::new();
        task::all(&mut |status| {
            if status.kind.name() == "has a tree" {
                ids.push(status.id);
            }
        });
        assert_eq!(known.task.map(TaskId::get), Some(ids[0]));
        // Which of them was first a coarse clock can't tell.
        let mut lines = lines(known);
        lines[2..].sort();
        assert_eq!(lines, ["root\n  forged [1s]", "-both", "--leaf 1", "--leaf 2"]);
        assert!(known.places.iter().all(|place| place.since.is_some()));
        assert!(!known.running);
        assert_eq!(
            (other.task, other.name.as_str(), other.key.as_str()),
            (None, "other", "by its key")
        );
    }

    #[test]
    fn a_tree_that_is_polled_is_running_and_a_deep_one_is_cut() {
        let registry = Registry::new(Config::default());
        let inside = registry.clone();
        type NestedFuture = std::pin::Pin<Box<dyn Future<Output = ()>>>;
        let look = async move {
            let [tree] = &told(&inside)[..] else { panic!("one tree") };
            assert!(tree.running);
            assert_eq!(tree.places.len(), MOST_PLACES);
            assert_eq!(tree.places.last().unwrap().depth as usize, MOST_PLACES - 1);
        };
        let nested = (0..300).fold(Box::pin(look) as NestedFuture, |inner, _| {
            Box::pin(inner.instrument_await("deeper"))
        });
        let work = pin!(registry.register(1, "root").instrument(nested));
        assert!(work.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}
