//! Which networks to train, by name.

use std::str::FromStr;

use tocsin_domain::Invalid;
use tocsin_models::{Objective, Variant};

/// A kind of network and what it is trained to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Recipe {
    pub(super) variant: Variant,
    pub(super) objective: Objective,
}

impl Recipe {
    /// As a manifest's [`tocsin_models::Manifest::network_name`].
    pub(super) fn name(self) -> String {
        self.variant.name_with(self.objective)
    }
}

/// One word of `--variants`: some recipes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recipes(pub(super) Vec<Recipe>);

/// The recipes of several words, each once, in the order named.
pub(super) fn chosen(words: &[Recipes]) -> Vec<Recipe> {
    let mut chosen: Vec<Recipe> = Vec::new();
    for recipe in words.iter().flat_map(|word| &word.0) {
        if !chosen.contains(recipe) {
            chosen.push(*recipe);
        }
    }
    chosen
}

impl FromStr for Recipes {
    type Err = Invalid;

    /// `all`; a kind (`dense`, `pca`, `temporal_conv`), which stands for the usual objective; every objective of a kind
    /// (`dense_all`); or one (`dense_sparse`). In `all` the temporal ones have their usual objective alone.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = |variant| Objective::ALL.map(|objective| Recipe { variant, objective });
        let computed = |variant| Recipe {
            variant,
            objective: Objective::Plain,
        };
        let usual = |variant| Recipe {
            variant,
            objective: Objective::default(),
        };
        if text == "all" {
            let linear = [Variant::Pca, Variant::Mahalanobis].map(computed);
            let networks = [all(Variant::Dense), all(Variant::Conv)].concat();
            let temporal = [Variant::TemporalConv, Variant::TemporalLstm].map(usual);
            return Ok(Self(networks.into_iter().chain(temporal).chain(linear).collect()));
        }
        let (variant, objective) = parted(text)?;
        if variant == Variant::Foreign {
            return Err(Invalid::new(
                "variants",
                "a foreign network is trained elsewhere; evaluate its --bundle",
            ));
        }
        if !variant.is_network() {
            return match objective {
                None => Ok(Self(vec![computed(variant)])),
                Some(_) => Err(Invalid::new(
                    "variants",
                    format!("{text:?}: {variant} is computed, not trained"),
                )),
            };
        }
        let objective = match objective {
            None => return Ok(Self(vec![usual(variant)])),
            Some("all") => return Ok(Self(all(variant).to_vec())),
            Some(name) => Objective::named(name)?,
        };
        Ok(Self(vec![Recipe { variant, objective }]))
    }
}

/// The kind, and what is said of its objective.
fn parted(text: &str) -> Result<(Variant, Option<&str>), Invalid> {
    // Names of kinds hold underscores too: what follows the longest that fits is the objective.
    let fitting = Variant::ALL.into_iter().filter_map(|variant| {
        let rest = text.strip_prefix(variant.as_str())?;
        Some((
            variant,
            if rest.is_empty() {
                None
            } else {
                Some(rest.strip_prefix('_')?)
            },
        ))
    });
    match fitting.max_by_key(|(variant, _)| variant.as_str().len()) {
        Some(found) => Ok(found),
        None => Ok((text.parse()?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_one_recipe_or_many() {
        let names = |text: &str| -> Vec<String> {
            let recipes: Recipes = text.parse().unwrap();
            recipes.0.iter().map(|recipe| recipe.name()).collect()
        };
        assert_eq!(names("dense"), ["dense_denoising"]);
        assert_eq!(names("conv_variational_elbo"), ["conv_variational_elbo"]);
        assert_eq!(names("conv_all").len(), 8);
        assert_eq!(names("all").len(), 20);
        assert_eq!(names("temporal_conv"), ["temporal_conv_denoising"]);
        assert_eq!(names("temporal_lstm_plain"), ["temporal_lstm_plain"]);
        assert_eq!(names("mahalanobis"), ["residual_mahalanobis"]);
        assert!("pca_sparse".parse::<Recipes>().is_err());
        let both = chosen(&["dense".parse().unwrap(), "dense_all".parse().unwrap()]);
        assert_eq!(both.len(), 8);
        assert!(
            "transformer"
                .parse::<Recipes>()
                .unwrap_err()
                .to_string()
                .contains("transformer")
        );
        assert!(
            "dense_magic"
                .parse::<Recipes>()
                .unwrap_err()
                .to_string()
                .contains("magic")
        );
    }
}
