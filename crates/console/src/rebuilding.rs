//! What is said of spectra that are not kept, and are shown rebuilt from their latents.

use tocsin_contracts::incident_review::Rebuilding;

use crate::view;

/// What rebuilt them, with its usual error; or why they are not rebuilt.
pub(crate) fn said(rebuilding: &Rebuilding) -> String {
    let spectra = view::count(u64::from(rebuilding.spectra));
    if !rebuilding.not_rebuilt.is_empty() {
        return format!("{spectra} can't be rebuilt: {}.", rebuilding.not_rebuilt);
    }
    let (bundle, model) = (rebuilding.bundle_id.unwrap_or_default(), &rebuilding.model);
    let error = match rebuilding.usual_error {
        Some(usual) => format!(
            "Its usual mean squared error on healthy readings is {}, in {}.",
            view::number(usual),
            match rebuilding.error_space.as_str() {
                "own" => "a space of the model's own",
                _ => "squared standard deviations of the logarithm of the amplitude over its training readings",
            }
        ),
        None if rebuilding.error_unknown.is_empty() => {
            "Their usual error is known together with the divergence of the latents only.".to_owned()
        }
        None => format!("Their error is not known: {}.", rebuilding.error_unknown),
    };
    format!(
        "{spectra} rebuilt by model #{bundle} ({model}). {error} What the model could not hold is not in them: they are no \
         evidence of a fault, nor of its absence."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_said_with_its_space_or_that_it_is_not_known() {
        let known = Rebuilding {
            bundle_id: Some(12),
            model: "dense".to_owned(),
            spectra: 2,
            usual_error: Some(0.2),
            error_space: "standardised_log".to_owned(),
            error_unknown: String::new(),
            not_rebuilt: String::new(),
        };
        let text = said(&known);
        assert!(
            text.starts_with(
                "2 rebuilt by model #12 (dense). Its usual mean squared error on healthy readings is 0.2000, in squared"
            ),
            "{text}"
        );
        let distance = Rebuilding {
            usual_error: None,
            error_unknown: "it is a distance".to_owned(),
            ..known.clone()
        };
        assert!(said(&distance).contains("Their error is not known: it is a distance. What"));
        let not = Rebuilding {
            not_rebuilt: "no latent is kept".to_owned(),
            ..known
        };
        assert_eq!(said(&not), "2 can't be rebuilt: no latent is kept.");
    }
}
