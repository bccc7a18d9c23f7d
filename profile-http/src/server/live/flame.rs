//! `/flame`: one profile of this process as a tree, for the page to draw, or as a picture.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderValue};
use http::request::Parts;
use profile_analysis::Error;
use profile_analysis::flame::{self, Flame};
use profile_core::profile::{Profile, Stacks};
use profile_core::single::{self, KindFiles};
use profile_core::{Kind, OwnWork};
use profile_format::owner::FrameOwner;
use serde::Serialize;
use tokio::sync::oneshot;

use super::super::ServiceState;
use super::super::packed;
use super::super::reply::{self, HttpRefusal, HttpReply};
use super::query::{self, FlameForm, FlameQuery};

/// The most recordings at a time; each has a thread.
const MOST_AT_A_TIME: usize = 4;
/// The most nodes that are sent. A picture has no room for more.
const MOST_NODES: usize = 20_000;
const MOST_DEPTH: usize = 512;

/// A tree in the order of a walk: each node is followed by its children.
#[derive(Debug, Serialize)]
struct FlameGraph {
    kind: &'static str,
    /// The quantity that is counted, as in `cpu/nanoseconds`.
    sample_type: String,
    unit: String,
    total: i64,
    window_seconds: f64,
    /// Functions, and the files they are in.
    names: Vec<String>,
    files: Vec<String>,
    /// Whose each function is: `program`, `library` or `plumbing`.
    owners: Vec<&'static str>,
    /// The depth of each node.
    depth: Vec<u32>,
    /// The index of each node's function.
    name: Vec<u32>,
    /// The total of each node.
    value: Vec<i64>,
    /// The part of each total that is the node's own.
    own: Vec<i64>,
    /// Number of nodes that were too small to send. Their totals are their parents' own.
    left_out: usize,
    /// Remarks on the names.
    notes: Vec<String>,
}

/// The policy of a picture: what it brings itself, and nothing else.
const PICTURE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                              img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Records for the window that is asked for, and answers with the tree or a picture.
pub(in super::super) async fn flame(shared: &Arc<ServiceState>, request: &Parts) -> HttpReply {
    let query = query::parse_flame(request.uri.query().unwrap_or(""), shared.max_window)?;
    shared.collectors.collector(query.kind).check().map_err(|why| reply::unavailable(&why))?;
    let form = query.form;
    let packed = if request.method == Method::HEAD {
        None
    } else {
        Some(record_on_a_thread(shared, query).await?)
    };
    let mut response = packed::response(&request.headers, content_type(form), packed);
    if matches!(form, FlameForm::Svg | FlameForm::Html) {
        let policy = HeaderValue::from_static(PICTURE_POLICY);
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

fn content_type(form: FlameForm) -> &'static str {
    match form {
        FlameForm::Json => packed::JSON,
        FlameForm::Svg => "image/svg+xml; charset=utf-8",
        FlameForm::Html => "text/html; charset=utf-8",
        FlameForm::Folded => "text/plain; charset=utf-8",
    }
}

async fn record_on_a_thread(
    shared: &Arc<ServiceState>,
    query: FlameQuery,
) -> Result<Bytes, HttpRefusal> {
    let slot = Arc::clone(&shared.live.flames);
    if Arc::strong_count(&slot) > MOST_AT_A_TIME + 1 {
        return Err(reply::too_many(query.window));
    }
    // Dropped with this future, when the client leaves.
    let (_reader, gone) = mpsc::channel::<()>();
    let (done, flame) = oneshot::channel();
    let work = Arc::clone(shared);
    thread::Builder::new()
        .name("profilez-flame".to_owned())
        .spawn(move || {
            let _own = OwnWork::of_thread();
            let _slot = slot;
            // Nobody to tell is no failure.
            let _ = done.send(record(&work, &query, &gone));
        })
        .map_err(|error| reply::not_started(&format!("no thread to record on: {error}")))?;
    flame.await.map_err(|_| reply::failed("the recording broke off"))?
}

fn record(
    shared: &ServiceState,
    query: &FlameQuery,
    gone: &mpsc::Receiver<()>,
) -> Result<Bytes, HttpRefusal> {
    let (files, window) = if query.kind.is_windowed() {
        let window = single::open(&shared.collectors, query.kind)
            .map_err(|error| reply::start_failed(&error))?;
        if gone.recv_timeout(query.window) == Err(RecvTimeoutError::Disconnected) {
            // Dropping the window undoes it.
            return Err(reply::failed("the client left"));
        }
        (window.close().and_then(single::Unfinished::finish), query.window)
    } else {
        (single::snapshot(&shared.collectors, query.kind), Duration::ZERO)
    };
    let main = files.and_then(KindFiles::main).map_err(|error| reply::failed(&error.chain()))?;
    let profile = main
        .into_profile()
        .map_err(|error| reply::failed(&format!("the profile can't be read: {error}")))?;
    match query.form {
        FlameForm::Json => packed::pack_json(&build_tree(&profile, query.kind, window)),
        form => packed::pack_text(&draw(&profile, query.kind, form, &shared.service)?),
    }
}

/// Draws a profile; of what there is none in it nothing can be drawn.
fn draw(
    profile: &Profile,
    kind: Kind,
    form: FlameForm,
    service: &str,
) -> Result<String, HttpRefusal> {
    let title = format!("{service}: {kind}");
    let shown = kind.facts().profile.map(|shape| shape.shown_type());
    let picture = Flame::new(&Stacks::of(profile), None, shown).and_then(|flame| match form {
        FlameForm::Html => flame::html(&flame, &title, false),
        FlameForm::Folded => flame::folded(&flame).map(|lines| lines.to_string()),
        FlameForm::Svg | FlameForm::Json => flame::svg(&flame, &title, false),
    });
    picture.map_err(|error| match error {
        Error::NothingToDraw { .. } => reply::nothing_to_draw(&error),
        error => reply::failed(&error.to_string()),
    })
}

struct FlameNode {
    parent: u32,
    name: u32,
    value: i64,
    own: i64,
    children: Vec<u32>,
}

/// Builds a tree of the samples of a profile, from the root of the stacks on.
fn build_tree(profile: &Profile, kind: Kind, window: Duration) -> FlameGraph {
    let column = shown_column(profile, kind);
    let mut names: Vec<(&str, &str)> = vec![("all", "")];
    let mut known: HashMap<(&str, &str), u32> = HashMap::new();
    let places: Vec<String> =
        profile.locations.iter().map(|place| format!("{:#x}", place.address)).collect();
    let mut frames: Vec<Vec<u32>> = Vec::with_capacity(profile.locations.len());
    for (location, place) in profile.locations.iter().zip(&places) {
        // From the outermost of the inlined functions on.
        let lines = profile.lines_of(location).iter().rev().map(|line| {
            let function = profile.functions[line.function as usize];
            (profile.str(function.name), profile.str(function.filename))
        });
        let mut of_location: Vec<(&str, &str)> = lines.collect();
        if of_location.is_empty() {
            of_location.push((place, ""));
        }
        frames.push(
            of_location
                .into_iter()
                .map(|name| {
                    *known.entry(name).or_insert_with(|| {
                        names.push(name);
                        names.len() as u32 - 1
                    })
                })
                .collect(),
        );
    }
    let mut nodes = vec![FlameNode { parent: 0, name: 0, value: 0, own: 0, children: Vec::new() }];
    let mut child: HashMap<(u32, u32), u32> = HashMap::new();
    for at in 0..profile.samples.len() {
        let sample = profile.samples.get(at);
        let value = sample.values.get(column).copied().unwrap_or(0);
        if value <= 0 {
            continue;
        }
        let mut node = 0u32;
        let stack = sample.stack.iter().rev().flat_map(|&location| &frames[location as usize]);
        for &name in stack.take(MOST_DEPTH) {
            node = *child.entry((node, name)).or_insert_with(|| {
                let new = nodes.len() as u32;
                nodes.push(FlameNode {
                    parent: node,
                    name,
                    value: 0,
                    own: 0,
                    children: Vec::new(),
                });
                nodes[node as usize].children.push(new);
                new
            });
        }
        nodes[node as usize].own = nodes[node as usize].own.saturating_add(value);
    }
    // Children come after their parents.
    for at in (0..nodes.len()).rev() {
        nodes[at].value = nodes[at].value.saturating_add(nodes[at].own);
        if at > 0 {
            let (parent, value) = (nodes[at].parent as usize, nodes[at].value);
            nodes[parent].value = nodes[parent].value.saturating_add(value);
        }
    }
    let (types, unit) = match profile.sample_types.get(column) {
        Some(column) => (profile.str(column.kind), profile.str(column.unit)),
        None => ("", ""),
    };
    let comments = profile.comments.iter().map(|&comment| profile.str(comment).to_owned());
    let mut flame = FlameGraph {
        kind: kind.name(),
        sample_type: format!("{types}/{unit}"),
        unit: unit.to_owned(),
        total: nodes[0].value,
        window_seconds: window.as_secs_f64(),
        names: Vec::new(),
        files: Vec::new(),
        owners: Vec::new(),
        depth: Vec::new(),
        name: Vec::new(),
        value: Vec::new(),
        own: Vec::new(),
        left_out: 0,
        notes: comments.filter(|comment| comment.starts_with("names: ")).collect(),
    };
    add_nodes(&mut nodes, &names, &mut flame);
    flame
}

/// Puts the nodes that are large enough into the answer, each one's largest child first.
fn add_nodes(nodes: &mut [FlameNode], names: &[(&str, &str)], flame: &mut FlameGraph) {
    let least = least_total(nodes);
    let mut numbers: HashMap<u32, u32> = HashMap::new();
    let mut todo = vec![(0u32, 0u32)];
    while let Some((at, depth)) = todo.pop() {
        let mut children = std::mem::take(&mut nodes[at as usize].children);
        children.sort_by_key(|&child| (nodes[child as usize].value, nodes[child as usize].name));
        let mut own = nodes[at as usize].own;
        for child in children {
            let value = nodes[child as usize].value;
            if value < least {
                own = own.saturating_add(value);
                flame.left_out += 1;
            } else {
                todo.push((child, depth + 1));
            }
        }
        let node = &nodes[at as usize];
        let name = *numbers.entry(node.name).or_insert_with(|| {
            let (name, file) = names[node.name as usize];
            flame.names.push(name.to_owned());
            flame.files.push(file.to_owned());
            flame.owners.push(owner_word(name, file));
            flame.names.len() as u32 - 1
        });
        flame.depth.push(depth);
        flame.name.push(name);
        flame.value.push(node.value);
        flame.own.push(own);
    }
}

/// Returns the word for the owner of a function; of what has no name it is the program.
fn owner_word(name: &str, file: &str) -> &'static str {
    match FrameOwner::of(name, file) {
        FrameOwner::Program => "program",
        owner if owner.is_plumbing() => "plumbing",
        _ => "library",
    }
}

/// Returns the smallest total that a node must have, so that there are not too many.
fn least_total(nodes: &[FlameNode]) -> i64 {
    if nodes.len() <= MOST_NODES {
        return 1;
    }
    let mut values: Vec<i64> = nodes.iter().map(|node| node.value).collect();
    let (_, least, _) = values.select_nth_unstable_by(MOST_NODES, |a, b| b.cmp(a));
    *least + 1
}

/// Returns the column that a picture of this kind shows.
fn shown_column(profile: &Profile, kind: Kind) -> usize {
    let wanted = kind.facts().profile.map_or("", |shape| shape.shown_type());
    let column = profile.sample_types.iter().position(|t| profile.str(t.kind) == wanted);
    column.unwrap_or(profile.sample_types.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use profile_core::profile::{Builder, Function, Line};

    use super::*;

    #[test]
    fn the_tree_has_every_sample_and_the_largest_first() {
        let mut builder = Builder::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
        let mut line = |name: &str| {
            let name = builder.str(name);
            let function = builder.function(Function { name, ..Function::default() });
            Line { function, line: 1, column: 0 }
        };
        let (main, small, large, inlined) =
            (line("main"), line("small"), line("large"), line("<script>inlined"));
        let main = builder.location(None, 1, &[main]);
        let small = builder.location(None, 2, &[small]);
        let both = builder.location(None, 3, &[inlined, large]);
        let bare = builder.location(None, 0x40, &[]);
        builder.sample(&[small, main], &[1, 10], &[]);
        builder.sample(&[both, main], &[2, 20], &[]);
        builder.sample(&[bare, both, main], &[2, 5], &[]);
        builder.sample(&[main], &[1, 3], &[]);
        let flame = build_tree(&builder.finish(), Kind::Cpu, Duration::from_secs(1));
        let nodes: Vec<_> = (0..flame.depth.len())
            .map(|at| {
                let name = flame.names[flame.name[at] as usize].as_str();
                (flame.depth[at], name, flame.value[at], flame.own[at])
            })
            .collect();
        assert_eq!(flame.sample_type, "cpu/nanoseconds");
        assert_eq!(flame.owners, ["program"; 6]);
        assert_eq!(owner_word("malloc", ""), "plumbing");
        assert_eq!(owner_word("tokio::runtime::task::run", ""), "library");
        assert_eq!(
            nodes,
            [
                (0, "all", 38, 0),
                (1, "main", 38, 3),
                (2, "large", 25, 0),
                (3, "<script>inlined", 25, 20),
                (4, "0x40", 5, 5),
                (2, "small", 10, 10),
            ]
        );
    }

    #[test]
    fn small_nodes_become_their_parents_own() {
        let mut builder = Builder::new(&[("samples", "count")]);
        let root = builder.location(None, 1, &[]);
        for n in 0..MOST_NODES as i64 + 500 {
            let place = builder.location(None, 10 + n as u64, &[]);
            builder.sample(&[place, root], &[n + 1], &[]);
        }
        let flame = build_tree(&builder.finish(), Kind::Cpu, Duration::ZERO);
        assert!(flame.depth.len() <= MOST_NODES && flame.depth.len() > MOST_NODES - 10);
        assert_eq!(flame.own.iter().sum::<i64>(), flame.total);
        assert_eq!(flame.left_out, MOST_NODES + 502 - flame.depth.len());
    }
}
