//! How the schema in the database stands to the one this binary was built for.
//!
//! **Invariant:** a process works only on the schema it knows. One that is behind lacks what statements name; one that
//! is ahead may mean something else by the same names.

use std::collections::BTreeMap;
use std::fmt;

use crate::pool::MIGRATOR;
use crate::{Result, Store};

/// What was found. All but [`Current`](Self::Current) speaks for itself on screen, and says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// As this binary knows it.
    Current,
    /// Migrations are missing.
    Behind {
        /// The newest that was run; none of an empty database.
        applied: Option<i64>,
        /// The newest of this binary.
        wanted: i64,
    },
    /// A newer Tocsin has migrated it.
    Ahead {
        /// The newest that was run.
        applied: i64,
    },
    /// A migration was run in another form than this binary has it in.
    Changed {
        /// Which.
        version: i64,
    },
    /// A migration was begun and did not end.
    Broken {
        /// Which.
        version: i64,
    },
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("the database's schema is up to date"),
            Self::Behind { applied: None, wanted } => write!(
                f,
                "the database has no schema yet, this tocsin needs version {wanted}: run `tocsin migrate`"
            ),
            Self::Behind {
                applied: Some(applied),
                wanted,
            } => write!(
                f,
                "the database's schema is at version {applied}, this tocsin needs version {wanted}: run `tocsin migrate`"
            ),
            Self::Ahead { applied } => write!(
                f,
                "the database's schema is at version {applied}, which this tocsin does not know: install a newer one"
            ),
            Self::Changed { version } => write!(
                f,
                "version {version} of the database's schema is not the one this tocsin has: was it migrated by another build?"
            ),
            Self::Broken { version } => write!(
                f,
                "the migration to version {version} of the database's schema did not end; mend it, and run `tocsin migrate`"
            ),
        }
    }
}

impl Store {
    /// Compares the migrations that were run with those of this binary.
    pub async fn schema(&self) -> Result<Schema> {
        let table: Option<String> = sqlx::query_scalar("select to_regclass('_sqlx_migrations')::text")
            .fetch_one(&self.pool)
            .await?;
        let applied: Vec<(i64, bool, Vec<u8>)> = match table {
            Some(_) => {
                let all = "select version, success, checksum from _sqlx_migrations order by version";
                sqlx::query_as(all).fetch_all(&self.pool).await?
            }
            None => Vec::new(),
        };
        Ok(compare(&applied))
    }
}

/// `applied`: version, whether it ended well, and checksum, by version.
fn compare(applied: &[(i64, bool, Vec<u8>)]) -> Schema {
    let known: BTreeMap<i64, &[u8]> = MIGRATOR
        .iter()
        .map(|migration| (migration.version, &*migration.checksum))
        .collect();
    for (version, success, checksum) in applied {
        match known.get(version) {
            _ if !success => return Schema::Broken { version: *version },
            None => return Schema::Ahead { applied: *version },
            Some(ours) if ours != checksum => return Schema::Changed { version: *version },
            Some(_) => {}
        }
    }
    if applied.len() == known.len() {
        return Schema::Current;
    }
    Schema::Behind {
        applied: applied.last().map(|(version, ..)| *version),
        wanted: known.last_key_value().map_or(0, |(version, _)| *version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Vec<(i64, bool, Vec<u8>)> {
        MIGRATOR
            .iter()
            .map(|migration| (migration.version, true, migration.checksum.to_vec()))
            .collect()
    }

    #[test]
    fn what_is_missing_newer_changed_or_half_done_is_told_apart() {
        assert_eq!(compare(&whole()), Schema::Current);
        let newest = whole().last().unwrap().0;
        let behind = |applied| Schema::Behind {
            applied,
            wanted: newest,
        };
        assert_eq!(compare(&[]), behind(None));
        let all_but_one = &whole()[..whole().len() - 1];
        assert_eq!(compare(all_but_one), behind(all_but_one.last().map(|one| one.0)));

        let mut newer = whole();
        newer.push((newest + 1, true, vec![1]));
        assert_eq!(compare(&newer), Schema::Ahead { applied: newest + 1 });
        let mut changed = whole();
        changed[0].2 = vec![1];
        let first = changed[0].0;
        assert_eq!(compare(&changed), Schema::Changed { version: first });
        changed[0].1 = false;
        assert_eq!(compare(&changed), Schema::Broken { version: first });
    }
}
