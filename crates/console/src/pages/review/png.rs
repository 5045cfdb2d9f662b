//! PNG, as little of it as a matrix of colours needs.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

/// An image of `width` columns, its pixels row by row: red, green, blue, alpha.
///
/// # Panics
/// If the pixels are no whole rows.
pub(super) fn rgba(width: usize, pixels: &[[u8; 4]]) -> Vec<u8> {
    assert!(
        width > 0 && pixels.len().is_multiple_of(width),
        "{} pixels are no rows of {width}",
        pixels.len()
    );
    let mut rows = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in pixels.chunks(width) {
        // Each row says how it is filtered: not at all.
        rows.write_all(&[0]).expect("memory takes what is written to it");
        rows.write_all(row.as_flattened())
            .expect("memory takes what is written to it");
    }
    let mut head = Vec::new();
    head.extend((width as u32).to_be_bytes());
    head.extend(((pixels.len() / width) as u32).to_be_bytes());
    // Eight bits a channel, colours with alpha, and the one way there is to compress, filter and order them.
    head.extend([8, 6, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, *b"IHDR", &head);
    chunk(
        &mut png,
        *b"IDAT",
        &rows.finish().expect("memory takes what is written to it"),
    );
    chunk(&mut png, *b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    let mut sum = Crc::new();
    sum.update(&kind);
    sum.update(data);
    png.extend((data.len() as u32).to_be_bytes());
    png.extend(kind);
    png.extend(data);
    png.extend(sum.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::ZlibDecoder;

    use super::*;

    #[test]
    fn the_pixels_are_in_it_row_by_row() {
        let png = rgba(2, &[[1, 2, 3, 4], [5, 6, 7, 8], [9, 9, 9, 9], [0, 0, 0, 0]]);
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&png[16..24], &[0, 0, 0, 2, 0, 0, 0, 2], "two by two");
        // The checksum of an empty end is known.
        assert_eq!(&png[png.len() - 4..], &[0xae, 0x42, 0x60, 0x82]);
        let length = u32::from_be_bytes(png[33..37].try_into().unwrap()) as usize;
        let mut rows = Vec::new();
        ZlibDecoder::new(&png[41..41 + length]).read_to_end(&mut rows).unwrap();
        assert_eq!(rows, [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 9, 9, 9, 0, 0, 0, 0]);
    }
}
