//! The console over made-up services, to look at while working on it:
//! `cargo run --release -p tocsin-console --example preview -- small 7781`, then sign in as `olga`, `vera` or `erik` with `bell`.

#[path = "../tests/stage/fixture.rs"]
mod fixture;

use std::net::Ipv4Addr;

use tocsin_console::Config;
use tocsin_domain::Clock;
use tokio_util::sync::CancellationToken;

use fixture::{Fixture, Fleet};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let fleet = match arguments.get(1).map(String::as_str) {
        Some("empty") => Fleet::Empty,
        Some("large") => Fleet::Large,
        Some("hostile") => Fleet::Hostile,
        _ => Fleet::Small,
    };
    let port = arguments.get(2).map_or(Ok(7_781), |port| port.parse())?;
    let config = Config {
        listen: (Ipv4Addr::LOCALHOST, port).into(),
        ..Config::default()
    };
    let clock = Clock::system();
    let services = Fixture::new(fleet, clock.clone()).services();
    println!("http://{}", config.listen);
    tocsin_console::run(&config, services, clock, CancellationToken::new()).await?;
    Ok(())
}
