//! The names in object files of this process's addresses, for readers that name functions themselves.

use crate::stacks::names::Symbol;
#[cfg(all(feature = "_symbols", target_os = "linux"))]
use crate::stacks::symbol::AddressSymbolizer;

/// Finds the symbol that holds each address; `None` where there is none, and for all where no
/// collector of stacks is compiled in.
///
/// ```
/// let [main, nothing] = &profile_core::symbols(&[main as fn() as usize as u64, 1])[..] else {
///     panic!("one for each address")
/// };
/// assert_eq!(*nothing, None);
/// # if !cfg!(target_os = "linux") || !cfg!(feature = "sampler") { return }
/// assert!(main.as_ref().is_some_and(|symbol| symbol.name.contains("main")));
/// ```
pub fn symbols(addresses: &[u64]) -> Vec<Option<Symbol>> {
    let none = || addresses.iter().map(|_| None).collect();
    LOOK_UPS.first().map_or_else(none, |look_up| look_up(addresses))
}

/// Looks up the symbol of each address.
type LookUp = fn(&[u64]) -> Vec<Option<Symbol>>;

/// The function that looks up symbols; none in a build without a collector of stacks.
static LOOK_UPS: &[LookUp] = &[
    #[cfg(all(feature = "_symbols", target_os = "linux"))]
    AddressSymbolizer::look_up,
];
