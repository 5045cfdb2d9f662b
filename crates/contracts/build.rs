//! Compiles the contracts with a protobuf compiler written in Rust, so that nothing has to be installed to build.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    // Asked as it runs: a build script compiled in another checkout may be used for this one.
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());

    let mut protos = Vec::new();
    collect_protos(&root, &mut protos)?;
    protos.sort();

    let descriptors = protox::compile(&protos, [&root])?;
    // `compile_fds` does not write the descriptor set itself; reflection serves it from here.
    let out = PathBuf::from(env::var("OUT_DIR")?).join("tocsin.descriptors.bin");
    fs::write(out, descriptors.encode_to_vec())?;

    tonic_prost_build::configure()
        .boxed(".tocsin.recalibrator.v1.RunWithProgressResponse.said.threshold_set")
        .boxed(".tocsin.recalibrator.v1.RunWithProgressResponse.said.what_if")
        .compile_fds(descriptors)?;
    Ok(())
}

fn collect_protos(folder: &Path, protos: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_protos(&path, protos)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            protos.push(path);
        }
    }
    Ok(())
}
