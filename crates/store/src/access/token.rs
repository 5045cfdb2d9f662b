//! Gateway tokens: several per site, expiring, revocable.

use sqlx::PgConnection;
use tocsin_domain::access::{AutoRegistration, Gateway};
use tocsin_domain::{ClassId, Scope, SiteId, Slug, SpecId, Timestamp, TokenId};

use crate::access::audit::commit;
use crate::access::{NewAuditEntry, SecretHash};
use crate::row::{Time, slug, time};
use crate::{Error, Result, Store};

/// A token as it is made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The site its readings belong to.
    pub site: SiteId,
    /// What people call it.
    pub name: String,
    /// SHA-256 of its secret.
    pub secret_hash: SecretHash,
    /// May declare that a stream's clock is the capture time.
    pub may_replay: bool,
    /// May send history that never pages.
    pub may_send_historical: bool,
    /// What it may register unknown sensors under.
    pub auto_registration: Option<AutoRegistration>,
    /// Who made it.
    pub created_by: String,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: TokenId,
    /// The site's name.
    pub site: Slug,
    /// What people call it.
    pub name: String,
    /// May declare that a stream's clock is the capture time.
    pub may_replay: bool,
    /// May send history that never pages.
    pub may_send_historical: bool,
    /// Names of the class and spec it may register unknown sensors under.
    pub auto_registration: Option<(Slug, Slug)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

struct TokenRow {
    token_id: i32,
    site: String,
    name: String,
    may_replay: bool,
    may_send_historical: bool,
    class: Option<String>,
    spec: Option<String>,
    created_at: Time,
    created_by: String,
    expires_at: Time,
    revoked_at: Option<Time>,
}

impl TryFrom<TokenRow> for Token {
    type Error = Error;

    fn try_from(row: TokenRow) -> Result<Self> {
        let id = row.token_id;
        let auto_registration = match (row.class, row.spec) {
            (Some(class), Some(spec)) => Some((
                slug("machine_class", "name", id, &class)?,
                slug("spectrum_spec", "name", id, &spec)?,
            )),
            _ => None,
        };
        Ok(Self {
            id: TokenId(id),
            site: slug("site", "name", id, &row.site)?,
            name: row.name,
            may_replay: row.may_replay,
            may_send_historical: row.may_send_historical,
            auto_registration,
            created_at: row.created_at.into(),
            created_by: row.created_by,
            expires_at: row.expires_at.into(),
            revoked_at: row.revoked_at.map(Timestamp::from),
        })
    }
}

impl Store {
    /// Makes a token for a site in `scope`.
    pub async fn token_create(
        &self,
        scope: &Scope,
        new: &NewToken,
        now: Timestamp,
        audit: impl FnOnce(&Token) -> NewAuditEntry,
    ) -> Result<Token> {
        if !scope.contains(new.site) {
            return Err(Error::not_found(format!("site {}", new.site)));
        }
        let mut transaction = self.begin().await?;
        let id = sqlx::query_scalar!(
            "insert into gateway_token (site_id, name, secret_hash, may_replay, may_send_historical,
                 auto_register_class_id, auto_register_spec_id, created_at, created_by, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning token_id",
            new.site.0,
            new.name,
            new.secret_hash.as_slice(),
            new.may_replay,
            new.may_send_historical,
            new.auto_registration.map(|auto| auto.class.0),
            new.auto_registration.map(|auto| auto.spec.0),
            time(now),
            new.created_by,
            time(new.expires_at),
        )
        .fetch_one(&mut *transaction)
        .await
        .map_err(Error::exists(|| format!("token {}", new.name)))?;
        let token = by_id(&mut transaction, scope, TokenId(id)).await?;
        commit(transaction, token, audit, now).await
    }

    /// A token by its number.
    pub async fn token_by_id(&self, scope: &Scope, token: TokenId) -> Result<Token> {
        by_id(&mut *self.acquire().await?, scope, token).await
    }

    /// The tokens of the sites in `scope`, newest first; of one site, when given.
    pub async fn token_list(&self, scope: &Scope, site: Option<&Slug>) -> Result<Vec<Token>> {
        let rows = sqlx::query_as!(
            TokenRow,
            r#"select t.token_id, i.name as site, t.name, t.may_replay, t.may_send_historical, c.name as "class?",
                      s.name as "spec?", t.created_at, t.created_by, t.expires_at, t.revoked_at
               from gateway_token t join site i using (site_id)
               left join machine_class c on c.class_id = t.auto_register_class_id
               left join spectrum_spec s on s.spec_id = t.auto_register_spec_id
               where ($1::int4[] is null or t.site_id = any($1)) and ($2::text is null or i.name = $2)
               order by t.token_id desc"#,
            scope.to_filter() as _,
            site.map(Slug::as_str),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Token::try_from).collect()
    }

    /// Revokes a token; one that is revoked stays as it is.
    pub async fn token_revoke(
        &self,
        scope: &Scope,
        token: TokenId,
        now: Timestamp,
        audit: impl FnOnce(&Token) -> NewAuditEntry,
    ) -> Result<Token> {
        let mut transaction = self.begin().await?;
        sqlx::query!(
            "update gateway_token set revoked_at = coalesce(revoked_at, $3)
             where token_id = $1 and ($2::int4[] is null or site_id = any($2))",
            token.0,
            scope.to_filter() as _,
            time(now),
        )
        .execute(&mut *transaction)
        .await?;
        let token = by_id(&mut transaction, scope, token).await?;
        commit(transaction, token, audit, now).await
    }

    /// The gateway a token's secret stands for; none when it is unknown, expired or revoked.
    pub async fn gateway_by_token_hash(&self, hash: &SecretHash, now: Timestamp) -> Result<Option<Gateway>> {
        let row = sqlx::query!(
            "select token_id, site_id, name, may_replay, may_send_historical, auto_register_class_id,
                    auto_register_spec_id
             from gateway_token where secret_hash = $1 and expires_at > $2 and revoked_at is null",
            hash.as_slice(),
            time(now),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| Gateway {
            site: SiteId(row.site_id),
            token: TokenId(row.token_id),
            name: row.name,
            may_replay: row.may_replay,
            may_send_historical: row.may_send_historical,
            auto_registration: match (row.auto_register_class_id, row.auto_register_spec_id) {
                (Some(class), Some(spec)) => Some(AutoRegistration {
                    class: ClassId(class),
                    spec: SpecId(spec),
                }),
                _ => None,
            },
        }))
    }
}

async fn by_id(conn: &mut PgConnection, scope: &Scope, token: TokenId) -> Result<Token> {
    let row = sqlx::query_as!(
        TokenRow,
        r#"select t.token_id, i.name as site, t.name, t.may_replay, t.may_send_historical, c.name as "class?",
                      s.name as "spec?", t.created_at, t.created_by, t.expires_at, t.revoked_at
               from gateway_token t join site i using (site_id)
               left join machine_class c on c.class_id = t.auto_register_class_id
               left join spectrum_spec s on s.spec_id = t.auto_register_spec_id
               where t.token_id = $1 and ($2::int4[] is null or t.site_id = any($2))"#,
        token.0,
        scope.to_filter() as _,
    )
    .fetch_optional(conn)
    .await?;
    row.ok_or_else(|| Error::not_found(format!("token {token}")))?
        .try_into()
}
