//! The latents on a plane: what the model takes for alike lies close together.

use std::collections::BTreeMap;

use maud::{Markup, html};
use tocsin_detect::{Components, Pca, Rows, Standardise};

use super::Material;
use crate::chart::{Axis, COLOURS, Plot};

/// Most dots.
const DOTS: usize = 4_000;

/// A plane through the latents: two axes, and the share of their variance on each.
struct Plane {
    points: Vec<(f64, f64)>,
    explained: Vec<f32>,
}

pub(super) fn section(material: &Material<'_>) -> Markup {
    let size = usize::from(material.manifest().latent);
    html! {
        h2 #latents { "The latent space" }
        @match plane(material, size) {
            Ok(plane) => {
                p { "Latents of the rows trained on, standardised, on the two axes along which they differ most. Sensors of one class that lie apart differ in build, mounting or use." }
                (draw(material, &plane))
            }
            Err(reason) => p { "The latents can't be laid on a plane: " (reason) "." }
        }
    }
}

fn plane(material: &Material<'_>, size: usize) -> Result<Plane, tocsin_detect::FitError> {
    let latents: Vec<f32> = material.train.latents.iter().map(|value| value.to_f32()).collect();
    let rows = Rows::new(&latents, size)?;
    let axes = Pca::fit(rows, Components::Count(size.min(2)))?;
    let (standardise, count): (&Standardise, usize) = (axes.standardise(), axes.count());
    let mut standard = vec![0.0; size];
    let mut points = Vec::with_capacity(rows.len());
    for row in latents.chunks_exact(size) {
        standardise.standardise_into(row, &mut standard);
        let along = |axis: usize| -> f64 {
            if axis >= count {
                return 0.0;
            }
            let component = &axes.components()[axis * size..][..size];
            component.iter().zip(&standard).map(|(a, b)| f64::from(a * b)).sum()
        };
        points.push((along(0), along(1)));
    }
    Ok(Plane {
        points,
        explained: axes.explained().to_vec(),
    })
}

fn draw(material: &Material<'_>, plane: &Plane) -> Markup {
    let part = &material.train;
    let mut rows_of: BTreeMap<u32, usize> = BTreeMap::new();
    for row in part.rows.rows() {
        *rows_of.entry(row.sensor).or_default() += 1;
    }
    let mut sensors: Vec<(u32, usize)> = rows_of.into_iter().collect();
    sensors.sort_by_key(|(sensor, rows)| (std::cmp::Reverse(*rows), *sensor));
    let own = if sensors.len() > COLOURS {
        COLOURS - 1
    } else {
        sensors.len()
    };
    let name = |axis: usize| match plane.explained.get(axis) {
        Some(share) => format!("axis {} ({:.0} % of the variance)", axis + 1, share * 100.0),
        None => "there is one latent".to_owned(),
    };
    let mut plot = Plot::new(
        "Latents of the rows trained on, by sensor",
        Axis::over(name(0), plane.points.iter().map(|point| point.0)),
        Axis::over(name(1), plane.points.iter().map(|point| point.1)),
    );
    let every = part.len().div_ceil(DOTS).max(1);
    let dots = |wanted: &dyn Fn(u32) -> bool| -> Vec<(f64, f64)> {
        let rows = part.rows.rows().iter().zip(&plane.points).step_by(every);
        rows.filter(|(row, _)| wanted(row.sensor))
            .map(|(_, point)| *point)
            .collect()
    };
    if sensors.len() > own {
        let others = &sensors[own..];
        let class = format!("c{own}");
        plot.dots(&class, dots(&|sensor| others.iter().any(|(other, _)| *other == sensor)));
        plot.key(class, format!("{} other sensors", others.len()));
    }
    for (nth, (sensor, rows)) in sensors.iter().take(own).enumerate() {
        let class = format!("c{nth}");
        plot.dots(&class, dots(&|other| other == *sensor));
        plot.key(
            class,
            format!("{} ({rows} rows)", part.rows.sensors()[*sensor as usize]),
        );
    }
    plot.draw()
}
