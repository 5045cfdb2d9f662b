//! Bundles: the rows behind the blobs. Blob first, row second.

use sqlx::PgConnection;
use tocsin_domain::lifecycle::BundleState;
use tocsin_domain::{BundleDigest, BundleId, ClassId, Slug, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::row::{Time, slug, time};
use crate::{Error, Result, Store};

/// A bundle as it is pushed.
#[derive(Debug, Clone)]
pub struct NewBundle {
    /// The class it is for.
    pub class: ClassId,
    /// Its address in object storage.
    pub digest: BundleDigest,
    /// Its manifest, JSON.
    pub manifest_json: String,
    /// Who pushed it.
    pub pushed_by: String,
}

/// One model version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Its number.
    pub id: BundleId,
    /// The class it is for.
    pub class: ClassId,
    /// The class's name.
    pub class_name: Slug,
    /// Its address in object storage.
    pub digest: BundleDigest,
    /// Where it stands.
    pub state: BundleState,
    /// Why it was rejected; empty otherwise.
    pub reason: String,
    /// Its manifest, JSON.
    pub manifest_json: String,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// Who pushed it.
    pub pushed_by: String,
}

struct BundleRow {
    bundle_id: i32,
    class_id: i32,
    class: String,
    digest: Vec<u8>,
    state: String,
    reason: String,
    manifest: String,
    pushed_at: Time,
    pushed_by: String,
}

impl TryFrom<BundleRow> for Bundle {
    type Error = Error;

    fn try_from(row: BundleRow) -> Result<Self> {
        let id = row.bundle_id;
        Ok(Self {
            id: BundleId(id),
            class: ClassId(row.class_id),
            class_name: slug("machine_class", "name", row.class_id, &row.class)?,
            digest: BundleDigest::from_slice(&row.digest).map_err(Error::impossible("bundle", "digest", id))?,
            state: BundleState::parse(&row.state).map_err(Error::impossible("bundle", "state", id))?,
            reason: row.reason,
            manifest_json: row.manifest,
            pushed_at: row.pushed_at.into(),
            pushed_by: row.pushed_by,
        })
    }
}

impl Store {
    /// Records a pushed bundle as pending. The same digest pushed for the same class again is the row that is there,
    /// whatever its state, and nothing is put on record.
    pub async fn bundle_insert(
        &self,
        new: &NewBundle,
        now: Timestamp,
        audit: impl FnOnce(&Bundle) -> NewAuditEntry,
    ) -> Result<Bundle> {
        let mut transaction = self.begin().await?;
        let inserted = sqlx::query_scalar!(
            "insert into bundle (class_id, digest, state, reason, manifest, pushed_at, pushed_by)
             values ($1, $2, 'pending', '', $3::text::jsonb, $4, $5) on conflict (class_id, digest) do nothing
             returning bundle_id",
            new.class.0,
            new.digest.0.as_slice(),
            new.manifest_json,
            time(now),
            new.pushed_by,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some(id) = inserted {
            let bundle = by_id(&mut transaction, BundleId(id)).await?;
            return commit(transaction, bundle, audit, now).await;
        }
        drop(transaction);
        let found = self.bundles_by_digest(Some(new.class), &new.digest.to_string()).await?;
        found
            .into_iter()
            .next()
            .ok_or_else(|| Error::not_found(format!("bundle {}", new.digest.short())))
    }

    /// Moves a bundle from one state to another; a conflict when it is not in the first.
    pub async fn bundle_set_state(
        &self,
        bundle: BundleId,
        (from, to): (BundleState, BundleState),
        reason: &str,
        now: Timestamp,
        audit: impl FnOnce(&Bundle) -> NewAuditEntry,
    ) -> Result<Bundle> {
        let mut transaction = self.begin().await?;
        let moved = sqlx::query!(
            "update bundle set state = $3, reason = $4 where bundle_id = $1 and state = $2",
            bundle.0,
            from.as_str(),
            to.as_str(),
            reason,
        )
        .execute(&mut *transaction)
        .await?;
        let found = by_id(&mut transaction, bundle).await?;
        if moved.rows_affected() == 0 {
            let what = format!("bundle {bundle} is {}, not {}", found.state.as_str(), from.as_str());
            return Err(Error::conflict(what));
        }
        commit(transaction, found, audit, now).await
    }

    /// Bundles, newest first; of one class, when given.
    pub async fn bundle_list(&self, class: Option<ClassId>) -> Result<Vec<Bundle>> {
        let rows = sqlx::query_as!(
            BundleRow,
            r#"select b.bundle_id, b.class_id, c.name as class, b.digest, b.state, b.reason,
                      b.manifest::text as "manifest!", b.pushed_at, b.pushed_by
               from bundle b join machine_class c using (class_id)
               where $1::int4 is null or b.class_id = $1 order by b.bundle_id desc"#,
            class.map(|class| class.0),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Bundle::try_from).collect()
    }

    /// A bundle by its number.
    pub async fn bundle_by_id(&self, bundle: BundleId) -> Result<Bundle> {
        by_id(&mut *self.acquire().await?, bundle).await
    }

    /// Bundles whose digest begins with these hexadecimal digits, newest first; of one class, when given.
    pub async fn bundles_by_digest(&self, class: Option<ClassId>, prefix: &str) -> Result<Vec<Bundle>> {
        let rows = sqlx::query_as!(
            BundleRow,
            r#"select b.bundle_id, b.class_id, c.name as class, b.digest, b.state, b.reason,
                      b.manifest::text as "manifest!", b.pushed_at, b.pushed_by
               from bundle b join machine_class c using (class_id)
               where starts_with(encode(b.digest, 'hex'), $1) and ($2::int4 is null or b.class_id = $2)
               order by b.bundle_id desc"#,
            prefix.to_ascii_lowercase(),
            class.map(|class| class.0),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Bundle::try_from).collect()
    }

    /// The one bundle that people name by its number, or by its digest or the beginning of it (4 digits at least).
    /// A conflict when several digests begin so.
    pub async fn bundle_find(&self, class: Option<ClassId>, text: &str) -> Result<Bundle> {
        if let Ok(number) = text.parse() {
            match self.bundle_by_id(BundleId(number)).await {
                Err(Error::NotFound { .. }) => {}
                Ok(bundle) if class.is_some_and(|class| class != bundle.class) => {}
                found => return found,
            }
        }
        if text.len() < 4 {
            return Err(Error::not_found(format!("bundle {text:?}")));
        }
        let mut found = self.bundles_by_digest(class, text).await?;
        match found.len() {
            0 => Err(Error::not_found(format!("bundle {text:?}"))),
            1 => Ok(found.swap_remove(0)),
            several => Err(Error::conflict(format!("{several} bundles begin with {text:?}"))),
        }
    }
}

async fn by_id(conn: &mut PgConnection, bundle: BundleId) -> Result<Bundle> {
    let row = sqlx::query_as!(
        BundleRow,
        r#"select b.bundle_id, b.class_id, c.name as class, b.digest, b.state, b.reason,
                      b.manifest::text as "manifest!", b.pushed_at, b.pushed_by
               from bundle b join machine_class c using (class_id) where b.bundle_id = $1"#,
        bundle.0,
    )
    .fetch_optional(conn)
    .await?;
    row.ok_or_else(|| Error::not_found(format!("bundle {bundle}")))?
        .try_into()
}
