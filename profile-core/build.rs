//! Says once where stacks can be read and libc interposed, so that no other file repeats the condition.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(stacks)");
    println!("cargo::rustc-check-cfg=cfg(intercepted)");
    let target = |name| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let wanted = |feature| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    let known = target("OS") == "linux" && matches!(&*target("ARCH"), "x86_64" | "aarch64");
    if wanted("_STACKS") && known {
        println!("cargo::rustc-cfg=stacks");
        if wanted("INTERCEPT") {
            println!("cargo::rustc-cfg=intercepted");
        }
    }
}
