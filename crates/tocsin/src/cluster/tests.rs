//! On the real Postgres, where there is one.

use super::*;

/// A folder that any user may pass through.
fn folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o711))
        .tempdir()
        .expect("a temp folder")
}

async fn answers(cluster: &Cluster) -> bool {
    let config = tocsin_store::Config {
        url: cluster.url(),
        ..tocsin_store::Config::default()
    };
    let store = tocsin_store::Store::connect(&config).await.expect("the cluster is up");
    store.ping().await.is_ok()
}

#[tokio::test]
async fn a_cluster_left_running_is_found_again_and_one_that_was_stopped_starts_anew() {
    if !Cluster::is_possible() {
        eprintln!("skipped: postgres isn't installed");
        return;
    }
    let folder = folder();
    let place = folder.path().join("postgres");
    // What an interrupted initialisation leaves behind.
    fs::create_dir_all(place.join("data.partial/base")).expect("made");

    let first = Cluster::start(&place).await.expect("it starts");
    assert!(!first.was_running() && answers(&first).await);
    // As after kill -9: nobody tells the server to stop.
    first.leave_running();

    let second = Cluster::start(&place).await.expect("it is found");
    assert!(second.was_running() && answers(&second).await);
    second.stop().await.expect("it stops");

    let third = Cluster::start(&place).await.expect("it starts again");
    assert!(!third.was_running() && answers(&third).await);
    third.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_folder_with_something_else_in_it_is_left_alone() {
    if !Cluster::is_possible() {
        eprintln!("skipped: postgres isn't installed");
        return;
    }
    let folder = folder();
    let place = folder.path().join("postgres");
    fs::create_dir_all(place.join("data")).expect("made");
    let error = Cluster::start(&place).await.expect_err("not a data folder");
    assert!(error.to_string().contains("is no postgres data folder"), "{error:#}");
}
