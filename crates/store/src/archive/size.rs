//! What the archive holds of each site.

use tocsin_domain::{Scope, Slug};

use crate::row::slug;
use crate::{Result, Store};

/// A site's part of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedSite {
    /// Its name.
    pub site: Slug,
    /// Archived readings.
    pub readings: u64,
    /// Those of them that kept their spectrum.
    pub spectra: u64,
    /// Size of its files in bytes.
    pub bytes: u64,
    /// The fewest bins that a sensor of it has, and the most: as its sensors are now.
    pub bins: (u32, u32),
}

impl Store {
    /// The sites that have archived readings, by name.
    pub async fn archive_sites(&self, scope: &Scope) -> Result<Vec<ArchivedSite>> {
        let rows = sqlx::query!(
            r#"with held as (
                   select f.site_id, sum(f.rows) as rows, sum(f.spectra) as spectra, sum(f.bytes) as bytes
                   from archive_file f join archive_part p using (day, part)
                   where p.state = 'archived' and ($1::int4[] is null or f.site_id = any($1))
                   group by f.site_id),
               measured as (
                   select m.site_id, min((d.definition->>'bins')::int4) as least, max((d.definition->>'bins')::int4) as most
                   from sensor s join machine m using (machine_id) join spectrum_spec d using (spec_id)
                   where m.site_id in (select site_id from held) group by m.site_id)
               select i.site_id, i.name, held.rows::int8 as "rows!", held.spectra::int8 as "spectra!", held.bytes::int8 as "bytes!",
                      coalesce(least, 0) as "least!", coalesce(most, 0) as "most!"
               from held join site i using (site_id) left join measured using (site_id) order by i.name"#,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(ArchivedSite {
                    site: slug("site", "name", row.site_id, &row.name)?,
                    readings: row.rows.unsigned_abs(),
                    spectra: row.spectra.unsigned_abs(),
                    bytes: row.bytes.unsigned_abs(),
                    bins: (row.least.unsigned_abs(), row.most.unsigned_abs()),
                })
            })
            .collect()
    }
}
