//! Text on a picture, in one font of fixed width: rasters that are compiled in, so no font is looked for on any host.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use tiny_skia::{Color, Pixmap};

const SIZE: RasterHeight = RasterHeight::Size20;

/// The height of a line, in pixels.
pub(super) const HEIGHT: f32 = SIZE.val() as f32;

/// What stands for a letter that the font does not have.
const MISSING: char = '·';

/// Which end of a text its place is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) color: Color,
    pub(super) bold: bool,
    pub(super) anchor: Anchor,
}

/// How wide a text is, in pixels.
pub(super) fn width(text: &str) -> f32 {
    (text.chars().count() * get_raster_width(FontWeight::Regular, SIZE)) as f32
}

/// Writes a text with its upper edge at `y`; what lies outside the picture is cut off.
pub(super) fn write(picture: &mut Pixmap, text: &str, (x, y): (f32, f32), style: Style) {
    let weight = if style.bold {
        FontWeight::Bold
    } else {
        FontWeight::Regular
    };
    let before = match style.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => width(text) / 2.0,
        Anchor::End => width(text),
    };
    let (mut left, top) = ((x - before).round() as i64, y.round() as i64);
    for letter in text.chars() {
        let raster = get_raster(letter, weight, SIZE).or_else(|| get_raster(MISSING, weight, SIZE));
        let Some(raster) = raster else { continue };
        for (down, row) in raster.rows().enumerate() {
            for (right, strength) in row.iter().enumerate() {
                blend(
                    picture,
                    (left + right as i64, top + down as i64),
                    style.color,
                    *strength,
                );
            }
        }
        left += raster.width() as i64;
    }
}

/// Lays a colour over one pixel of an opaque picture, in `strength` parts of 255.
fn blend(picture: &mut Pixmap, (x, y): (i64, i64), color: Color, strength: u8) {
    let inside = (0..i64::from(picture.width())).contains(&x) && (0..i64::from(picture.height())).contains(&y);
    if !inside || strength == 0 {
        return;
    }
    let at = (y as usize * picture.width() as usize + x as usize) * 4;
    let share = f32::from(strength) / 255.0;
    let over = [color.red(), color.green(), color.blue()];
    for (under, over) in picture.data_mut()[at..at + 3].iter_mut().zip(over) {
        *under = (f32::from(*under) * (1.0 - share) + over * 255.0 * share).round() as u8;
    }
}
