//! Pictures of known profiles, of hostile names, and of stacks without end.

use profile_format::profile::{Builder, Line, Profile};
use proptest::prelude::*;

use super::*;
use crate::testing;

/// Makes a profile of stacks of function names, the root first.
fn profile(stacks: &[(&str, i64)]) -> Profile {
    let mut builder = Builder::new(&[("samples", "count")]);
    for &(stack, value) in stacks {
        let places: Vec<u32> = stack
            .rsplit(';')
            .map(|name| {
                let function = testing::function(&mut builder, name, "");
                builder.location(None, 1, &[Line { function, line: 1, column: 0 }])
            })
            .collect();
        builder.sample(&places, &[value], &[]);
    }
    builder.finish()
}

fn flame(stacks: &[(&str, i64)]) -> Flame {
    Flame::new(&Stacks::of(&profile(stacks)), None, None).unwrap()
}

/// Returns the tree as lines of `depth name start value`.
fn lines(flame: &Flame, tree: &Tree) -> Vec<String> {
    let line = |node: &Node| {
        let name = if node.depth == 0 { "all" } else { flame.name(node.name) };
        format!("{} {name} {} {}", node.depth, node.start, node.value)
    };
    let mut lines: Vec<String> = tree.nodes.iter().map(line).collect();
    lines.sort();
    lines
}

const SMALL: [(&str, i64); 4] = [("main;b", 3), ("main;a;c", 2), ("main;b", 1), ("main", 4)];

#[test]
fn grows_what_calls_what() {
    let flame = flame(&SMALL);
    let tree = flame.grow(false);
    assert_eq!(
        lines(&flame, &tree),
        ["0 all 0 10", "1 main 0 10", "2 a 0 2", "2 b 2 4", "3 c 0 2"]
    );
    assert_eq!((tree.depth, tree.note.as_str()), (3, ""));
    let callers = flame.grow(true);
    assert_eq!(
        lines(&flame, &callers),
        ["0 all 0 10", "1 b 0 4", "1 c 4 2", "1 main 6 4", "2 a 4 2", "2 main 0 4", "3 main 4 2"]
    );
}

#[test]
fn folds() {
    assert_eq!(folded(&flame(&SMALL)).unwrap().to_string(), "main 4\nmain;a;c 2\nmain;b 4\n");
    let (base, new) = (profile(&[("main;b", 5), ("main;gone", 7)]), profile(&SMALL));
    let both = Flame::new(&Stacks::of(&new), Some(&Stacks::of(&base)), None).unwrap();
    assert_eq!(
        folded(&both).unwrap().to_string(),
        "main 0 4\nmain;a;c 0 2\nmain;b 5 4\nmain;gone 7 0\n"
    );
    assert_eq!((both.total(), both.base_total()), (10, Some(12)));
    let tree = both.grow(false);
    let sums = |name: &str| {
        let mut nodes = tree.nodes[1..].iter();
        nodes.find(|node| both.name(node.name) == name).map(|node| (node.value, node.base))
    };
    assert_eq!((sums("b"), sums("main"), sums("gone")), (Some((4, 5)), Some((10, 12)), None));
}

#[test]
fn speedscope_gets_its_shape() {
    let flame = flame(&SMALL);
    let json = serde_json::to_value(speedscope(&flame, "cpu.prof").unwrap()).unwrap();
    assert_eq!(json["$schema"], "https://www.speedscope.app/file-format-schema.json");
    let names: Vec<&str> = json["shared"]["frames"]
        .as_array()
        .unwrap()
        .iter()
        .map(|frame| frame["name"].as_str().unwrap())
        .collect();
    let sampled = &json["profiles"][0];
    assert_eq!((&sampled["type"], &sampled["unit"]), (&"sampled".into(), &"none".into()));
    assert_eq!(sampled["endValue"], 10);
    let stacks: Vec<String> = sampled["samples"]
        .as_array()
        .unwrap()
        .iter()
        .zip(sampled["weights"].as_array().unwrap())
        .map(|(stack, weight)| {
            let stack = stack.as_array().unwrap().iter();
            let stack: Vec<&str> =
                stack.map(|index| names[index.as_u64().unwrap() as usize]).collect();
            format!("{} {weight}\n", stack.join(";"))
        })
        .collect();
    let mut sorted = stacks.clone();
    sorted.sort();
    assert_eq!(sorted.concat(), folded(&flame).unwrap().to_string());
}

#[test]
fn names_stay_text() {
    const EVIL: &str = "</script><script>alert(1)</script>&\"'\u{2028}\u{7}]]>{{data}}";
    let flame = flame(&[(&format!("main;{EVIL}"), 1)]);
    for inverted in [false, true] {
        let svg = svg(&flame, EVIL, inverted).unwrap();
        assert!(!svg.contains("<script") && !svg.contains('\u{7}'), "{svg}");
        assert!(svg.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;"), "{svg}");
        let html = html(&flame, EVIL, inverted).unwrap();
        assert_eq!(html.matches("<script").count(), 2, "the page's own");
        assert_eq!(html.matches("alert(1)").count(), 3, "the title twice, the name once");
        let data = html.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        let names = data["names"].as_array().unwrap();
        assert!(names.iter().any(|name| name == EVIL), "{names:?}");
    }
    let flame = self::flame(&[("a\nb 7", 1)]);
    let folded = folded(&flame).unwrap().to_string();
    assert_eq!(folded, "a b 7 1\n");
}

#[test]
fn nothing_can_not_be_drawn() {
    for stacks in [&[][..], &[("main", 0)], &[("main", -4)]] {
        let flame = flame(stacks);
        assert!(matches!(svg(&flame, "", false), Err(Error::NothingToDraw { .. })));
        assert!(html(&flame, "", false).is_err() && speedscope(&flame, "").is_err());
    }
    assert_eq!(flame(&[("a", 1), ("b", -1)]).grow(false).note, "without 1 stack below zero");
}

#[test]
fn deep_and_wide_stacks_are_pruned() {
    let deep = vec!["f"; 200_000].join(";");
    let flame = flame(&[(&deep, 1)]);
    let tree = flame.grow(false);
    assert_eq!((tree.nodes.len(), tree.depth), (1001, 1000));
    assert!(tree.note.contains("no more than 1000 frames"), "{}", tree.note);
    assert!(svg(&flame, "deep", false).unwrap().contains("no more than 1000"));
    let names: Vec<String> = (0..50).map(|number| format!("main;f{number};g")).collect();
    let wide: Vec<(&str, i64)> = names.iter().map(String::as_str).zip(1..).collect();
    let flame = self::flame(&wide);
    let tree = flame.grow_to(false, 60, 100);
    assert_eq!((tree.nodes.len(), tree.note.as_str()), (60, "the 59 widest frames are shown"));
    let narrowest = tree.nodes.iter().filter(|node| node.depth == 3).map(|node| node.value).min();
    assert_eq!(narrowest, Some(43));
}

proptest! {
    #[test]
    fn widths_add_up(profile in testing::profiles(), inverted: bool) {
        let flame = Flame::new(&Stacks::of(&profile), None, None).unwrap();
        let tree = flame.grow(inverted);
        let above: i128 = (0..flame.len()).map(|stack| flame.values[stack].max(0)).sum();
        prop_assert_eq!(tree.nodes[0].value, above);
        for (index, node) in tree.nodes.iter().enumerate() {
            let children = tree.nodes.iter().skip(1).filter(|child| child.parent == index as u32);
            let mut children: Vec<&Node> = children.collect();
            children.sort_by_key(|child| child.start);
            let mut left = node.start;
            for child in children {
                prop_assert_eq!(child.start, left);
                prop_assert_eq!(child.depth, node.depth + 1);
                left += child.value;
            }
            prop_assert!(left <= node.start + node.value);
        }
        // Cut short, it is the beginning of the same tree.
        let cut = flame.grow_to(inverted, 4, 2);
        prop_assert!(cut.nodes.len() <= 4 && cut.depth <= 2);
        let place = |node: &Node| (node.name, node.start, node.value, node.depth);
        for node in &cut.nodes {
            prop_assert!(tree.nodes.iter().any(|other| place(other) == place(node)));
        }
    }
}
