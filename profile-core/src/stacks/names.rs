//! The name of a function in an object file.

/// A function in an object file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name as the object file has it, mangled.
    pub name: String,
    /// The address of its first instruction in this process.
    pub start: u64,
}
