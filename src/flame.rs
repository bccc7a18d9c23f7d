//! `flame`: a picture of where the stacks lead.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;

use profilez::analysis::flame::{Flame, folded, html, speedscope, svg};

use crate::args::FlameArgs;
use crate::input;
use crate::output::{self, CommandFailure};
use crate::profiles;

/// The form of a picture.
#[derive(Clone, Copy)]
enum PictureForm {
    Svg,
    Html,
    Folded,
    Speedscope,
}

impl PictureForm {
    /// Tells the form by the ending of a file's name.
    fn of(path: &Path) -> Option<PictureForm> {
        let name = path.file_name().and_then(OsStr::to_str)?;
        let pictures = [
            (".svg", PictureForm::Svg),
            (".html", PictureForm::Html),
            (".folded", PictureForm::Folded),
            (".speedscope.json", PictureForm::Speedscope),
        ];
        pictures.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, picture)| picture)
    }
}

pub(crate) fn run(args: &FlameArgs) -> Result<ExitCode, CommandFailure> {
    let Some(picture) = PictureForm::of(&args.output) else {
        let endings = ".svg, .html, .folded or .speedscope.json";
        let reason = format!("{}: the ending has to be {endings}", args.output.display());
        return Err(CommandFailure::Usage(reason));
    };
    let reads_stdin = args.files.iter().any(|file| input::is_stdin(file));
    if reads_stdin && args.base.as_deref().is_some_and(input::is_stdin) {
        return Err(CommandFailure::Usage("standard input can be read only once".to_owned()));
    }
    let (name, bytes) = profiles::choose_sum(&args.files, &args.select)?;
    let profile = profiles::read(&name, &bytes, &args.select)?;
    let base = args.base.as_ref().map(|spec| profiles::choose(spec, &args.select)).transpose()?;
    let base =
        base.as_ref().map(|(name, bytes)| profiles::read(name, bytes, &args.select)).transpose()?;
    let wanted = args.select.sample_type.as_deref();
    let named = |error| format!("{name}: {}", output::chain(&error));
    let make = if args.only_mine { Flame::only_mine } else { Flame::new };
    let base = base.as_ref().map(|base| &base.stacks);
    let flame = make(&profile.stacks, base, wanted).map_err(named)?;
    let title = title(args);
    let text = match picture {
        PictureForm::Svg => svg(&flame, &title, args.inverted),
        PictureForm::Html => html(&flame, &title, args.inverted),
        PictureForm::Folded => {
            let lines = folded(&flame).map_err(named)?;
            write(args, |out| lines.write_to(out))?;
            return Ok(ExitCode::SUCCESS);
        }
        PictureForm::Speedscope => {
            let json = speedscope(&flame, &title).map_err(named)?;
            write(args, |out| Ok(serde_json::to_writer(out, &json)?))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let text = text.map_err(named)?;
    write(args, |out| out.write_all(text.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the title: the file, and what it is compared with.
fn title(args: &FlameArgs) -> String {
    let name = |spec: &str| spec.rsplit(['/', '\\']).next().unwrap_or(spec).to_owned();
    let files = match &args.files[..] {
        [file] => name(file),
        [first, rest @ ..] => format!("{} and {} more", name(first), rest.len()),
        [] => String::new(),
    };
    match &args.base {
        Some(base) => format!("{files} since {}", name(base)),
        None => files,
    }
}

/// Writes the picture under its name. What is half done is not left behind.
fn write(
    args: &FlameArgs,
    content: impl FnOnce(&mut BufWriter<fs::File>) -> io::Result<()>,
) -> Result<(), CommandFailure> {
    let path = &args.output;
    let failed = |error: io::Error| output::describe(path, &error);
    let mut options = OpenOptions::new();
    options.write(true).create(true).create_new(!args.force).truncate(true);
    let mut out = BufWriter::new(options.open(path).map_err(failed)?);
    if let Err(error) = content(&mut out).and_then(|()| out.flush()) {
        // The first error says what went wrong.
        let _ = fs::remove_file(path);
        return Err(failed(error).into());
    }
    output::note(&format!("wrote {}", output::printable(&path.display().to_string())));
    Ok(())
}
