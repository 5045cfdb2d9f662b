//! From the store's values to the registry's messages.

use tocsin_contracts::registry::v1::{Binding as WireBinding, Bundle as WireBundle};
use tocsin_contracts::time;
use tocsin_domain::{BundleDigest, BundleId};
use tocsin_store::binding::Binding;
use tocsin_store::bundle::Bundle;

/// A bundle, with the alias it has in the bindings in force.
pub(super) fn bundle(bundle: Bundle, bindings: &[Binding]) -> WireBundle {
    let holds = |place: &Option<(BundleId, BundleDigest)>| place.as_ref().is_some_and(|(id, _)| *id == bundle.id);
    let alias = match bindings.iter().find(|binding| binding.class == bundle.class) {
        Some(binding) if holds(&binding.champion) => "champion",
        Some(binding) if holds(&binding.challenger) => "challenger",
        _ => "",
    };
    WireBundle {
        bundle_id: bundle.id.0,
        digest: bundle.digest.to_string(),
        class: bundle.class_name.into(),
        state: bundle.state.as_str().to_owned(),
        reason: bundle.reason,
        pushed_at: Some(time::to_wire(bundle.pushed_at)),
        pushed_by: bundle.pushed_by,
        manifest_json: bundle.manifest_json,
        alias: alias.to_owned(),
    }
}

pub(super) fn binding(binding: &Binding) -> WireBinding {
    let place = |place: Option<(BundleId, BundleDigest)>| {
        place.map_or((0, String::new()), |(id, digest)| (id.0, digest.to_string()))
    };
    let (champion_bundle_id, champion_digest) = place(binding.champion);
    let (challenger_bundle_id, challenger_digest) = place(binding.challenger);
    WireBinding {
        class_id: binding.class.0,
        class: binding.class_name.to_string(),
        version: binding.version,
        champion_bundle_id,
        champion_digest,
        challenger_bundle_id,
        challenger_digest,
        threshold_set_id: binding.threshold_set.map_or(0, |set| set.0),
        changed_at: Some(time::to_wire(binding.changed_at)),
        changed_by: binding.changed_by.clone(),
        reason: binding.reason.clone(),
    }
}
