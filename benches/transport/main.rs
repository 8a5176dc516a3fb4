//! What a round trip through each channel costs: `cargo bench --bench transport --features failpoints`.
//!
//! Every contender serves a mount from a process of its own; the contenders take turns at each
//! course, and the table gives medians and what they are in terms of a server that answers a
//! constant on the same channel, the cheapest there can be. `--norefs BIN` adds a mount served by
//! another build of norefs, `--rounds N` sets how many turns each has.

mod contender;
mod course;

use clap::Parser;
use contender::{Contender, Kind};
use course::{Course, Where};
use std::path::PathBuf;

#[derive(Parser)]
struct Args {
    /// Turns of each contender at each course
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Another norefs to compare with
    #[arg(long, value_name = "BIN")]
    norefs: Option<PathBuf>,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
    /// Serve a constant at this place
    #[arg(long, hide = true, value_names = ["CHANNEL", "PLACE"], num_args = 2)]
    serve: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let [channel, place] = args.serve.as_slice() {
        return contender::serve_constant(channel, place.as_ref());
    }
    let mut kinds = vec![
        Kind::Constant("ring"),
        Kind::Constant("device"),
        Kind::Constant("fuser"),
        Kind::Norefs("ring"),
        Kind::Norefs("device"),
    ];
    kinds.extend(args.norefs.map(Kind::Other));
    let contenders: Vec<Contender> = kinds
        .into_iter()
        .filter_map(|kind| match Contender::start(kind.clone()) {
            Ok(contender) => Some(contender),
            Err(error) => {
                eprintln!("{kind}: {error:#}");
                None
            }
        })
        .collect();
    println!(
        "microseconds for one client, median of {} turns (fastest to slowest)",
        args.rounds
    );
    for course in Course::ALL {
        for place in Where::all() {
            println!("\n{course}, {place}");
            let mut samples: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
            for _ in 0..args.rounds {
                for (contender, samples) in contenders.iter().zip(&mut samples) {
                    if course.suits(contender) {
                        samples.push(course.run(contender.root(), &place)?);
                    }
                }
            }
            report(&contenders, samples);
        }
    }
    Ok(())
}

fn report(contenders: &[Contender], samples: Vec<Vec<f64>>) {
    let mut constants: Vec<(&str, f64)> = Vec::new();
    for (contender, mut samples) in contenders.iter().zip(samples) {
        samples.sort_by(f64::total_cmp);
        let [fastest, .., slowest] = samples.as_slice() else {
            continue;
        };
        let median = samples[samples.len() / 2];
        let kind = contender.kind();
        let channel = kind.channel();
        let floor = constants.iter().find(|(name, _)| *name == channel);
        let ratio = floor.map_or(String::new(), |(_, floor)| {
            format!("{:6.2}x the constant", median / floor)
        });
        if matches!(kind, Kind::Constant(_)) {
            constants.push((channel, median));
        }
        println!("  {kind:<22} {median:8.2} ({fastest:.2}-{slowest:.2}) {ratio}");
    }
}
