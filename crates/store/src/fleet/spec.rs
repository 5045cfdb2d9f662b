//! Spectrum specifications, registered by name.

use tocsin_domain::{Invalid, Slug, SpecId, SpectrumSpec, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::row::{slug, time};
use crate::{Error, Result, Store};

/// A registered spectrum specification.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedSpec {
    /// Its number.
    pub id: SpecId,
    /// Its name.
    pub name: Slug,
    /// What it states.
    pub spec: SpectrumSpec,
}

struct SpecRow {
    spec_id: i32,
    name: String,
    definition: String,
}

impl TryFrom<SpecRow> for NamedSpec {
    type Error = Error;

    fn try_from(row: SpecRow) -> Result<Self> {
        let id = row.spec_id;
        let spec = serde_json::from_str::<SpectrumSpec>(&row.definition)
            .map_err(|error| Invalid::new("definition", error.to_string()))
            .and_then(SpectrumSpec::parse)
            .map_err(Error::impossible("spectrum_spec", "definition", id))?;
        Ok(Self {
            id: SpecId(id),
            name: slug("spectrum_spec", "name", id, &row.name)?,
            spec,
        })
    }
}

/// A spec as its column.
fn definition(spec: &SpectrumSpec) -> String {
    serde_json::to_string(spec).expect("a spec is plain numbers and names")
}

impl Store {
    /// Registers a spectrum specification.
    pub async fn spec_create(
        &self,
        name: &Slug,
        spec: &SpectrumSpec,
        now: Timestamp,
        audit: impl FnOnce(&NamedSpec) -> NewAuditEntry,
    ) -> Result<NamedSpec> {
        let mut transaction = self.begin().await?;
        let definition = definition(spec);
        let row = sqlx::query_as!(
            SpecRow,
            r#"insert into spectrum_spec (name, definition, created_at) values ($1, $2::text::jsonb, $3)
               returning spec_id, name, definition::text as "definition!""#,
            name.as_str(),
            definition,
            time(now),
        )
        .fetch_one(&mut *transaction)
        .await
        .map_err(Error::exists(|| format!("spec {name}")))?;
        commit(transaction, row.try_into()?, audit, now).await
    }

    /// All specs but the canaries', by name.
    pub async fn spec_list(&self) -> Result<Vec<NamedSpec>> {
        let rows = sqlx::query_as!(
            SpecRow,
            r#"select spec_id, name, definition::text as "definition!" from spectrum_spec where spec_id <> $1 order by name"#,
            SpecId::CANARY.0,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(NamedSpec::try_from).collect()
    }

    /// A spec by its name.
    pub async fn spec_by_name(&self, name: &Slug) -> Result<NamedSpec> {
        let row = sqlx::query_as!(
            SpecRow,
            r#"select spec_id, name, definition::text as "definition!" from spectrum_spec where name = $1"#,
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or_else(|| Error::not_found(format!("spec {name}")))?.try_into()
    }

    /// A spec by its number.
    pub async fn spec_by_id(&self, spec: SpecId) -> Result<NamedSpec> {
        let row = sqlx::query_as!(
            SpecRow,
            r#"select spec_id, name, definition::text as "definition!" from spectrum_spec where spec_id = $1"#,
            spec.0
        )
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or_else(|| Error::not_found(format!("spec {spec}")))?.try_into()
    }
}
