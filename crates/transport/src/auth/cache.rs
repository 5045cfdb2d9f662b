//! Credentials verified a moment ago.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Credential;

/// A bounded map with one time to live. Only a yes is kept: remembering every wrong token would let a stranger fill it.
pub(super) struct Cache<P> {
    entries: Mutex<HashMap<Credential, Entry<P>>>,
    ttl: Duration,
    capacity: usize,
}

struct Entry<P> {
    principal: P,
    expires: Instant,
}

impl<P: Clone> Cache<P> {
    pub(super) fn new(ttl: Duration, capacity: usize) -> Self {
        Self {
            entries: Mutex::default(),
            ttl,
            capacity,
        }
    }

    pub(super) fn get(&self, credential: &Credential) -> Option<P> {
        let entries = self.entries();
        let entry = entries.get(credential)?;
        (Instant::now() < entry.expires).then(|| entry.principal.clone())
    }

    /// Keeps what was learned by a question put at `asked`.
    pub(super) fn put(&self, credential: Credential, principal: P, asked: Instant) {
        let expires = asked + self.ttl;
        let now = Instant::now();
        if expires <= now || self.capacity == 0 {
            return;
        }
        let mut entries = self.entries();
        if entries.len() >= self.capacity && !entries.contains_key(&credential) {
            entries.retain(|_, entry| now < entry.expires);
            if entries.len() >= self.capacity {
                let oldest = entries
                    .iter()
                    .min_by_key(|(_, entry)| entry.expires)
                    .map(|(credential, _)| credential.clone());
                oldest.and_then(|credential| entries.remove(&credential));
            }
        }
        entries.insert(credential, Entry { principal, expires });
    }

    pub(super) fn forget(&self, credential: &Credential) {
        self.entries().remove(credential);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Credential, Entry<P>>> {
        // The map is whole after every statement, so a panic elsewhere leaves nothing half done.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Token;

    fn credential(token: &str) -> Credential {
        Credential {
            token: Token::parse(token).expect("a token"),
            client_certificate: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_lives_for_its_time_counted_from_the_question() {
        let cache = Cache::new(Duration::from_secs(1), 8);
        let asked = Instant::now();
        tokio::time::advance(Duration::from_millis(400)).await;
        cache.put(credential("a"), 1, asked);
        tokio::time::advance(Duration::from_millis(599)).await;
        assert_eq!(cache.get(&credential("a")), Some(1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(cache.get(&credential("a")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_cache_gives_up_the_entry_nearest_its_end() {
        let cache = Cache::new(Duration::from_secs(1), 2);
        for (principal, token) in ["a", "b", "c"].into_iter().enumerate() {
            cache.put(credential(token), principal, Instant::now());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(
            ["a", "b", "c"].map(|token| cache.get(&credential(token))),
            [None, Some(1), Some(2)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_time_to_live_nothing_is_kept() {
        let cache = Cache::new(Duration::ZERO, 2);
        cache.put(credential("a"), 1, Instant::now());
        assert_eq!(cache.get(&credential("a")), None);
    }
}
