//! Plots as inline SVG, drawn here so that a page needs nothing else: no script, no font, nothing from the network.
//!
//! Colours are classes of [`STYLE`], which has them for light and dark screens and for paper. Every text is escaped.

mod axis;

use std::fmt::Write as _;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub use axis::{Axis, number};

/// The size of a plot and the room around what is drawn, in the units of its drawing.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 58.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 42.0;

/// Colours there are for series: classes `c0` to `c7`.
pub const COLOURS: usize = 8;
/// Steps of colour in a heat map.
const HEATS: u32 = 8;

/// The style of pages with plots.
const STYLE: &str = include_str!("chart/page.css");

/// A plot under construction.
#[derive(Debug, Clone)]
pub struct Plot {
    label: String,
    x: Axis,
    y: Axis,
    body: String,
    over: Vec<Markup>,
    keys: Vec<(String, String)>,
}

impl Plot {
    /// An empty one. `label`: what it shows, for whoever does not see it.
    pub fn new(label: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self {
            label: label.into(),
            x,
            y,
            body: String::new(),
            over: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// A line through points; what is not finite interrupts it.
    pub fn line(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut path = String::new();
        let mut command = 'M';
        for (x, y) in points {
            if x.is_finite() && y.is_finite() {
                self.point(&mut path, command, x, y);
                command = 'L';
            } else {
                command = 'M';
            }
        }
        self.path("line", class, &path);
    }

    /// A dot at each point.
    pub fn dots(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut path = String::new();
        for (x, y) in points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
            self.point(&mut path, 'M', x, y);
            path.push_str("h0");
        }
        self.path("dots", class, &path);
    }

    /// A histogram's outline: `heights[i]` from `edges[i]` to `edges[i + 1]`, filled to the bottom.
    pub fn steps(&mut self, class: &str, edges: &[f64], heights: &[f64]) {
        let mut path = String::new();
        for (nth, height) in heights.iter().enumerate() {
            let command = if nth == 0 { 'M' } else { 'L' };
            if nth == 0 {
                self.point(&mut path, command, edges[0], self.y.low());
            }
            self.point(&mut path, 'L', edges[nth], *height);
            self.point(&mut path, 'L', edges[nth + 1], *height);
        }
        if let Some(last) = edges.last().filter(|_| !heights.is_empty()) {
            self.point(&mut path, 'L', *last, self.y.low());
            path.push('Z');
        }
        self.path("steps", class, &path);
    }

    /// An upright line with its name above it. `nth`: of neighbours that could hide each other's names, 0 is named to its left
    /// and 1 to its right.
    pub fn limit(&mut self, at: f64, name: &str, nth: usize) {
        let x = LEFT + self.x.share(at) * (WIDTH - LEFT - RIGHT);
        let (anchor, aside) = if nth == 0 { ("end", -3.0) } else { ("start", 3.0) };
        self.over.push(html! {
            line.limit x1=(unit(x)) x2=(unit(x)) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
            text.limit x=(unit(x + aside)) y=(TOP - 5.0) text-anchor=(anchor) { (name) }
        });
    }

    /// A matrix of fields, the first row on top: `strength` of (row, column), from 0, which stays empty, to 1.
    pub fn cells(&mut self, (rows, columns): (usize, usize), strength: impl Fn(usize, usize) -> f64) {
        let (wide, high) = (
            (WIDTH - LEFT - RIGHT) / columns as f64,
            (HEIGHT - TOP - BOTTOM) / rows as f64,
        );
        let heat = |row, column| (strength(row, column).clamp(0.0, 1.0) * f64::from(HEATS)).round() as u32;
        for level in 1..=HEATS {
            let mut path = String::new();
            for row in 0..rows {
                let mut column = 0;
                while column < columns {
                    let start = column;
                    while column < columns && heat(row, column) == level {
                        column += 1;
                    }
                    if column > start {
                        let (x, y) = (LEFT + start as f64 * wide, TOP + row as f64 * high);
                        let width = (column - start) as f64 * wide;
                        // A string takes whatever is written to it.
                        let _ = write!(
                            path,
                            "M{} {}h{}v{}h-{}z",
                            unit(x),
                            unit(y),
                            unit(width),
                            unit(high),
                            unit(width)
                        );
                    }
                    column += usize::from(column == start);
                }
            }
            self.path("heat", &format!("h{level}"), &path);
        }
    }

    /// Names what has a colour.
    pub fn key(&mut self, class: impl Into<String>, name: impl Into<String>) {
        self.keys.push((class.into(), name.into()));
    }

    /// The drawing.
    pub fn draw(&self) -> Markup {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        html! {
            figure {
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.label) {
                    @for (place, text) in self.y.ticks() {
                        @let y = unit(bottom - place * (bottom - TOP));
                        line.grid x1=(LEFT) x2=(right) y1=(y) y2=(y) {}
                        text x=(LEFT - 6.0) y=(y) dy=".32em" text-anchor="end" { (text) }
                    }
                    @for (place, text) in self.x.ticks() {
                        @let x = unit(LEFT + place * (right - LEFT));
                        line.tick x1=(x) x2=(x) y1=(bottom) y2=(bottom + 4.0) {}
                        text x=(x) y=(bottom + 16.0) text-anchor="middle" { (text) }
                    }
                    (PreEscaped(&self.body))
                    @for markup in &self.over { (markup) }
                    line.axis x1=(LEFT) x2=(right) y1=(bottom) y2=(bottom) {}
                    text.name x=(f64::midpoint(LEFT, right)) y=(HEIGHT - 8.0) text-anchor="middle" { (self.x.name()) }
                    text.name transform=(format!("translate(13 {}) rotate(-90)", unit(f64::midpoint(TOP, bottom)))) text-anchor="middle" { (self.y.name()) }
                }
                @if !self.keys.is_empty() {
                    figcaption.keys { @for (class, name) in &self.keys { span { i class=(class) {} (name) } } }
                }
            }
        }
    }

    fn point(&self, path: &mut String, command: char, x: f64, y: f64) {
        let x = LEFT + self.x.share(x) * (WIDTH - LEFT - RIGHT);
        let y = HEIGHT - BOTTOM - self.y.share(y) * (HEIGHT - TOP - BOTTOM);
        // A string takes whatever is written to it.
        let _ = write!(path, "{command}{} {}", unit(x), unit(y));
    }

    fn path(&mut self, kind: &str, class: &str, path: &str) {
        if !path.is_empty() {
            let markup = html! { path class=(format!("{kind} {class}")) d=(path) {} };
            self.body.push_str(&markup.into_string());
        }
    }
}

/// A page that needs nothing else.
pub fn page(title: &str, body: &Markup) -> String {
    // What stands in the page shows itself, nothing runs, and nothing is fetched.
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(policy);
                title { (title) " · Tocsin" }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };
    page.into_string()
}

/// A number in a drawing: a tenth of a unit is below what is seen.
fn unit(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_draws_what_is_finite_and_escapes_every_text() {
        let mut plot = Plot::new(
            "<b>loss</b>",
            Axis::over("<i>epoch</i>", [0.0, 10.0]),
            Axis::over("loss", [0.0, 1.0]),
        );
        plot.line("c0", [(0.0, 0.0), (5.0, f64::NAN), (10.0, 1.0)]);
        plot.steps("c1", &[0.0, 5.0, 10.0], &[0.5, 1.0]);
        plot.limit(5.0, "99.5 % & more", 0);
        plot.key("c0", "<script>");
        let drawn = plot.draw().into_string();
        assert!(drawn.contains("M64 238M662 18"), "{drawn}");
        assert!(drawn.contains("99.5 % &amp; more") && drawn.contains("&lt;script&gt;"));
        assert!(!drawn.contains("<b>") && !drawn.contains("<i>epoch") && !drawn.contains("NaN"));
    }

    #[test]
    fn neighbouring_fields_of_one_colour_are_one_and_empty_ones_are_none() {
        let axis = || Axis::over("bin", [0.0, 4.0]);
        let mut plot = Plot::new("heat", axis(), axis());
        plot.cells((1, 4), |_, column| [0.0, 1.0, 1.0, 0.5][column]);
        assert_eq!(plot.body.matches("<path").count(), 2);
        assert_eq!(plot.body.matches('M').count(), 2);
    }
}
