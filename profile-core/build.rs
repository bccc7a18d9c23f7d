//! Says once where stacks can be read, so that no other file repeats the condition.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(stacks)");
    let target = |name| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let wanted = env::var_os("CARGO_FEATURE__STACKS").is_some();
    if wanted && target("OS") == "linux" && matches!(&*target("ARCH"), "x86_64" | "aarch64") {
        println!("cargo::rustc-cfg=stacks");
    }
}
