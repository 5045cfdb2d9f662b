//! A bearer token that doesn't print itself.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

/// A bearer token: 1 to 4,096 visible ASCII characters. A secret, so `Debug` hides it and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Arc<str>);

/// The text can't be a bearer token. It doesn't repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is 1 to 4096 visible ASCII characters, without spaces")]
pub struct InvalidToken;

impl Token {
    /// Takes `text` as it is.
    ///
    /// # Errors
    /// If it is empty, too long, or holds a space, a control or a character beyond ASCII.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let sound = (1..=4_096).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if sound {
            Ok(Self(text.into()))
        } else {
            Err(InvalidToken)
        }
    }

    /// The secret itself: for hashing and comparing, not for printing.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `Bearer …`, marked so that header dumps hide it.
    pub(crate) fn header(&self) -> HeaderValue {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).expect("visible ASCII is a header value");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_visible_ascii_and_does_not_print_itself() {
        let token = Token::parse("s3cret").expect("a token");
        assert_eq!(token.expose(), "s3cret");
        assert!(!format!("{token:?} {:?}", token.header()).contains("s3cret"));
        for text in ["", "a b", "a\nb", "é", &"x".repeat(4_097)] {
            assert_eq!(Token::parse(text), Err(InvalidToken));
        }
    }
}
