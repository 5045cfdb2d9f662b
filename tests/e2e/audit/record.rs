//! Calls by name, and what each of them leaves in the audit.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use prost::Message;
use reqwest::Client;
use tocsin_store::Store;
use tocsin_store::access::AuditEntry;
use tocsin_tests::Stage;

use crate::access::grpc_client;

/// A call's path: its service, as `package.Service`, and its method.
pub(super) type Rpc = (&'static str, &'static str);

/// The path that the descriptors give it.
pub(super) fn path((service, method): Rpc) -> String {
    format!("/tocsin.{service}/{method}")
}

/// One person's calls, each of which is to leave an entry.
pub(super) struct Record {
    client: Client,
    address: String,
    store: Store,
    /// What the calls are made with; nothing before the person has signed in.
    pub(super) session: Option<String>,
    /// The paths of those that left their entry.
    pub(super) audited: BTreeSet<String>,
}

/// A switch that closes the audit: while there is a row in it, no entry can be written.
const SWITCH: &str = "create table audit_closed (closed bool);
    create function audit_is_closed() returns trigger language plpgsql as $$
    begin
        if exists (select from audit_closed) then raise exception 'the audit is closed'; end if;
        return new;
    end $$;
    create trigger audit_is_closed before insert on audit for each row execute function audit_is_closed();";

impl Record {
    pub(super) async fn of(stage: &Stage) -> Result<Self> {
        sqlx::raw_sql(SWITCH).execute(stage.store.pool()).await?;
        Ok(Self {
            client: grpc_client()?,
            address: format!("http://{}", stage.running.grpc_addr()),
            store: stage.store.clone(),
            session: None,
            audited: BTreeSet::new(),
        })
    }

    /// Makes a call while the audit is closed, which is to fail and leave nothing that hinders the next; then makes it again,
    /// and finds the entry that says that `actor` did `action`; the call's last answer.
    pub(super) async fn of_call<A: Message + Default>(
        &mut self,
        rpc: Rpc,
        (actor, action): (&str, &str),
        requests: &[impl Message],
    ) -> Result<A> {
        let path = path(rpc);
        self.switch("insert into audit_closed values (true)").await?;
        let unrecorded = self.call::<A>(&path, requests).await;
        // What says how far it is may have said so before it failed.
        let failed = unrecorded.is_err() || path.ends_with("/RunWithProgress");
        ensure!(failed, "{path} goes on without an entry");
        self.switch("delete from audit_closed").await?;
        let before = self.newest().await?;
        let answer = self.call(&path, requests).await.with_context(|| path.clone())?;
        let entries = self.since(before).await?;
        let is_its = |entry: &&AuditEntry| entry.actor == actor && entry.action == action;
        ensure!(
            entries.iter().filter(is_its).count() == 1,
            "{path} is to leave one entry, {action} by {actor}: {entries:#?}"
        );
        self.audited.insert(path);
        Ok(answer)
    }

    async fn switch(&self, statement: &'static str) -> Result<()> {
        sqlx::query(statement).execute(self.store.pool()).await?;
        Ok(())
    }

    /// Entries after the one given, newest first.
    pub(super) async fn since(&self, before: i64) -> Result<Vec<AuditEntry>> {
        let mut entries = self.store.audit_list(None, 1_000).await?;
        entries.retain(|entry| entry.id > before);
        Ok(entries)
    }

    /// The newest entry's place; 0 before there is any.
    pub(super) async fn newest(&self) -> Result<i64> {
        let newest = self.store.audit_list(None, 1).await?;
        Ok(newest.first().map_or(0, |entry| entry.id))
    }

    async fn call<A: Message + Default>(&self, path: &str, requests: &[impl Message]) -> Result<A> {
        let mut body = Vec::new();
        for request in requests {
            body.push(0);
            body.extend((request.encoded_len() as u32).to_be_bytes());
            request.encode(&mut body)?;
        }
        let mut request = self
            .client
            .post(format!("{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body);
        if let Some(session) = &self.session {
            request = request.bearer_auth(session);
        }
        let answer = request.send().await?;
        // A call that fails before it has answered says so in its headers.
        let said = |name| {
            let value = answer.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        if let Some(status) = said("grpc-status").filter(|status| status != "0") {
            anyhow::bail!("status {status}: {}", said("grpc-message").unwrap_or_default());
        }
        let bytes = answer.bytes().await?;
        Ok(A::decode(last_message(&bytes)?)?)
    }
}

/// The last of the messages, each behind a flag and its length.
fn last_message(mut bytes: &[u8]) -> Result<&[u8]> {
    let mut last = None;
    while let [_, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let message;
        (message, bytes) = rest.split_at_checked(length).context("a message is cut short")?;
        last = Some(message);
    }
    last.context("no answer")
}
