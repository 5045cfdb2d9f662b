//! SIGTERM and SIGINT: the first asks for an orderly end, the second for an end at once.

use std::io;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a shell reports for a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// A token that the first signal cancels. Must be called within the tokio runtime.
///
/// # Errors
/// If the system refuses to report signals.
pub fn shutdown() -> Result<CancellationToken> {
    let listen =
        || -> io::Result<(Signal, Signal)> { Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)) };
    let (mut terminate, mut interrupt) = listen().context("listening for signals")?;
    let shutdown = CancellationToken::new();
    let first = shutdown.clone();
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        tracing::info!("stopping; once more to stop at once");
        first.cancel();
        either(&mut terminate, &mut interrupt).await;
        tracing::warn!("stopping at once");
        std::process::exit(INTERRUPTED);
    });
    Ok(shutdown)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
