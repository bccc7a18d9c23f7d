//! `completions` and `man`: what a shell and a reader of manuals need to know of the command.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args as ClapArgs, Command};
use clap_complete::Shell;

use crate::output::{self, CommandFailure};

/// Print a script that completes this command in a shell.
///
/// For bash: `profilez completions bash > ~/.local/share/bash-completion/completions/profilez`.
/// For zsh a file `_profilez` in a folder of `$fpath`, for fish
/// `~/.config/fish/completions/profilez.fish`.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub(crate) struct CompletionsArgs {
    /// Name of the shell.
    shell: Shell,
}

/// Print the manual page, or write those of all subcommands into a directory.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ManArgs {
    /// Directory to write the pages into, such as `~/.local/share/man/man1`; it is made if it is
    /// not there.
    directory: Option<PathBuf>,
}

const NAME: &str = "profilez";

/// Prints a script for a shell, of the whole command.
pub(crate) fn complete(
    args: CompletionsArgs,
    mut command: Command,
) -> Result<ExitCode, CommandFailure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, NAME, &mut script);
    print(&script)
}

/// Prints the manual page, or writes all.
pub(crate) fn man(args: &ManArgs, command: Command) -> Result<ExitCode, CommandFailure> {
    let Some(directory) = &args.directory else {
        let mut page = Vec::new();
        // Writing to a vector can't fail.
        let _ = clap_mangen::Man::new(command).render(&mut page);
        return print(&page);
    };
    let written =
        fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(command, directory));
    written.map_err(|error| {
        let text = format!("the pages can't be written to {}: {error}", directory.display());
        CommandFailure::Error(text.into())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn print(bytes: &[u8]) -> Result<ExitCode, CommandFailure> {
    output::print(&String::from_utf8_lossy(bytes))?;
    Ok(ExitCode::SUCCESS)
}
