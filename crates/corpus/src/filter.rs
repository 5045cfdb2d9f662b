//! Which rows of a corpus are wanted.

use tocsin_domain::Invalid;

use crate::SensorName;

/// A pattern for whole sensor names: `*` stands for any text, slashes included, and `?` for one character. So
/// `*/horizontal` matches `femto/bearing1_1/horizontal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// Parses a pattern; a character that no sensor name has is refused, since it could never match.
    pub fn parse(field: &str, pattern: &str) -> Result<Self, Invalid> {
        let legal = |b: u8| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.' | b'/' | b'*' | b'?')
        };
        if pattern.is_empty() || !pattern.bytes().all(legal) {
            let reason = format!("{pattern:?} is not a pattern of a-z, 0-9, '-', '_', '.', '/', '*' and '?'");
            return Err(Invalid::new(field, reason));
        }
        Ok(Self(pattern.to_owned()))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern matches all of `text`.
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        // The last star met, and where its match ends: on a mismatch the star takes one character more.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(&c) if c == b'?' || c == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => {
                    let Some((at, end)) = star else { return false };
                    star = Some((at, end + 1));
                    p = at + 1;
                    t = end + 1;
                }
            }
        }
        pattern[p..].iter().all(|c| *c == b'*')
    }
}

/// Which rows are wanted; the default wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Sensors whose name matches; `None` is every sensor.
    pub sensors: Option<Glob>,
    /// Rows of these splits; `None` is every row, those without a split included.
    pub splits: Option<Vec<String>>,
}

impl Filter {
    /// Whether rows of this sensor are wanted.
    pub fn wants_sensor(&self, sensor: &SensorName) -> bool {
        self.sensors
            .as_ref()
            .is_none_or(|glob| glob.matches(&sensor.to_string()))
    }

    /// Whether rows of this split are wanted.
    pub fn wants_split(&self, split: Option<&str>) -> bool {
        self.splits
            .as_ref()
            .is_none_or(|wanted| split.is_some_and(|split| wanted.iter().any(|w| w == split)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::parse("sensors", pattern).unwrap().matches(text)
    }

    #[test]
    fn a_star_crosses_slashes_and_a_question_mark_is_one_character() {
        let name = "femto/bearing1_1/horizontal";
        for good in ["*/horizontal", "*", "femto/*", "*bearing1_?/*", "**", name, "f*t*o*l"] {
            assert!(matches(good, name), "{good}");
        }
        for bad in ["horizontal", "*/vertical", "femto", "femto/bearing1_1/horizontal?", "?"] {
            assert!(!matches(bad, name), "{bad}");
        }
        assert!(matches("a*b*c", "a/b/b/c") && !matches("a*b*c", "a/b/c/d"));
    }

    #[test]
    fn a_pattern_that_can_never_match_is_refused() {
        for bad in ["", "Femto/*", "a b", "[ab]"] {
            assert_eq!(Glob::parse("sensors", bad).unwrap_err().field, "sensors", "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_text_matches_itself_and_itself_with_any_part_starred(text in "[a-c/]{1,12}", from in 0usize..12, to in 0usize..12) {
            let (from, to) = (from.min(text.len()), to.min(text.len()));
            let (from, to) = (from.min(to), from.max(to));
            prop_assert!(matches(&text, &text));
            let starred = format!("{}*{}", &text[..from], &text[to..]);
            prop_assert!(matches(&starred, &text));
            let longer = format!("{text}d");
            prop_assert!(!matches(&text, &longer));
        }
    }
}
