//! The names in object files of this process's addresses, for readers that name functions themselves.

use crate::stacks::names::Symbol;
#[cfg(all(feature = "_symbols", target_os = "linux"))]
use crate::stacks::symbol::Symbolizer;

/// The symbol that holds each address; `None` where there is none, and for all where no collector of
/// stacks is compiled in.
///
/// ```
/// let [main, nothing] = &profile_core::symbols(&[main as fn() as usize as u64, 1])[..] else {
///     panic!("one for each address")
/// };
/// assert_eq!(*nothing, None);
/// # if !cfg!(target_os = "linux") || !cfg!(feature = "sampler") { return }
/// assert!(main.as_ref().is_some_and(|symbol| symbol.name.contains("main")));
/// ```
#[cfg(all(feature = "_symbols", target_os = "linux"))]
pub fn symbols(addresses: &[u64]) -> Vec<Option<Symbol>> {
    let mut symbolizer = Symbolizer::new();
    addresses.iter().map(|&address| symbolizer.symbol(address)).collect()
}

/// `None` for each address: no collector of stacks is compiled in.
#[cfg(not(all(feature = "_symbols", target_os = "linux")))]
pub fn symbols(addresses: &[u64]) -> Vec<Option<Symbol>> {
    addresses.iter().map(|_| None).collect()
}
