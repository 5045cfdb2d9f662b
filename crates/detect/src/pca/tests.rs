use super::*;

const BINS: usize = 12;

/// Rows on a plane of two directions, with a little noise beside it.
fn rows(count: usize, noise: f32) -> Vec<f32> {
    (0..count)
        .flat_map(|at| {
            let t = at as f32;
            let (load, speed) = ((t * 0.37).sin() * 2.0, (t * 0.11).cos());
            (0..BINS).map(move |bin| {
                let b = bin as f32;
                3.0 + load * (b * 0.5).cos() + speed * (b * 0.9).sin() + noise * (t * 12.9 + b * 78.2).sin()
            })
        })
        .collect()
}

fn fitted(components: Components) -> Pca {
    Pca::fit(Rows::new(&rows(500, 0.01), BINS).expect("rows"), components).expect("fit")
}

#[test]
fn two_directions_are_found_and_their_rows_reconstructed() {
    let model = fitted(Components::Explained(0.99));
    assert_eq!(model.count(), 2);
    let row = &rows(3, 0.0)[2 * BINS..];
    let mut back = vec![0.0; BINS];
    model.reconstruct(row, &mut back);
    for (back, value) in back.iter().zip(row) {
        assert!((back - value).abs() < 0.05, "{back} against {value}");
    }
}

#[test]
fn components_are_orthonormal_and_sorted_by_variance() {
    let model = fitted(Components::Count(5));
    let components: Vec<&[f32]> = model.components().chunks_exact(BINS).collect();
    for (i, a) in components.iter().enumerate() {
        for (j, b) in components.iter().enumerate() {
            let expected = if i == j { 1.0 } else { 0.0 };
            assert!((dot(a, b) - expected).abs() < 1e-5);
        }
    }
    assert!(model.explained().is_sorted_by(|a, b| a >= b));
}

#[test]
fn a_row_off_the_plane_scores_far_above_healthy_rows() {
    let model = fitted(Components::Explained(0.95));
    let healthy = rows(500, 0.01);
    let worst = healthy
        .chunks_exact(BINS)
        .map(|row| model.score(row))
        .fold(0.0, f32::max);
    let mut odd = healthy[..BINS].to_vec();
    odd[4] += 1.5;
    assert!(model.score(&odd) > 10.0 * worst);
}

#[test]
fn either_way_the_score_is_the_mean_of_the_squared_errors_of_the_bins() {
    for (count, by_dropped) in [(1, false), (4, false), (5, true), (11, true)] {
        let model = fitted(Components::Count(count));
        assert_eq!(model.residual.is_some(), by_dropped, "{count} components");
        let mut row = rows(10, 0.3)[9 * BINS..].to_vec();
        row.iter_mut().step_by(5).for_each(|value| *value += 1.0);
        let (mut z, mut projected) = (vec![0.0; BINS], vec![0.0; BINS]);
        model.stored.standardise.standardise_into(&row, &mut z);
        model.project(&z, &mut projected);
        let errors = z.iter().zip(&projected).map(|(z, projected)| (z - projected).powi(2));
        let mean = errors.sum::<f32>() / BINS as f32;
        assert!((model.score(&row) / mean - 1.0).abs() < 1e-4, "{count} components");
    }
}

#[test]
fn every_component_kept_leaves_no_error() {
    let model = fitted(Components::Count(BINS));
    assert!(model.score(&rows(10, 0.3)[9 * BINS..]) < 1e-9);
}

#[test]
fn a_batch_gives_the_bits_of_each_row_alone() {
    let model = fitted(Components::Explained(0.95));
    let rows = rows(37, 0.2);
    let mut scores = vec![0.0; 37];
    model.score_batch(&rows, BINS, &mut scores);
    for (score, row) in scores.iter().zip(rows.chunks_exact(BINS)) {
        assert_eq!(score.to_bits(), model.score(row).to_bits());
    }
}

#[test]
fn a_stored_model_scores_as_before_and_a_short_one_is_refused() {
    let model = fitted(Components::Count(2));
    let mut stored = serde_json::to_value(&model).expect("json");
    let back: Pca = serde_json::from_value(stored.clone()).expect("parses");
    assert_eq!(back, model);
    stored["components"].as_array_mut().expect("array").pop();
    let error = serde_json::from_value::<Pca>(stored).expect_err("one value short");
    assert!(
        error
            .to_string()
            .contains("components: must have a value per component and bin")
    );
}

#[test]
fn parameters_outside_their_range_and_rows_without_spread_are_refused() {
    let values = rows(20, 0.1);
    let rows = Rows::new(&values, BINS).expect("rows");
    assert!(matches!(
        Pca::fit(rows, Components::Explained(0.0)),
        Err(FitError::Parameter { .. })
    ));
    assert!(matches!(
        Pca::fit(rows, Components::Explained(f64::NAN)),
        Err(FitError::Parameter { .. })
    ));
    assert!(matches!(
        Pca::fit(rows, Components::Count(BINS + 1)),
        Err(FitError::Parameter { .. })
    ));
    let still = vec![2.0; 5 * BINS];
    let still = Rows::new(&still, BINS).expect("rows");
    assert_eq!(Pca::fit(still, Components::Count(1)), Err(FitError::NoSpread));
}

#[test]
fn nan_in_a_row_does_not_panic() {
    assert!(fitted(Components::Count(2)).score(&[f32::NAN; BINS]).is_nan());
}
