//! What scores: named in every row that a network scored, so that a score that differs can be laid to the right door.

use std::sync::LazyLock;

static BUILD: LazyLock<String> = LazyLock::new(|| format!("{}+{}", env!("CARGO_PKG_VERSION"), kernels()));

/// This build, `version+kernels`: the crate's version, and the kernels the engine picks by the processor.
pub fn build() -> &'static str {
    &BUILD
}

/// The instruction set by which the engine picks its kernels: two hosts with the same one give the same bits.
fn kernels() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            "tract-avx512f"
        } else if std::arch::is_x86_feature_detected!("fma") {
            "tract-fma"
        } else {
            "tract-generic"
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        "tract-arm64"
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        "tract-generic"
    }
}
