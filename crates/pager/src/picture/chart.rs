//! A spectrum against its baseline, as a PNG: twice the pixels it is shown with, so that it is sharp on a phone.

use tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};

use super::axis;
use super::text::{self, Anchor, Style};

/// The picture's size in pixels; it is shown at half of it.
pub(crate) const SIZE: (u32, u32) = (960, 400);

/// Where the curves are: left, top, right, bottom.
const PLOT: (f32, f32, f32, f32) = (92.0, 84.0, 936.0, 350.0);

/// The most decades shown below the highest amplitude; a little less than two at least.
const MOST_DECADES: f64 = 4.0;
const LEAST_RATIO: f64 = 50.0;

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chart {
    /// Whose spectrum.
    pub(crate) title: String,
    /// When it was taken.
    pub(crate) taken: String,
    /// `Hz` or `orders`.
    pub(crate) axis_unit: String,
    /// Of the amplitudes, such as `g`.
    pub(crate) unit: String,
    /// Where the first bin begins and the last one ends, in `axis_unit`.
    pub(crate) range: (f64, f64),
    /// The amplitude of each bin.
    pub(crate) now: Vec<f32>,
    /// What was expected of each bin, if anything was.
    pub(crate) baseline: Option<Vec<f32>>,
    /// The bins that the page names.
    pub(crate) named: Vec<usize>,
}

struct Palette {
    paper: Color,
    ink: Color,
    quiet: Color,
    grid: Color,
    baseline: Color,
    baseline_fill: Color,
    now: Color,
    named: Color,
    named_fill: Color,
}

fn palette() -> Palette {
    let rgba = Color::from_rgba8;
    Palette {
        paper: rgba(255, 255, 255, 255),
        ink: rgba(31, 41, 55, 255),
        quiet: rgba(90, 99, 112, 255),
        grid: rgba(226, 230, 236, 255),
        baseline: rgba(130, 141, 158, 255),
        baseline_fill: rgba(130, 141, 158, 46),
        now: rgba(29, 78, 156, 255),
        named: rgba(200, 30, 30, 255),
        named_fill: rgba(200, 30, 30, 34),
    }
}

impl Chart {
    /// The picture, PNG; none of a spectrum without bins.
    pub(crate) fn png(&self) -> Option<Vec<u8>> {
        if self.now.is_empty() {
            return None;
        }
        let mut picture = Pixmap::new(SIZE.0, SIZE.1)?;
        let colors = palette();
        picture.fill(colors.paper);
        let scale = Scale::of(self);
        self.draw_named(&mut picture, &scale, &colors);
        self.draw_grid(&mut picture, &scale, &colors);
        if let Some(baseline) = &self.baseline {
            let curve = scale.curve(baseline);
            fill_under(&mut picture, &curve, colors.baseline_fill);
            draw(&mut picture, &curve, colors.baseline, 2.0);
        }
        draw(&mut picture, &scale.curve(&self.now), colors.now, 2.5);
        self.draw_stems(&mut picture, &scale, &colors);
        self.draw_words(&mut picture, &colors);
        picture.encode_png().ok()
    }

    /// A band behind each bin that is named.
    fn draw_named(&self, picture: &mut Pixmap, scale: &Scale, colors: &Palette) {
        for bin in &self.named {
            let (middle, half) = (scale.x(scale.centre(*bin)), (scale.bin_width() / 2.0).max(3.0));
            fill_rect(
                picture,
                (middle - half, PLOT.1, middle + half, PLOT.3),
                colors.named_fill,
            );
        }
    }

    /// What each named bin is beyond its baseline, and a mark above it.
    fn draw_stems(&self, picture: &mut Pixmap, scale: &Scale, colors: &Palette) {
        for bin in &self.named {
            let Some(now) = self.now.get(*bin) else { continue };
            let x = scale.x(scale.centre(*bin));
            let expected = self.baseline.as_ref().and_then(|baseline| baseline.get(*bin));
            let foot = expected.map_or(PLOT.3, |expected| scale.y(*expected));
            draw(picture, &[(x, foot), (x, scale.y(*now))], colors.named, 3.0);
            let mark = [(x - 7.0, PLOT.1 - 11.0), (x + 7.0, PLOT.1 - 11.0), (x, PLOT.1)];
            fill(picture, &mark, colors.named);
        }
    }

    fn draw_grid(&self, picture: &mut Pixmap, scale: &Scale, colors: &Palette) {
        let words = |anchor| Style {
            color: colors.quiet,
            bold: false,
            anchor,
        };
        let (left, top, right, bottom) = PLOT;
        for place in axis::logarithmic(scale.lowest, scale.highest) {
            let y = scale.y(place as f32);
            draw(picture, &[(left, y), (right, y)], colors.grid, 1.5);
            let at = (left - 10.0, y - text::HEIGHT / 2.0);
            text::write(picture, &axis::name(place), at, words(Anchor::End));
        }
        for place in axis::linear(self.range.0, self.range.1, 6) {
            let x = scale.x(place);
            draw(picture, &[(x, top), (x, bottom + 7.0)], colors.grid, 1.5);
            let name = axis::name(place);
            // The last one leaves the corner to the unit.
            let half = text::width(&name) / 2.0;
            if x + half < right - text::width(&self.axis_unit) - 12.0 {
                text::write(picture, &name, (x, bottom + 11.0), words(Anchor::Middle));
            }
        }
        text::write(picture, &self.axis_unit, (right, bottom + 11.0), words(Anchor::End));
        draw(picture, &[(left, bottom), (right, bottom)], colors.quiet, 2.0);
    }

    fn draw_words(&self, picture: &mut Pixmap, colors: &Palette) {
        let style = |color, bold, anchor| Style { color, bold, anchor };
        let (left, right, first, second) = (20.0, PLOT.2, 12.0, 42.0);
        let room = right - left - text::width(&self.taken) - 24.0;
        let most = (room / text::width("x")) as usize;
        let title = crate::message::at_most(&self.title, most.max(1));
        text::write(picture, &title, (left, first), style(colors.ink, true, Anchor::Start));
        text::write(
            picture,
            &self.taken,
            (right, first),
            style(colors.quiet, false, Anchor::End),
        );
        text::write(
            picture,
            &self.unit,
            (left, second),
            style(colors.quiet, false, Anchor::Start),
        );
        let entries = [
            (!self.named.is_empty()).then_some(("stands out", colors.named)),
            self.baseline.as_ref().map(|_| ("baseline", colors.baseline)),
            Some(("now", colors.now)),
        ];
        let mut end = right;
        for (name, color) in entries.into_iter().flatten() {
            text::write(picture, name, (end, second), style(colors.ink, false, Anchor::End));
            end -= text::width(name) + 10.0;
            let y = second + text::HEIGHT / 2.0;
            draw(picture, &[(end - 26.0, y), (end, y)], color, 5.0);
            end -= 26.0 + 28.0;
        }
    }
}

/// From what is measured to pixels.
struct Scale {
    range: (f64, f64),
    bins: usize,
    lowest: f64,
    highest: f64,
}

impl Scale {
    fn of(chart: &Chart) -> Self {
        let all = chart.now.iter().chain(chart.baseline.iter().flatten());
        let heard = all.map(|amplitude| f64::from(*amplitude));
        let heard = heard.filter(|amplitude| amplitude.is_finite() && *amplitude > 0.0);
        let (least, most) = heard.fold((f64::INFINITY, 0f64), |(least, most), one| {
            (least.min(one), most.max(one))
        });
        let highest = if most > 0.0 { most * 1.4 } else { 1.0 };
        let lowest = (least / 1.4).max(highest / 10f64.powf(MOST_DECADES));
        Self {
            range: chart.range,
            bins: chart.now.len(),
            lowest: lowest.min(highest / LEAST_RATIO),
            highest,
        }
    }

    fn centre(&self, bin: usize) -> f64 {
        let width = (self.range.1 - self.range.0) / self.bins as f64;
        self.range.0 + (bin as f64 + 0.5) * width
    }

    fn bin_width(&self) -> f32 {
        (PLOT.2 - PLOT.0) / self.bins as f32
    }

    fn x(&self, place: f64) -> f32 {
        let share = (place - self.range.0) / (self.range.1 - self.range.0);
        PLOT.0 + (PLOT.2 - PLOT.0) * share as f32
    }

    /// What is below the lowest amplitude shown stands on the axis.
    fn y(&self, amplitude: f32) -> f32 {
        let amplitude = f64::from(amplitude).clamp(self.lowest, self.highest);
        let share = (amplitude / self.lowest).ln() / (self.highest / self.lowest).ln();
        PLOT.3 - (PLOT.3 - PLOT.1) * share as f32
    }

    /// A point for each bin; where bins are finer than pixels, for the highest of those in two of them.
    fn curve(&self, amplitudes: &[f32]) -> Vec<(f32, f32)> {
        let columns = ((PLOT.2 - PLOT.0) / 2.0) as usize;
        let together = amplitudes.len().div_ceil(columns).max(1);
        let point = |(chunk, bins): (usize, &[f32])| {
            let highest = bins.iter().copied().fold(0.0, f32::max);
            let middle = (chunk * together) as f64 + (bins.len() as f64 - 1.0) / 2.0;
            let width = (self.range.1 - self.range.0) / self.bins as f64;
            (self.x(self.range.0 + (middle + 0.5) * width), self.y(highest))
        };
        amplitudes.chunks(together).enumerate().map(point).collect()
    }
}

fn paint(color: Color) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color(color);
    paint.anti_alias = true;
    paint
}

fn path(points: &[(f32, f32)], is_closed: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    let (first, rest) = points.split_first()?;
    builder.move_to(first.0, first.1);
    for (x, y) in rest {
        builder.line_to(*x, *y);
    }
    if is_closed {
        builder.close();
    }
    builder.finish()
}

fn draw(picture: &mut Pixmap, points: &[(f32, f32)], color: Color, width: f32) {
    let stroke = Stroke {
        width,
        line_join: tiny_skia::LineJoin::Round,
        ..Stroke::default()
    };
    if let Some(path) = path(points, false) {
        picture.stroke_path(&path, &paint(color), &stroke, Transform::identity(), None);
    }
}

fn fill(picture: &mut Pixmap, points: &[(f32, f32)], color: Color) {
    if let Some(path) = path(points, true) {
        picture.fill_path(&path, &paint(color), FillRule::Winding, Transform::identity(), None);
    }
}

fn fill_under(picture: &mut Pixmap, curve: &[(f32, f32)], color: Color) {
    if let (Some(first), Some(last)) = (curve.first(), curve.last()) {
        let feet = [(last.0, PLOT.3), (first.0, PLOT.3)];
        let area: Vec<(f32, f32)> = curve.iter().copied().chain(feet).collect();
        fill(picture, &area, color);
    }
}

fn fill_rect(picture: &mut Pixmap, (left, top, right, bottom): (f32, f32, f32, f32), color: Color) {
    if let Some(rect) = Rect::from_ltrb(left, top, right, bottom) {
        picture.fill_rect(rect, &paint(color), Transform::identity(), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A spectrum with a hum, and harmonics of a fault that the baseline does not have.
    pub(crate) fn chart(bins: usize) -> Chart {
        let hump = |bin: usize, at: f64, height: f64| {
            let away = (bin as f64 - at * bins as f64) / 2.5;
            height * (-away * away).exp()
        };
        let noise = |bin: usize| 0.004 * (1.0 + 0.5 * ((bin * 7_919 % 101) as f64 / 101.0 - 0.5));
        let hum = |bin| noise(bin) + hump(bin, 0.05, 0.4) + hump(bin, 0.1, 0.09) + hump(bin, 0.52, 0.02);
        let fault = |bin| {
            (1..5)
                .map(|n| hump(bin, 0.17 * f64::from(n), 0.2 / f64::from(n)))
                .sum::<f64>()
        };
        Chart {
            title: "lisbon/cnc-1 spindle".to_owned(),
            taken: "2026-03-01T12:00:10Z".to_owned(),
            axis_unit: "Hz".to_owned(),
            unit: "g peak".to_owned(),
            range: (0.0, 6_400.0),
            now: (0..bins).map(|bin| (hum(bin) + fault(bin)) as f32).collect(),
            baseline: Some((0..bins).map(|bin| hum(bin) as f32).collect()),
            named: [17, 34, 51, 68].iter().map(|percent| percent * bins / 100).collect(),
        }
    }

    fn pixels(chart: &Chart) -> Pixmap {
        Pixmap::decode_png(&chart.png().unwrap()).unwrap()
    }

    fn has(picture: &Pixmap, (x, y): (u32, u32), color: Color) -> bool {
        let pixel = picture.pixel(x, y).unwrap();
        let color = color.premultiply().to_color_u8();
        (pixel.red(), pixel.green(), pixel.blue()) == (color.red(), color.green(), color.blue())
    }

    #[test]
    fn a_picture_is_a_png_of_its_size_that_marks_the_bins_that_stand_out() {
        let chart = chart(400);
        let bytes = chart.png().unwrap();
        assert!(bytes.len() < 50_000, "{} bytes", bytes.len());
        let picture = pixels(&chart);
        assert_eq!((picture.width(), picture.height()), SIZE);
        let scale = Scale::of(&chart);
        let marked = scale.x(scale.centre(chart.named[1])) as u32;
        assert!(has(&picture, (marked, PLOT.1 as u32 - 6), palette().named));
        assert!(!has(&picture, (marked + 40, PLOT.1 as u32 - 6), palette().named));
        let plain = pixels(&Chart { named: vec![], ..chart });
        assert!(!has(&plain, (marked, PLOT.1 as u32 - 6), palette().named));
    }

    #[test]
    fn a_bin_that_is_finer_than_a_pixel_is_not_lost() {
        let mut chart = chart(4_096);
        (chart.now, chart.baseline, chart.named) = (vec![0.01; 4_096], None, vec![]);
        chart.now[2_001] = 1.0;
        let scale = Scale::of(&chart);
        let highest = scale
            .curve(&chart.now)
            .into_iter()
            .map(|(_, y)| y)
            .fold(f32::MAX, f32::min);
        assert_eq!(highest, scale.y(1.0));
    }

    #[test]
    fn nothing_is_drawn_of_no_bins() {
        let empty = Chart {
            now: vec![],
            ..chart(64)
        };
        assert_eq!(empty.png(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn whatever_is_measured_can_be_drawn(
            now in proptest::collection::vec(prop_oneof![Just(0.0f32), 0f32..1e-6, 0f32..1e6], 1..64),
            named in proptest::collection::vec(0usize..80, 0..8),
            title in ".{0,80}",
        ) {
            let drawn = Chart { baseline: None, now, named, title, ..chart(32) };
            prop_assert!(drawn.png().is_some());
        }
    }
}
