//! Incidents and their pages.

use tocsin_domain::Severity;

use crate::Malformed;
pub use crate::generated::incidents::v1;

/// Reads `alert` or `page`; the error names `field`.
pub fn severity_from_wire(field: &str, text: &str) -> Result<Severity, Malformed> {
    [Severity::Alert, Severity::Page]
        .into_iter()
        .find(|severity| severity.as_str() == text)
        .ok_or_else(|| Malformed::new(field, format!("{text:?} is not one of alert, page")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_severity_survives_the_wire() {
        for severity in [Severity::Alert, Severity::Page] {
            assert_eq!(severity_from_wire("severity", severity.as_str()), Ok(severity));
        }
        assert_eq!(severity_from_wire("severity", "warning").unwrap_err().field, "severity");
    }
}
