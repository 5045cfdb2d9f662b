//! How fast a harbor's readings are made: `cargo run --release -p tocsin-simulator --example throughput -- [machines]
//! [bins] [threads]`. Prints readings a second, and a sum over all amplitudes that is the same for any number of threads.

use std::time::Instant;

use tocsin_simulator::harbor::{Config, Fleet, Machine};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |otherwise: usize| arguments.next().map_or(Ok(otherwise), |text| text.parse());
    let (machines, bins, threads) = (number(60)?, number(64)?, number(1)?);
    let config = Config {
        machines,
        bins: u16::try_from(bins)?,
        ..Config::with_seed(1)
    };
    let began = Instant::now();
    let fleet = Fleet::generate(config)?;
    let generated = began.elapsed();

    let began = Instant::now();
    let sums = std::thread::scope(|scope| {
        let parts = fleet.machines().chunks(machines.div_ceil(threads));
        let workers: Vec<_> = parts
            .map(|part| {
                scope.spawn(|| {
                    part.iter()
                        .map(|machine| sum(machine, fleet.row_length()))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker"))
            .collect::<Vec<f64>>()
    });
    let took = began.elapsed().as_secs_f64();
    let readings = machines as f64 * fleet.config().steps() as f64;
    println!("{machines} machines generated in {generated:.1?}");
    println!(
        "{readings} readings of {bins} bins in {took:.2} s on {threads} threads: {:.0} readings/s, {:.0} ns each on a thread",
        readings / took,
        took / readings * threads as f64 * 1e9,
    );
    println!("sum of amplitudes {:.6e} g", sums.iter().sum::<f64>());
    Ok(())
}

/// Streams a machine to its end.
fn sum(machine: &Machine, row_length: usize) -> f64 {
    let mut bins = vec![0.0; row_length];
    let mut stream = machine.stream();
    let mut sum = 0.0;
    while stream.next_into(&mut bins).is_some() {
        sum += f64::from(bins.iter().sum::<f32>());
    }
    sum
}
