use super::*;
use proptest::prelude::*;

/// Quantiles of a standard exponential distribution, evenly spread.
fn exponential(count: usize) -> Vec<f64> {
    (0..count)
        .map(|at| -(1.0 - (at as f64 + 0.5) / count as f64).ln())
        .collect()
}

/// Quantiles of a Pareto distribution of the given shape.
fn pareto(count: usize, shape: f64) -> Vec<f64> {
    (0..count)
        .map(|at| ((1.0 - (at as f64 + 0.5) / count as f64).powf(-shape) - 1.0) / shape)
        .collect()
}

#[test]
fn an_exponential_tail_is_recovered() {
    let tail = Tail::fit(&exponential(5_000)).expect("fit");
    let (shape, scale) = tail.shape_and_scale();
    assert!(
        shape < 0.02 && (scale - 1.0).abs() < 0.05,
        "shape {shape}, scale {scale}"
    );
    for x in [1.0, 3.0, 5.0, 8.0_f64] {
        let expected = x / std::f64::consts::LN_10;
        assert!(
            (tail.score(x) - expected).abs() < 0.03 * expected + 0.01,
            "x {x}: {}",
            tail.score(x)
        );
    }
}

#[test]
fn a_heavy_tail_is_recovered() {
    let tail = Tail::fit(&pareto(20_000, 0.25)).expect("fit");
    let (shape, _) = tail.shape_and_scale();
    assert!((shape - 0.25).abs() < 0.05, "shape {shape}");
    let expected = tail.quantile(0.9999);
    let truth = (1e-4_f64.powf(-0.25) - 1.0) / 0.25;
    assert!((expected / truth - 1.0).abs() < 0.1, "{expected} against {truth}");
}

#[test]
fn a_short_tail_is_held_at_an_exponential_and_has_no_end() {
    let uniform: Vec<f64> = (0..1_000).map(|at| f64::from(at) / 1_000.0).collect();
    let tail = Tail::fit(&uniform).expect("fit");
    assert_eq!(tail.shape_and_scale().0.to_bits(), 0.0_f64.to_bits());
    assert!(tail.score(3.0) > tail.score(2.0) && tail.score(2.0) > 4.0);
}

#[test]
fn body_quantiles_are_those_of_the_scores() {
    let scores = exponential(5_000);
    let tail = Tail::fit(&scores).expect("fit");
    for q in [0.1, 0.5, 0.8, 0.9] {
        assert!((tail.quantile(q) - scores[(q * 5_000.0) as usize]).abs() < 0.02);
    }
    assert_eq!(tail.quantile(0.0).to_bits(), scores[0].to_bits());
    assert!(tail.quantile(1.0).is_finite());
}

#[test]
fn bad_scores_are_refused_with_the_reason() {
    assert_eq!(Tail::fit(&[1.0; 49]), Err(TailError::TooFew { have: 49, need: 50 }));
    let mut scores = exponential(60);
    scores[7] = f64::NAN;
    assert_eq!(Tail::fit(&scores), Err(TailError::NotFinite { at: 7 }));
    assert_eq!(Tail::fit(&[3.0; 60]), Err(TailError::Tied { part: "body" }));
    let mut flat_top = exponential(100);
    flat_top[70..].fill(9.0);
    assert_eq!(Tail::fit(&flat_top), Err(TailError::Tied { part: "tail" }));
    assert_eq!(
        TailError::NotFinite { at: 7 }.to_string(),
        "scores: score 7 is not finite"
    );
}

#[test]
fn a_line_is_sufficient_from_one_over_alpha_scores_on() {
    let tail = Tail::fit(&exponential(200)).expect("fit");
    assert!(tail.sufficient_for(0.005));
    assert!(!tail.sufficient_for(0.0005));
    assert!(!Tail::fit(&exponential(199)).expect("fit").sufficient_for(0.005));
    assert_eq!(tail.support(), 200);
}

#[test]
fn a_stored_tail_stays_small_and_a_falling_one_is_refused() {
    let tail = Tail::fit(&exponential(50_000)).expect("fit");
    let text = serde_json::to_string(&tail).expect("json");
    assert!(text.len() < 4_000, "{} bytes", text.len());
    let back: Tail = serde_json::from_str(&text).expect("parses");
    assert!((back.score(7.0) - tail.score(7.0)).abs() < 1e-9);
    let mut stored = serde_json::to_value(&tail).expect("json");
    stored["knots"][5] = 1e9.into();
    let error = serde_json::from_value::<Tail>(stored).expect_err("falling");
    assert!(error.to_string().contains("knots: must be finite and rise"));
}

#[test]
fn odd_numbers_do_not_panic() {
    let tail = Tail::fit(&exponential(100)).expect("fit");
    assert!(tail.score(f64::NAN).is_nan() && tail.at_level(f64::NAN).is_nan() && tail.quantile(f64::NAN).is_nan());
    assert_eq!(tail.score(f64::NEG_INFINITY).to_bits(), 0.0_f64.to_bits());
    assert_eq!(tail.score(f64::INFINITY).to_bits(), tail.score(f64::MAX).to_bits());
    assert!(tail.at_level(f64::INFINITY).is_finite());
}

/// Healthy scores of many kinds: scaled, shifted, with and without ties.
fn any_scores() -> impl Strategy<Value = Vec<f64>> {
    let values = prop::collection::vec(0.0_f64..1.0, MIN_SCORES..400);
    (values, -6.0_f64..6.0, -100.0_f64..100.0, 0.1_f64..6.0, any::<bool>()).prop_map(
        |(values, exponent, shift, power, ties)| {
            let scale = 10.0_f64.powf(exponent);
            values
                .into_iter()
                .map(|value| if ties { (value * 20.0).floor() / 20.0 } else { value })
                .map(|value| shift + scale * value.powf(power))
                .collect()
        },
    )
}

proptest! {
    #[test]
    fn a_tail_score_never_falls(scores in any_scores(), a in -3.0_f64..30.0, b in -3.0_f64..30.0) {
        if let Ok(tail) = Tail::fit(&scores) {
            let (low, high) = (a.min(b), a.max(b));
            let span = tail.threshold() - tail.quantile(0.0);
            let at = |share: f64| tail.quantile(0.0) + share * span;
            prop_assert!(tail.score(at(low)) <= tail.score(at(high)));
        }
    }

    #[test]
    fn above_the_threshold_it_always_rises(scores in any_scores(), start in 0.0_f64..1e6, step in 1e-3_f64..1.0) {
        if let Ok(tail) = Tail::fit(&scores) {
            let (_, scale) = tail.shape_and_scale();
            let low = tail.threshold() + scale * start;
            let high = low + scale * (start + 1.0) * step;
            prop_assert!(high <= low || tail.score(high) > tail.score(low));
        }
    }

    #[test]
    fn it_is_continuous_at_the_threshold(scores in any_scores()) {
        if let Ok(tail) = Tail::fit(&scores) {
            let (_, scale) = tail.shape_and_scale();
            let jump = tail.score(tail.threshold() + 1e-7 * scale) - tail.score(tail.threshold());
            prop_assert!((0.0..1e-6).contains(&jump), "jump {jump}");
        }
    }

    #[test]
    fn at_level_undoes_score(scores in any_scores(), share in 0.0_f64..8.0) {
        if let Ok(tail) = Tail::fit(&scores) {
            let least = tail.quantile(0.0);
            let span = tail.threshold() - least;
            let x = least + share * span;
            let back = tail.at_level(tail.score(x));
            prop_assert!((back - x).abs() <= 1e-6 * (x.abs() + span), "{back} against {x}");
        }
    }

    #[test]
    fn a_quantile_has_the_tail_score_of_its_share(scores in any_scores(), q in 0.001_f64..0.9999) {
        if let Ok(tail) = Tail::fit(&scores) {
            // The quantile is rounded to a float: where scores crowd, its neighbours' tail scores lie around the share's.
            let (x, share) = (tail.quantile(q), -(1.0 - q).log10());
            let rounding = 4.0 * f64::EPSILON * (x.abs() + tail.threshold().abs());
            prop_assert!(tail.score(x - rounding) - 1e-3 < share && share < tail.score(x + rounding) + 1e-3);
        }
    }

    #[test]
    fn it_is_finite_for_any_finite_number(scores in any_scores(), x in proptest::num::f64::NORMAL) {
        if let Ok(tail) = Tail::fit(&scores) {
            prop_assert!(tail.score(x).is_finite() && tail.score(x) >= 0.0);
            prop_assert!(tail.score(-x).is_finite() && tail.score(f64::MAX).is_finite());
        }
    }
}
