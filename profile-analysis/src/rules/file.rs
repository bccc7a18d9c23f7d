//! Files of rules: from TOML to a [`RuleSet`].

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

use super::{
    Category, MAX_FILE, MAX_RULES, NamePattern, RuleConditions, RuleError, RuleSet, StackRule,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    #[serde(default)]
    rule: Vec<WrittenRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    id: String,
    category: WrittenCategory,
    #[serde(rename = "match")]
    all: WrittenConditions,
    unless: Option<WrittenConditions>,
    stuck_after: Option<String>,
    severity: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenCategory {
    Background,
    PerRequest,
    Unknown,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenConditions {
    any_frame: WrittenPatterns,
    top_user_frame: WrittenPatterns,
    created_by: WrittenPatterns,
    state: WrittenPatterns,
    label: BTreeMap<String, WrittenPatterns>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a pattern in quotes, or a list of such patterns")]
enum WrittenPatterns {
    One(String),
    List(Vec<String>),
}

impl Default for WrittenPatterns {
    fn default() -> WrittenPatterns {
        WrittenPatterns::List(Vec::new())
    }
}

impl WrittenPatterns {
    fn into_list(self) -> Vec<String> {
        match self {
            WrittenPatterns::One(pattern) => vec![pattern],
            WrittenPatterns::List(patterns) => patterns,
        }
    }
}

pub(super) fn parse(text: &str) -> Result<RuleSet, RuleError> {
    if text.len() > MAX_FILE {
        return Err(RuleError::TooLong);
    }
    let file: RulesFile =
        toml::from_str(text).map_err(|error| RuleError::File(format_toml_error(text, &error)))?;
    if file.rule.len() > MAX_RULES {
        return Err(RuleError::TooMany);
    }
    let mut rules = RuleSet::default();
    let mut ids = HashSet::new();
    for written in file.rule {
        if !ids.insert(written.id.clone()) {
            return Err(RuleError::Twice { rule: written.id });
        }
        let rule = compile_rule(written, &mut rules.functions)?;
        rules.rules.push(rule);
    }
    Ok(rules)
}

/// Returns the place and the reason of an error as one line: why a text is no file of rules.
fn format_toml_error(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().trim().replace('\n', ", ");
    let before = error.span().and_then(|span| text.get(..span.start));
    let Some(before) = before else { return message };
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    format!("line {line}, column {column}: {message}")
}

fn compile_rule(
    written: WrittenRule,
    functions: &mut Vec<NamePattern>,
) -> Result<StackRule, RuleError> {
    let WrittenRule { id, category, all, unless, stuck_after, severity } = written;
    let all = compile_conditions(&id, all, functions)?;
    let unless = unless.map(|unless| compile_conditions(&id, unless, functions)).transpose()?;
    if all.is_empty() || unless.as_ref().is_some_and(RuleConditions::is_empty) {
        return Err(RuleError::NoCondition { rule: id });
    }
    let stuck_after = match stuck_after {
        Some(value) => match parse_minutes(&value) {
            Some(minutes) => Some(minutes),
            None => return Err(RuleError::StuckAfter { rule: id, value }),
        },
        None => None,
    };
    let category = match category {
        WrittenCategory::Background => Category::Background,
        WrittenCategory::PerRequest => Category::PerRequest,
        WrittenCategory::Unknown => Category::Unknown,
    };
    Ok(StackRule { id, category, all, unless, stuck_after, severity })
}

fn compile_conditions(
    rule: &str,
    written: WrittenConditions,
    functions: &mut Vec<NamePattern>,
) -> Result<RuleConditions, RuleError> {
    let compile = |patterns: WrittenPatterns| -> Result<Vec<NamePattern>, RuleError> {
        let compiled = patterns.into_list().into_iter().map(|text| {
            NamePattern::new(&text).map_err(|reason| RuleError::Pattern {
                rule: rule.to_owned(),
                pattern: text,
                reason,
            })
        });
        compiled.collect()
    };
    let mut numbers = |patterns: WrittenPatterns| -> Result<Vec<usize>, RuleError> {
        let first = functions.len();
        functions.extend(compile(patterns)?);
        Ok((first..functions.len()).collect())
    };
    let label = written.label.into_iter().map(|(key, patterns)| Ok((key, compile(patterns)?)));
    Ok(RuleConditions {
        any_frame: numbers(written.any_frame)?,
        top_user_frame: numbers(written.top_user_frame)?,
        created_by: numbers(written.created_by)?,
        state: compile(written.state)?,
        label: label.collect::<Result<_, RuleError>>()?,
    })
}

/// Returns the whole minutes of `5m`, `2h`, `1h30m` or `300s`.
fn parse_minutes(text: &str) -> Option<u64> {
    let duration = profile_format::parse_duration(text).ok()?;
    (duration.subsec_nanos() == 0 && duration.as_secs() % 60 == 0)
        .then_some(duration.as_secs() / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_rules_can_be_read() {
        for file in [
            include_str!("requests.toml"),
            include_str!("background.toml"),
            include_str!("original.toml"),
        ] {
            let rules = parse(file).unwrap();
            assert!(!rules.is_empty());
            let mut ids: Vec<_> = rules.rules.iter().map(|rule| &rule.id).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), rules.len(), "an id is there twice");
        }
    }

    #[track_caller]
    fn refused(file: &str, why: &str) {
        let error = parse(file).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        refused(
            "[[rule]]\nid = 1\n",
            "line 2, column 6: invalid type: integer `1`, expected a string",
        );
        refused("[[rules]]\n", "unknown field `rules`");
        let rule =
            |rest: &str| format!("[[rule]]\nid = \"x\"\ncategory = \"background\"\n{rest}\n");
        refused(&rule("match = {}"), "rule \"x\" has no condition");
        refused(&rule("match = { frame = \"a\" }"), "unknown field `frame`");
        refused(&rule("match = { any_frame = \"/(/\" }"), "rule \"x\": pattern \"/(/\": ");
        refused(&rule("match = { state = \"a\" }\nstuck_after = \"90s\""), "whole minutes");
        refused(&rule("match = { state = \"a\" }\nseverty = \"a\""), "unknown field `severty`");
        refused(&rule("match = { state = 7 }"), "line 4, column 19: expected a pattern in quotes");
        refused(&rule("match = { state = \"/[/\" }"), "pattern \"/[/\": unclosed character class");
        let twice = rule("match = { state = \"a\" }").repeat(2);
        refused(&twice, "rule \"x\" is there twice");
        refused(&" ".repeat(MAX_FILE + 1), "limit of 4194304 bytes");
    }

    #[test]
    fn minutes_are_whole() {
        for (text, expected) in
            [("5m", Some(5)), ("1h30m", Some(90)), ("300s", Some(5)), ("1s", None)]
        {
            assert_eq!(parse_minutes(text), expected, "{text}");
        }
    }
}
