//! Bundles and who judges a class by them.

pub use crate::generated::registry::v1;

use v1::push_bundle_request::Message;
use v1::{PushBundleHeader, PushBundleRequest};

/// Bytes of an archive in one message.
const CHUNK: usize = 1 << 20;

/// The messages that push a bundle: the class it is for, and its archive piece by piece.
pub fn push_bundle_messages(class: &str, archive: &[u8]) -> Vec<PushBundleRequest> {
    let header = Message::Header(PushBundleHeader {
        class: class.to_owned(),
    });
    let pieces = archive.chunks(CHUNK).map(|piece| Message::Chunk(piece.to_vec()));
    let message = |message| PushBundleRequest { message: Some(message) };
    std::iter::once(header).chain(pieces).map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_goes_first_and_the_pieces_make_the_archive() {
        let archive: Vec<u8> = (0..CHUNK + 7).map(|at| at as u8).collect();
        let messages = push_bundle_messages("pump", &archive);
        let mut sent = messages.into_iter().map(|request| request.message.unwrap());
        assert!(matches!(sent.next(), Some(Message::Header(header)) if header.class == "pump"));
        let pieces: Vec<Vec<u8>> = sent
            .map(|message| match message {
                Message::Chunk(piece) => piece,
                Message::Header(_) => panic!("one header"),
            })
            .collect();
        assert_eq!((pieces.len(), pieces.concat()), (2, archive));
    }
}
