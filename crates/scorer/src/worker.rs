//! The threads that run networks, apart from the async runtime.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Instant;

use tocsin_domain::{BundleDigest, Codec};
use tocsin_models::{NetworkError, Scored, Session};

use crate::Config;
use crate::catalogue::Loaded;
use crate::metrics::Metrics;
use crate::queue::{Piece, Queue};

/// Codecs a thread keeps: one per full scale it met.
const CODECS: usize = 64;

/// Runs a network on linear rows: [`Session::run`], but for tests of what happens when it fails.
pub(crate) type Run = fn(&mut Session, &[f32], &[usize]) -> Result<Scored, NetworkError>;

/// Why rows were not scored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failed {
    /// The engine refused.
    #[error("{0}")]
    Network(String),
    /// The model panicked.
    #[error("the model panicked: {0}")]
    Panicked(String),
}

/// The queue and the threads that empty it.
#[derive(Debug)]
pub(crate) struct Workers {
    pub(crate) queue: Arc<Queue>,
    /// When a caller that found the queue full may come back, in milliseconds.
    pub(crate) retry_after_ms: u64,
}

impl Workers {
    /// Starts the threads.
    pub(crate) fn start(config: &Config, run: Run) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(config.waiting_rows.get()));
        // From here on dropping it ends the threads, also those started before one that could not be.
        let workers = Self {
            queue: Arc::clone(&queue),
            retry_after_ms: config.retry_after_ms,
        };
        let metrics = Metrics::new(&queue);
        for number in 0..config.threads().get() {
            let worker = Worker {
                queue: Arc::clone(&queue),
                most_rows: config.batch_rows.get(),
                run,
                sessions: HashMap::new(),
                codecs: Vec::new(),
                linear: Vec::new(),
                metrics: metrics.clone(),
            };
            std::thread::Builder::new()
                .name(format!("scorer-{number}"))
                .spawn(move || worker.work())?;
        }
        Ok(workers)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// One thread's own.
struct Worker {
    queue: Arc<Queue>,
    most_rows: usize,
    run: Run,
    sessions: HashMap<Key, Place>,
    codecs: Vec<(u32, Codec)>,
    linear: Vec<f32>,
    metrics: Metrics,
}

/// A bundle, and the spectra in a row of that of its networks.
type Key = (BundleDigest, usize);

/// A session, which doesn't keep its network in the catalogue.
struct Place {
    of: Weak<Loaded>,
    session: Session,
}

impl Worker {
    fn work(mut self) {
        while let Some(mut pieces) = self.queue.take(self.most_rows) {
            // Nobody waits for these any more.
            pieces.retain(|piece| !piece.answer.is_closed());
            if !pieces.is_empty() {
                self.answer(pieces);
            }
            self.sessions.retain(|_, place| place.of.strong_count() > 0);
        }
    }

    /// Scores pieces of one bundle together. If that fails each is tried alone, so that a bad one fails alone.
    fn answer(&mut self, pieces: Vec<Piece>) {
        match self.score(&pieces) {
            Ok(scored) => hand_out(scored, pieces),
            Err(failed) => {
                let digest = pieces[0].loaded.bundle.digest();
                tracing::error!(%digest, pieces = pieces.len(), %failed, "scoring failed");
                let alone = pieces.len() == 1;
                for piece in pieces {
                    let result = if alone {
                        Err(failed.clone())
                    } else {
                        self.score(std::slice::from_ref(&piece))
                    };
                    let _ = piece.answer.send(result);
                }
            }
        }
    }

    fn score(&mut self, pieces: &[Piece]) -> Result<Scored, Failed> {
        let key = key(&pieces[0].loaded);
        let scored = catch_unwind(AssertUnwindSafe(|| self.run(pieces)));
        let failed = match scored {
            Ok(Ok(scored)) => return Ok(scored),
            Ok(Err(error)) => Failed::Network(error.to_string()),
            Err(panic) => Failed::Panicked(words(panic.as_ref())),
        };
        // Its buffers may be half written: the next batch gets a new one.
        self.sessions.remove(&key);
        Err(failed)
    }

    fn run(&mut self, pieces: &[Piece]) -> Result<Scored, NetworkError> {
        let started = Instant::now();
        self.linear.clear();
        let (mut bin_error_rows, mut rows) = (Vec::new(), 0);
        for piece in pieces {
            bin_error_rows.extend(piece.bin_error_rows().map(|row| row + rows));
            rows += piece.rows.len();
            self.decode(piece);
        }
        let session = session(&mut self.sessions, &pieces[0].loaded)?;
        let scored = (self.run)(session, &self.linear, &bin_error_rows)?;
        self.metrics.rows.add(rows as u64, &[]);
        self.metrics.batches.add(1, &[]);
        self.metrics.batch_rows.record(rows as u64, &[]);
        self.metrics.batch_duration.record(started.elapsed().as_secs_f64(), &[]);
        Ok(scored)
    }

    /// Appends the linear amplitudes of a piece's rows.
    fn decode(&mut self, piece: &Piece) {
        let spectra = &piece.batch.spectra;
        for row in piece.rows.clone() {
            let codec = codec(&mut self.codecs, spectra.full_scale[row]);
            let start = self.linear.len();
            let values = spectra.window * spectra.bins;
            self.linear.resize(start + values, 0.0);
            let codes = &spectra.codes[row * values..][..values];
            codec.decode_into(codes, &mut self.linear[start..]);
        }
    }
}

fn session<'a>(sessions: &'a mut HashMap<Key, Place>, loaded: &Arc<Loaded>) -> Result<&'a mut Session, NetworkError> {
    use std::collections::hash_map::Entry;
    match sessions.entry(key(loaded)) {
        Entry::Occupied(place) => Ok(&mut place.into_mut().session),
        Entry::Vacant(room) => {
            let session = loaded.network.session()?;
            let of = Arc::downgrade(loaded);
            Ok(&mut room.insert(Place { of, session }).session)
        }
    }
}

fn key(loaded: &Loaded) -> Key {
    (loaded.bundle.digest(), loaded.network.spectra())
}

/// The codec of a full scale, by its bits; the one used last stands first, since neighbours mostly share theirs.
fn codec(codecs: &mut Vec<(u32, Codec)>, full_scale: f32) -> &Codec {
    let bits = full_scale.to_bits();
    let place = codecs.iter().position(|(known, _)| *known == bits).unwrap_or_else(|| {
        codecs.truncate(CODECS - 1);
        codecs.push((bits, Codec::with_full_scale(full_scale)));
        codecs.len() - 1
    });
    codecs.swap(0, place);
    &codecs[0].1
}

/// Cuts the scores of a batch back into those of its pieces.
fn hand_out(scored: Scored, pieces: Vec<Piece>) {
    let pieces = match <[Piece; 1]>::try_from(pieces) {
        Ok([piece]) => {
            // A caller that went away needs no scores; the same below.
            let _ = piece.answer.send(Ok(scored));
            return;
        }
        Err(pieces) => pieces,
    };
    let latent_size = scored.latent_size;
    let (mut row, mut bin_error) = (0, 0);
    for piece in pieces {
        let rows = row..row + piece.rows.len();
        let bins = piece.batch.spectra.bins;
        let bin_errors = bin_error..bin_error + piece.bin_error_rows().count() * bins;
        (row, bin_error) = (rows.end, bin_errors.end);
        let part = Scored {
            errors: scored.errors[rows.clone()].to_vec(),
            latents: scored.latents[rows.start * latent_size..rows.end * latent_size].to_vec(),
            latent_size,
            bin_errors: scored.bin_errors[bin_errors].to_vec(),
        };
        let _ = piece.answer.send(Ok(part));
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no words".to_owned())
}
