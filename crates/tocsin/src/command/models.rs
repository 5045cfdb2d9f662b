//! `tocsin models`: bundles, and which of them judges a class.

mod bundle;
#[cfg(feature = "trainer")]
mod latent_space;
mod training;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tocsin_contracts::registry::push_bundle_messages;
use tocsin_contracts::registry::v1::registry_service_client::RegistryServiceClient;
use tocsin_contracts::registry::v1::{
    Binding, Bundle, GetBundleRequest, ListBindingsRequest, ListBundlesRequest, PromoteRequest, RollbackRequest,
    SetChallengerRequest,
};
use tocsin_models::BundleArchive;
use tocsin_transport::Channel;

#[cfg(feature = "trainer")]
use self::bundle::open;
use super::{Ask, given, nested, when};
use crate::client::explain;

#[derive(Debug, Args)]
pub(super) struct Models {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    what: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Registry(What),
    #[command(flatten)]
    Bundle(bundle::What),
}

#[derive(Debug, Subcommand)]
enum What {
    /// List bundles, newest first
    List {
        /// Only this class
        #[arg(long, default_value = "", hide_default_value = true)]
        class: String,
    },
    /// Show one bundle with its manifest
    Show {
        /// Its number, or its digest or the beginning of it
        bundle: String,
    },
    /// Upload a bundle; it is tried before anything may load it
    Push {
        /// The class it is for
        #[arg(long)]
        class: String,
        /// The bundle's folder, or its archive
        path: PathBuf,
    },
    /// Make a bundle its class's champion, with a threshold set made for it
    Promote {
        /// Its number, or its digest or the beginning of it
        bundle: String,
        /// The threshold set [default: the newest approved one]
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        threshold_set: i32,
        /// Why, for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Go back to what judged a class before
    Rollback {
        /// The class
        class: String,
        /// Why, for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Name a class's challenger, or none
    Challenge {
        /// The class
        class: String,
        /// The challenger's number or digest; none takes it away
        #[arg(default_value = "", hide_default_value = true)]
        bundle: String,
    },
    /// Ask for a class's models to be fitted anew, on its healthy readings of a period
    Retrain {
        /// The class
        class: String,
        /// Learn from readings captured since this time (RFC 3339) [default: 30 days before the end]
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// And before this time [default: now]
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Why, for the record
        #[arg(long)]
        reason: String,
    },
    /// List training jobs, newest first
    Jobs {
        /// Only this class
        #[arg(long, default_value = "", hide_default_value = true)]
        class: String,
    },
    /// Hold a class's challenger against its champion, over readings that both have scored
    Compare {
        /// The class
        class: String,
        /// Only readings captured since this time (RFC 3339)
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
    /// List everything that ever judged a class, newest first
    History {
        /// Only this class
        #[arg(long, default_value = "", hide_default_value = true)]
        class: String,
    },
}

impl Models {
    pub(super) async fn run(self) -> Result<()> {
        let ask = self.ask.clone();
        let what = match self.what {
            Command::Registry(what) => what,
            Command::Bundle(what) => return what.run(&ask).await,
        };
        let channel = self.ask.target.channel()?;
        let output = self.ask.output;
        let mut client = RegistryServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
        match what {
            What::List { class } => {
                let answer = client.list_bundles(ListBundlesRequest { class }).await;
                let bundles = answer
                    .map_err(|status| explain("listing bundles", &status))?
                    .into_inner()
                    .bundles;
                let views = bundles.into_iter().map(bundle_view).collect::<Result<_>>()?;
                output.list(
                    "models",
                    views,
                    &[
                        "bundle_id",
                        "digest",
                        "class",
                        "alias",
                        "state",
                        "reason",
                        "pushed_at",
                        "pushed_by",
                    ],
                )
            }
            What::Show { bundle } => {
                let answer = client.get_bundle(GetBundleRequest { bundle }).await;
                let answer = answer
                    .map_err(|status| explain("showing the bundle", &status))?
                    .into_inner();
                output.item("model", bundle_view(answer.bundle.unwrap_or_default())?)
            }
            What::Push { class, path } => {
                let archive = read_archive(&path)?;
                output.item("model", bundle_view(push(channel, &class, archive).await?)?)
            }
            What::Promote {
                bundle,
                threshold_set,
                reason,
            } => {
                let request = PromoteRequest {
                    bundle,
                    threshold_set_id: threshold_set,
                    reason,
                };
                let answer = client.promote(request).await;
                let answer = answer
                    .map_err(|status| explain("promoting the bundle", &status))?
                    .into_inner();
                output.item("binding", binding_view(answer.binding.unwrap_or_default())?)
            }
            What::Rollback { class, reason } => {
                let answer = client.rollback(RollbackRequest { class, reason }).await;
                let answer = answer.map_err(|status| explain("rolling back", &status))?.into_inner();
                output.item("binding", binding_view(answer.binding.unwrap_or_default())?)
            }
            What::Challenge { class, bundle } => {
                let answer = client.set_challenger(SetChallengerRequest { class, bundle }).await;
                let answer = answer
                    .map_err(|status| explain("naming the challenger", &status))?
                    .into_inner();
                output.item("binding", binding_view(answer.binding.unwrap_or_default())?)
            }
            What::Retrain {
                class,
                since,
                until,
                reason,
            } => training::retrain(&ask, class, [since, until], reason).await,
            What::Jobs { class } => training::jobs(&ask, class).await,
            What::Compare { class, since } => training::compare(&ask, class, since).await,
            What::History { class } => {
                let answer = client.list_bindings(ListBindingsRequest { class }).await;
                let bindings = answer
                    .map_err(|status| explain("listing bindings", &status))?
                    .into_inner()
                    .bindings;
                let views = bindings.into_iter().map(binding_view).collect::<Result<_>>()?;
                let columns = &[
                    "class",
                    "version",
                    "champion_bundle_id",
                    "threshold_set_id",
                    "changed_at",
                    "changed_by",
                    "reason",
                ];
                output.list("bindings", views, columns)
            }
        }
    }
}

/// A folder is packed; a file is sent as it is, for the registry to judge.
fn read_archive(path: &Path) -> Result<Vec<u8>> {
    if path.is_dir() {
        let archive =
            BundleArchive::from_dir(path).with_context(|| format!("reading the bundle {}", path.display()))?;
        return Ok(archive.to_bytes());
    }
    std::fs::read(path).with_context(|| format!("reading the bundle {}", path.display()))
}

/// Uploads an archive and waits for the verifier's word.
///
/// # Errors
/// If the registry refuses it; the reason is in the error.
pub(crate) async fn push(channel: Channel, class: &str, archive: Vec<u8>) -> Result<Bundle> {
    let messages = push_bundle_messages(class, &archive);
    let answer = RegistryServiceClient::new(channel)
        .push_bundle(tokio_stream::iter(messages))
        .await;
    let answer = answer
        .map_err(|status| explain("pushing the bundle", &status))?
        .into_inner();
    answer.bundle.context("the registry's answer holds no bundle")
}

fn bundle_view(bundle: Bundle) -> Result<Value> {
    Ok(json!({
        "bundle_id": bundle.bundle_id,
        "digest": bundle.digest,
        "class": bundle.class,
        "alias": given(bundle.alias),
        "state": bundle.state,
        "reason": given(bundle.reason),
        "pushed_at": when(bundle.pushed_at)?,
        "pushed_by": bundle.pushed_by,
        "manifest": nested(&bundle.manifest_json),
    }))
}

fn binding_view(binding: Binding) -> Result<Value> {
    Ok(json!({
        "class": binding.class,
        "version": binding.version,
        "champion_bundle_id": given(binding.champion_bundle_id),
        "champion_digest": given(binding.champion_digest),
        "challenger_bundle_id": given(binding.challenger_bundle_id),
        "challenger_digest": given(binding.challenger_digest),
        "threshold_set_id": given(binding.threshold_set_id),
        "changed_at": when(binding.changed_at)?,
        "changed_by": binding.changed_by,
        "reason": given(binding.reason),
    }))
}
