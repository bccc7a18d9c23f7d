//! Runs measurements in processes of their own, the engines in turn: A B A B. What one run leaves
//! in memory and caches is gone before the next, and what changes slowly on the machine meets all.

use std::collections::BTreeMap;
use std::env;
use std::process::{Command, ExitCode, Stdio};

use crate::control;
use crate::engine::Engine;
use crate::spread::Spread;

/// The figures of one run, by name.
pub type Figures = BTreeMap<String, f64>;

/// Figures from pairs of a name and a value.
pub fn figures<const N: usize>(pairs: [(&str, f64); N]) -> Figures {
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}

/// A measurement of an area: one or more rows of its table.
pub struct Line {
    /// What `--line` and a child process call it.
    pub name: &'static str,
    /// Runs children, and makes rows of what they measured.
    pub rows: fn(&mut Runner) -> Vec<crate::table::Row>,
    /// What a child measures.
    pub child: fn(Engine, &[u32]) -> Figures,
}

/// How often and how long to measure, and how quiet the machine was while it was done.
pub struct Runner {
    /// Half as long, and three pairs instead of five.
    pub quick: bool,
    line: &'static str,
    /// One reading of the machine before each round of runs.
    pub controls: Vec<control::Reading>,
}

/// The runs of one engine; those that failed are left out.
pub struct Runs(Vec<Option<Figures>>);

impl Runner {
    /// A runner that has run nothing yet.
    pub fn new(quick: bool) -> Runner {
        Runner { quick, line: "", controls: Vec::new() }
    }

    /// Makes the rows of a line.
    pub fn rows(&mut self, line: &Line) -> Vec<crate::table::Row> {
        self.line = line.name;
        (line.rows)(self)
    }

    /// Runs the line's child with each engine in turn, several times over.
    pub fn pairs<const N: usize>(&mut self, engines: [Engine; N], args: &[u32]) -> [Runs; N] {
        let mut runs = engines.map(|_| Runs(Vec::new()));
        for round in 0..if self.quick { 3 } else { 5 } {
            self.controls.push(control::read());
            for (engine, runs) in engines.iter().zip(&mut runs) {
                eprintln!("{} {engine} {args:?}, round {}", self.line, round + 1);
                let figures = child(self.line, *engine, args);
                if let Err(why) = &figures {
                    eprintln!("{} {engine} {args:?} failed: {why}", self.line);
                }
                runs.0.push(figures.ok());
            }
        }
        runs
    }

    /// Runs the line's child a single time: for one whose figures are of many measurements.
    pub fn once(&mut self, engine: Engine, args: &[u32]) -> Runs {
        self.controls.push(control::read());
        eprintln!("{} {engine} {args:?}", self.line);
        let figures = child(self.line, engine, args);
        if let Err(why) = &figures {
            eprintln!("{} {engine} {args:?} failed: {why}", self.line);
        }
        Runs(vec![figures.ok()])
    }
}

impl Runner {
    /// Runs children of other programs in turn, several times over: each a name beside this
    /// program's, and numbers for it.
    pub fn programs<const N: usize>(
        &mut self,
        rounds: usize,
        programs: [(&str, &[u32]); N],
    ) -> [Runs; N] {
        let mut runs = programs.map(|_| Runs(Vec::new()));
        for round in 0..rounds {
            self.controls.push(control::read());
            for ((name, args), runs) in programs.iter().zip(&mut runs) {
                eprintln!("{} {name} {args:?}, round {}", self.line, round + 1);
                let figures = other(name, self.line, args);
                if let Err(why) = &figures {
                    eprintln!("{} {name} {args:?} failed: {why}", self.line);
                }
                runs.0.push(figures.ok());
            }
        }
        runs
    }
}

impl Runs {
    /// The figures of each run; those that failed are left out.
    pub fn all(&self) -> impl Iterator<Item = &Figures> {
        self.0.iter().flatten()
    }

    /// The spread of a figure. `None` where a run failed: the median of the rest would not show it.
    pub fn spread(&self, name: &str) -> Option<Spread> {
        self.spread_of(|figures| figures[name])
    }

    /// The spread of what a function makes of each run.
    pub fn spread_of(&self, value: impl Fn(&Figures) -> f64) -> Option<Spread> {
        let values: Option<Vec<f64>> =
            self.0.iter().map(|figures| figures.as_ref().map(&value)).collect();
        Spread::of(values?)
    }

    /// The spread of what a function makes of each run and the other's run of the same round.
    pub fn spread_with(
        &self,
        other: &Runs,
        value: impl Fn(&Figures, &Figures) -> f64,
    ) -> Option<Spread> {
        let values: Option<Vec<f64>> = self
            .0
            .iter()
            .zip(&other.0)
            .map(|(ours, theirs)| Some(value(ours.as_ref()?, theirs.as_ref()?)))
            .collect();
        Spread::of(values?)
    }
}

fn child(line: &str, engine: Engine, args: &[u32]) -> Result<Figures, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    measured(Command::new(program).args(["child", line, &engine.to_string()]), args)
}

fn other(name: &str, line: &str, args: &[u32]) -> Result<Figures, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?.with_file_name(name);
    measured(Command::new(program).arg(line), args)
}

fn measured(command: &mut Command, args: &[u32]) -> Result<Figures, String> {
    let output = command
        .args(args.iter().map(u32::to_string))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

/// The program of an area: measures the lines that the command line chooses and prints the table, or
/// is the child that measures one of them. It succeeds where all bars hold.
pub fn area(lines: &[Line]) -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match measure(lines, &args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all bars hold; an error where the command line makes no sense.
fn measure(lines: &[Line], args: &[String]) -> Result<bool, String> {
    if let Some(("child", rest)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        let [line, engine, rest @ ..] = rest else { return Err("child of what?".to_owned()) };
        let args: Result<Vec<u32>, _> = rest.iter().map(|arg| arg.parse()).collect();
        let figures =
            (known(lines, line)?.child)(engine.parse()?, &args.map_err(|error| error.to_string())?);
        println!("{}", serde_json::to_string(&figures).expect("numbers by name are JSON"));
        return Ok(true);
    }

    let (mut json, mut quick, mut chosen) = (false, false, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => json = true,
            "--quick" => quick = true,
            "--line" => chosen.push(known(lines, args.next().map_or("", String::as_str))?),
            other => return Err(format!("unexpected argument: {other}")),
        }
    }
    if chosen.is_empty() {
        chosen = lines.iter().collect();
    }
    let mut runner = Runner::new(quick);
    let mut rows: Vec<_> = chosen.into_iter().flat_map(|line| runner.rows(line)).collect();
    let noise = control::Noise::of(&runner.controls);
    rows.extend(noise.rows());
    if json {
        println!("{}", serde_json::to_string_pretty(&rows).expect("rows are JSON"));
        eprintln!("{noise}");
    } else {
        print!("{}", crate::table::render(&rows));
        println!("{noise}");
    }
    Ok(!rows.iter().any(crate::table::Row::fails))
}

fn known<'a>(lines: &'a [Line], name: &str) -> Result<&'a Line, String> {
    let names: Vec<&str> = lines.iter().map(|line| line.name).collect();
    lines
        .iter()
        .find(|line| line.name == name)
        .ok_or_else(|| format!("no such line: {name} (there are: {})", names.join(", ")))
}
