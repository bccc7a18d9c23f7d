//! What can be asked of the command, as clap reads it.

use std::env;
use std::ffi::OsString;
use std::num::ParseIntError;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::Resettable;
use clap::{
    Args as ClapArgs, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
};
use profilez::analysis::top::By;
use profilez::core::CpuRate;
use profilez::core::task::Detail;
use profilez::format::{DurationError, parse_duration};

use crate::shell::{CompletionsArgs, ManArgs};

/// Collect every profile of a running service in one request, and read them.
///
/// Results go to standard output, progress and notes to standard error.
///
/// Exit codes: 0 all right, 1 failed, 2 wrong usage, 3 partial (something is missing; what there is
/// was kept), 130 interrupted.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct CliArgs {
    #[command(flatten)]
    pub(crate) color: ColorArgs,

    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

impl CliArgs {
    /// Returns the arguments of this process. What is wrong with them is printed, and ends it.
    pub(crate) fn of_this_process() -> CliArgs {
        let command = CliArgs::command_in(|name| env::var_os(name));
        let matches = command.get_matches_from(env::args_os().map(stdin_by_name));
        CliArgs::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Returns the command in an environment, where a variable that is empty counts as one that is
    /// not there.
    fn command_in(variable: impl Fn(&str) -> Option<OsString>) -> clap::Command {
        let is_empty = |arg: &clap::Arg| {
            let name = arg.get_env().and_then(|name| name.to_str());
            name.and_then(&variable).is_some_and(|value| value.is_empty())
        };
        CliArgs::command().mut_subcommands(|command| {
            command.mut_args(|arg| {
                if is_empty(&arg) {
                    arg.env(Resettable::<clap::builder::OsStr>::Reset)
                } else {
                    arg
                }
            })
        })
    }
}

/// Writes `-:heap.prof` in a way that doesn't look like an option, which clap would take it for.
fn stdin_by_name(arg: OsString) -> OsString {
    match arg.to_str().and_then(|text| text.strip_prefix("-:")) {
        Some(entry) if cfg!(unix) => format!("{STDIN}:{entry}").into(),
        _ => arg,
    }
}

/// The name of standard input among the files.
pub(crate) const STDIN: &str = "/dev/stdin";

#[derive(Clone, Copy, Debug, ClapArgs)]
pub(crate) struct ColorArgs {
    /// Choose when to colour the output. NO_COLOR and CLICOLOR are obeyed.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: clap::ColorChoice,
}

impl ColorArgs {
    /// Sets the choice for everything that is printed from now on.
    pub(crate) fn write_global(self) {
        match self.color {
            clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
            clap::ColorChoice::Always => anstream::ColorChoice::Always,
            clap::ColorChoice::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    Demo(DemoArgs),
    Collect(Box<CollectArgs>),
    Report(ReportArgs),
    Groups(GroupsArgs),
    Top(TopArgs),
    Inspect(InspectArgs),
    Trace(TraceArgs),
    Diff(DiffArgs),
    Flame(FlameArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Try it out: profile an embedded service whose workload is known, and compare.
///
/// Starts a service on loopback, collects a bundle from it over HTTP and prints the report. Then it
/// prints what the workload really does beside what the profiles say.
#[derive(Debug, ClapArgs)]
pub(crate) struct DemoArgs {
    /// Keep the bundle in this file, or under a name of its own in this directory. One whose name ends
    /// with / is made where there is none.
    #[arg(short, long, value_name = "FILE", value_parser = file)]
    pub(crate) output: Option<PathBuf>,

    /// Overwrite a file that exists.
    #[arg(long, requires = "output")]
    pub(crate) force: bool,

    /// Keep the service running, and print its URL.
    #[arg(long, conflicts_with_all = ["output", "duration", "json"])]
    pub(crate) serve: bool,

    /// The loopback address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: String,

    /// Time to record: `10s`, `1m`, or bare seconds.
    #[arg(short, long, value_name = "DURATION", default_value = "10s", value_parser = duration_text)]
    pub(crate) duration: String,

    /// Print the report and the comparison as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Collect a bundle from a running service.
///
/// URL is `host:port`, a base such as `https://host/debug`, or one of the endpoints. The service is
/// asked for a bundle at /debug/profile; where there is no such thing (404 or 405), the profiles are
/// fetched one by one from /debug/pprof/, which any Go service can have, and put into the same
/// bundle. With several URLs up to 16 are collected from at the same time, each into a file of its
/// own.
///
/// What a collection that breaks off has got is kept in FILE.partial, and its manifest says why
/// there is no more.
#[derive(Debug, ClapArgs)]
pub(crate) struct CollectArgs {
    /// The services to collect from.
    #[arg(value_name = "URL", required_unless_present = "unix_socket")]
    pub(crate) urls: Vec<String>,

    /// Place to put the bundle: a file, a directory, or `-` for standard output. A directory whose
    /// name ends with / is made where there is none. By default a file in this directory, called
    /// after host, service and time. Until it is whole it is called FILE.partial.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Time to record: `10s`, `1m30s`, or bare seconds. The service's default is 10s.
    #[arg(short, long, value_name = "DURATION", env = "PROFILEZ_DURATION", value_parser = duration_text)]
    pub(crate) duration: Option<String>,

    /// The profiles to collect, separated by commas: cpu, heap, allocs, block, mutex, goroutine,
    /// threadcreate, trace.
    #[arg(short, long, value_name = "LIST", env = "PROFILEZ_PROFILES")]
    pub(crate) profiles: Option<String>,

    /// Say also what each task of the service waits in: `await-tree`, if it was built with that.
    #[arg(long, value_name = "HOW", env = "PROFILEZ_TASKS")]
    pub(crate) tasks: Option<Detail>,

    /// Samples of the CPU profile for each second of CPU time, from 1 to 1000. The service's default is
    /// 100.
    #[arg(long, value_name = "RATE", env = "PROFILEZ_HZ")]
    pub(crate) hz: Option<CpuRate>,

    // The environment is not read here: clap would take its variables for arguments, and these two
    // exclude each other.
    /// The token to send; by default what PROFILEZ_TOKEN holds. Other users of this host can see
    /// arguments: prefer the environment or --token-file.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,

    /// A file that holds the token; by default the one that PROFILEZ_TOKEN_FILE names.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,

    /// A header to send, as `Name: value`. May be repeated. One of `Authorization` takes the place
    /// of the token.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub(crate) headers: Vec<String>,

    /// Connect through this unix socket. Without a URL it is asked for /debug/profile.
    #[arg(long, value_name = "PATH", env = "PROFILEZ_UNIX_SOCKET")]
    pub(crate) unix_socket: Option<PathBuf>,

    /// Path of the endpoints if URL names a host only. By default /debug.
    #[arg(long, value_name = "PATH", env = "PROFILEZ_PREFIX")]
    pub(crate) prefix: Option<String>,

    /// Don't ask for the profiles one by one where there is no /debug/profile.
    #[arg(long, env = "PROFILEZ_NO_FALLBACK", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) no_fallback: bool,

    /// Trust the certificate authorities in this PEM file, and no others.
    #[arg(long, value_name = "FILE", env = "PROFILEZ_CACERT")]
    pub(crate) cacert: Option<PathBuf>,

    /// Show the certificate in this PEM file to a server that asks for one.
    #[arg(long, value_name = "FILE", env = "PROFILEZ_CERT")]
    pub(crate) cert: Option<PathBuf>,

    /// The key of --cert, as PEM without a passphrase. By default it is in the same file.
    #[arg(long, value_name = "FILE", env = "PROFILEZ_KEY", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// Talk to any server, whatever its certificate says. A token can be read on the way then.
    #[arg(long, env = "PROFILEZ_INSECURE", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) insecure: bool,

    /// Number of times to repeat a request if the service can't be reached, or answers 502, 503 or
    /// 504. A service that is busy is waited for in any case, within the timeout.
    #[arg(long, value_name = "N", env = "PROFILEZ_RETRIES", default_value_t = 0)]
    pub(crate) retries: u32,

    /// Time that the whole collection may take, waits included. By default two minutes beyond the
    /// window.
    #[arg(long, value_name = "DURATION", env = "PROFILEZ_TIMEOUT", value_parser = timeout)]
    pub(crate) timeout: Option<Duration>,

    /// The largest bundle to take, in MiB.
    #[arg(long, value_name = "MIB", env = "PROFILEZ_MAX_SIZE", default_value_t = 1024)]
    pub(crate) max_size: u64,

    /// Overwrite a file that exists.
    #[arg(long)]
    pub(crate) force: bool,

    /// Print a line of JSON for each bundle.
    #[arg(long)]
    pub(crate) json: bool,

    /// Print no progress and no notes, but for errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The whole story on one screen: what was collected, and what stands out.
#[derive(Debug, ClapArgs)]
pub(crate) struct ReportArgs {
    /// A bundle, a profile or a dump, `bundle.tar.gz:heap.prof` for one entry, `-` or
    /// `-:heap.prof` for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: String,

    /// Rows in each table; 0 for all.
    #[arg(short = 'n', long, value_name = "N", default_value = "10", value_parser = parse_rows)]
    pub(crate) rows: usize,

    /// Only the program's own functions: all libraries are charged to those that called them.
    #[arg(long)]
    pub(crate) only_mine: bool,

    /// Take off what a log has put before each line of a dump, where it isn't found by itself.
    #[arg(long)]
    pub(crate) strip_prefix: bool,

    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Goroutines, threads and tasks in groups: what they are for, and what looks stuck.
#[derive(Debug, ClapArgs)]
pub(crate) struct GroupsArgs {
    /// A dump (Go's debug=1, debug=2 or a crash, or ours; packed or not), a goroutine profile, or a
    /// bundle; `bundle.tar.gz:goroutine.txt` for one entry, `-` or `-:goroutine.txt` for standard
    /// input.
    #[arg(value_name = "FILE")]
    pub(crate) file: String,

    #[command(flatten)]
    pub(crate) judging: JudgingArgs,

    /// The most groups to print as text; 0 for all.
    #[arg(short = 'n', long, value_name = "N", default_value = "30", value_parser = parse_rows)]
    pub(crate) rows: usize,

    /// Print all groups as JSON, in the shape of /debug/goroutines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options for reading, grouping and judging dumps.
#[derive(Debug, ClapArgs)]
pub(crate) struct JudgingArgs {
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,

    /// Key that the members of a group share: `exact` (state, every frame, creator), `function` (no
    /// lines), `top:N` (N frames), `creator`, or `label:KEY`.
    #[arg(long, value_name = "KEY", default_value = "exact", value_parser = parse_group_by)]
    pub(crate) by: GroupBy,
}

/// Options for reading and judging dumps.
#[derive(Debug, ClapArgs)]
pub(crate) struct ReadingArgs {
    /// Rules of your own, a TOML file; they come before the shipped ones. `original` stands for
    /// rules made of the names of the Go service whose developer page was the model, instead of the
    /// shipped rules.
    #[arg(long, value_name = "FILE.toml|original")]
    pub(crate) rules: Option<String>,

    /// Take off what a log has put before each line of a dump, where it isn't found by itself.
    #[arg(long)]
    pub(crate) strip_prefix: bool,
}

/// The key that the members of a group share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupBy {
    Exact,
    Function,
    Top(usize),
    Creator,
    Label(String),
}

fn parse_group_by(text: &str) -> Result<GroupBy, String> {
    match text.split_once(':') {
        None if text == "exact" => Ok(GroupBy::Exact),
        None if text == "function" => Ok(GroupBy::Function),
        None if text == "creator" => Ok(GroupBy::Creator),
        Some(("top", number)) => match number.parse() {
            Ok(number @ 1..) => Ok(GroupBy::Top(number)),
            _ => Err("top needs a number of frames, such as top:3".to_owned()),
        },
        Some(("label", key)) if !key.is_empty() => Ok(GroupBy::Label(key.to_owned())),
        _ => Err("it has to be exact, function, top:N, creator or label:KEY".to_owned()),
    }
}

/// Rank functions, or whole stacks, by what falls on them.
#[derive(Debug, ClapArgs)]
pub(crate) struct TopArgs {
    /// A profile (profile.proto, a jemalloc dump, a legacy profile, folded stacks, speedscope, `perf
    /// script`), or a bundle (tar, zip), of which the first profile is taken, with --type the first
    /// that has it; `bundle.tar.gz:heap.prof` for one entry, `-` or `-:heap.prof` for standard input.
    /// Of a folder all profiles are taken that are called as the first, whatever the digits in their
    /// names. Several are added up.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<String>,

    #[command(flatten)]
    pub(crate) select: SelectArgs,

    /// Rank by what falls on a row and all that it called, instead of on the row alone.
    #[arg(long)]
    pub(crate) cum: bool,

    /// Unit of a row; by default `function`.
    #[arg(long, value_name = "WHAT")]
    pub(crate) by: Option<RankingRow>,

    /// Only the program's own functions: all libraries are charged to those that called them.
    #[arg(long)]
    pub(crate) only_mine: bool,

    /// The most rows; 0 for all.
    #[arg(short = 'n', long, value_name = "N", default_value = "30", value_parser = parse_rows)]
    pub(crate) rows: usize,

    /// Print the ranking as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options that choose a part of a profile.
#[derive(Debug, ClapArgs)]
pub(crate) struct SelectArgs {
    /// The sample type, such as `inuse_space`. By default the profile's own, else its last.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) sample_type: Option<String>,

    /// Only stacks with a frame that this regular expression finds, in its function or file.
    #[arg(long, value_name = "REGEX")]
    pub(crate) focus: Option<String>,

    /// No stacks with a frame that this regular expression finds, in its function or file.
    #[arg(long, value_name = "REGEX")]
    pub(crate) ignore: Option<String>,

    /// No frames that this regular expression finds; what they took falls on their callers.
    #[arg(long, value_name = "REGEX")]
    pub(crate) hide: Option<String>,

    /// Only samples with such a label: `KEY=REGEX`, `REGEX` to be found in some `KEY:VALUE`, or
    /// numbers, such as `bytes=4kb:64kb`.
    #[arg(long, value_name = "TAG")]
    pub(crate) tagfocus: Option<String>,

    /// No samples with such a label.
    #[arg(long, value_name = "TAG")]
    pub(crate) tagignore: Option<String>,
}

/// A row of a ranking, as the command line calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RankingRow {
    /// A function by its name and file.
    Function,
    /// A function, with the standard library, allocators, locks and runtimes charged to who called
    /// them.
    Caller,
    /// A line of a function.
    Line,
    /// A source file.
    File,
    /// A whole stack with its inlined frames.
    Site,
}

impl From<RankingRow> for By {
    fn from(row: RankingRow) -> By {
        match row {
            RankingRow::Function => By::Function,
            RankingRow::Caller => By::Caller,
            RankingRow::Line => By::Line,
            RankingRow::File => By::File,
            RankingRow::Site => By::Site,
        }
    }
}

impl RankingRow {
    /// Reads a word that clap has not seen as one of these.
    fn from_word(word: &str) -> Result<RankingRow, String> {
        RankingRow::from_str(word, false).map_err(|_| {
            let values =
                RankingRow::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            let names: Vec<String> = values.map(|value| value.get_name().to_owned()).collect();
            format!("it has to be one of {}", names.join(", "))
        })
    }
}

/// Draw where the stacks lead: as a picture, a page, or data for other tools, by the output's
/// ending.
#[derive(Debug, ClapArgs)]
pub(crate) struct FlameArgs {
    /// Profiles, bundles or folders, as for `top`; several are added up.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<String>,

    /// File to write: `.svg`, `.html` (search, zoom, callers), `.folded`, `.speedscope.json`.
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,

    #[command(flatten)]
    pub(crate) select: SelectArgs,

    /// An earlier profile to compare with: red is more than in it, blue is less.
    #[arg(long, value_name = "FILE")]
    pub(crate) base: Option<String>,

    /// Show what is called by what.
    #[arg(long)]
    pub(crate) inverted: bool,

    /// Only the program's own functions: all libraries are charged to those that called them.
    #[arg(long)]
    pub(crate) only_mine: bool,

    /// Overwrite a file that exists.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Show what has grown from one file to the next: profiles by function or site, dumps by group,
/// bundles entry by entry.
#[derive(Debug, ClapArgs)]
pub(crate) struct DiffArgs {
    /// The earlier one: a profile, a dump or a bundle.
    #[arg(value_name = "BASE")]
    pub(crate) base: String,

    /// The later one.
    #[arg(value_name = "NEW")]
    pub(crate) new: String,

    #[command(flatten)]
    pub(crate) select: SelectArgs,

    /// Rank profiles by what has changed with all that a row called.
    #[arg(long)]
    pub(crate) cum: bool,

    /// Scale the earlier profile to the later one's total.
    #[arg(long)]
    pub(crate) normalize: bool,

    /// Unit of a row: of profiles `function`, `caller`, `line`, `file` or `site`, of dumps `exact`,
    /// `function`, `top:N`, `creator` or `label:KEY`. By default `function` and `exact`.
    #[arg(long, value_name = "WHAT")]
    pub(crate) by: Option<String>,

    #[command(flatten)]
    pub(crate) reading: ReadingArgs,

    /// The most rows to print as text; 0 for all.
    #[arg(short = 'n', long, value_name = "N", default_value = "30", value_parser = parse_rows)]
    pub(crate) rows: usize,

    /// Print what has changed as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl DiffArgs {
    /// Returns the row of a ranking of profiles.
    pub(crate) fn ranking_row(&self) -> Result<By, String> {
        self.by
            .as_deref()
            .map_or(Ok(By::Function), |word| RankingRow::from_word(word).map(By::from))
    }

    /// Returns the key of the groups of dumps.
    pub(crate) fn group_key(&self) -> Result<GroupBy, String> {
        self.by.as_deref().map_or(Ok(GroupBy::Exact), parse_group_by)
    }
}

/// The facts of a file: format, counts, totals, warnings.
#[derive(Debug, ClapArgs)]
pub(crate) struct InspectArgs {
    /// A bundle, a profile or a dump, `bundle.tar.gz:heap.prof` for one entry, `-` or
    /// `-:heap.prof` for standard input.
    /// The content decides what it is, not the name.
    #[arg(value_name = "FILE")]
    pub(crate) file: String,

    /// Take off what a log has put before each line of a dump, where it isn't found by itself.
    #[arg(long)]
    pub(crate) strip_prefix: bool,

    /// Print the facts as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show what a trace says: blocked workers, tasks that were never polled again, slow polls, the
/// busiest tasks.
#[derive(Debug, ClapArgs)]
pub(crate) struct TraceArgs {
    /// A bundle with a trace, or a file of Chrome trace events, gzip'd or not; `-` for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: String,

    /// Rows in each table; 0 for all.
    #[arg(short = 'n', long, value_name = "N", default_value = "10", value_parser = parse_rows)]
    pub(crate) rows: usize,

    /// Print the summary and the findings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Parses a number of rows; 0 stands for all.
fn parse_rows(text: &str) -> Result<usize, ParseIntError> {
    text.parse().map(|rows| if rows == 0 { usize::MAX } else { rows })
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| match error {
        DurationError::Syntax(_) => format!("{error}: give one such as 10s or 1m30s"),
        error => error.to_string(),
    })
}

/// Checks a duration that is sent as it was typed.
fn duration_text(text: &str) -> Result<String, String> {
    duration(text).map(|_| text.to_owned())
}

fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be more than nothing".to_owned()),
        timeout => Ok(timeout),
    }
}

fn file(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => Err("standard output is for the report".to_owned()),
        path => Ok(path.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        CliArgs::command().debug_assert();
    }

    #[test]
    fn an_empty_variable_is_as_if_it_was_not_there() {
        let retries = |value: &str| {
            let variable = |name: &str| (name == "PROFILEZ_RETRIES").then(|| value.into());
            let command = CliArgs::command_in(variable);
            let collect = command.find_subcommand("collect").unwrap();
            let retries = collect.get_arguments().find(|arg| arg.get_id() == "retries").unwrap();
            retries.get_env().is_some()
        };
        assert!(retries("3"));
        assert!(!retries(""));
    }

    #[test]
    #[cfg(unix)]
    fn an_entry_of_standard_input_is_no_option() {
        assert_eq!(stdin_by_name("-:heap.prof".into()), "/dev/stdin:heap.prof");
        for other in ["-", "-n", "x:-:y"] {
            assert_eq!(stdin_by_name(other.into()), other);
        }
    }

    #[test]
    fn no_rows_are_all_rows() {
        assert_eq!((parse_rows("0"), parse_rows("7")), (Ok(usize::MAX), Ok(7)));
        assert!(parse_rows("-1").is_err());
    }

    #[test]
    fn rows_of_rankings_have_names() {
        assert_eq!(RankingRow::from_word("caller"), Ok(RankingRow::Caller));
        for wrong in ["", "Caller", "lines", "top:3"] {
            let why = "it has to be one of function, caller, line, file, site";
            assert_eq!(RankingRow::from_word(wrong), Err(why.to_owned()), "{wrong}");
        }
    }

    #[test]
    fn groups_have_keys() {
        assert_eq!(parse_group_by("top:3"), Ok(GroupBy::Top(3)));
        assert_eq!(parse_group_by("label:a:b"), Ok(GroupBy::Label("a:b".to_owned())));
        for wrong in ["top:0", "top:x", "top", "label:", "lines", ""] {
            assert!(parse_group_by(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_help_says_where_a_token_can_come_from() {
        let help = CliArgs::command()
            .find_subcommand_mut("collect")
            .map(|command| command.render_long_help().to_string())
            .unwrap_or_default();
        assert!(help.contains("PROFILEZ_TOKEN "), "{help}");
        assert!(help.contains("PROFILEZ_TOKEN_FILE"), "{help}");
    }
}
