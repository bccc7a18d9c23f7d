//! Locks and threads in a program that links nothing of ours: what the area `contention` compares with.

#[path = "contention/bare.rs"]
mod bare;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    println!("{}", bare::measure(&args[0]));
}
