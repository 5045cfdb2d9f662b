//! A real Alertmanager, restarted while an incident is open.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tocsin_domain::Clock;
use tocsin_pager::{Config, Destination};

use crate::receiver::Receiver;
use crate::stage::{eventually, impatient, with_stage};

/// The binary of Debian's package.
const BINARY: &str = "/usr/bin/prometheus-alertmanager";

/// Longer than `resolve_timeout`, so that an alert that isn't posted again would be over.
const OPEN: Duration = Duration::from_mins(1);

struct Alertmanager(Child);

impl Alertmanager {
    async fn start(folder: &Path, port: u16) -> Self {
        let child = Command::new(BINARY)
            .arg(format!("--config.file={}", folder.join("config.yml").display()))
            .arg(format!("--storage.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ready = format!("http://127.0.0.1:{port}/-/ready");
        eventually(|| async {
            reqwest::get(&ready)
                .await
                .ok()
                .filter(|answer| answer.status().is_success())
        })
        .await;
        Self(child)
    }

    /// As a service manager stops it: it writes down whom it has notified.
    fn stop(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // Only a test that failed leaves one running.
        let _ = self.0.kill();
    }
}

fn statuses(receiver: &Receiver) -> Vec<String> {
    receiver
        .got()
        .iter()
        .map(|got| got.body["status"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn its_receiver_gets_one_firing_and_one_resolved_though_it_was_restarted() {
    if !Path::new(BINARY).exists() {
        eprintln!("skipped: {BINARY} is not installed");
        return;
    }
    with_stage("alertmanager", Clock::system(), |stage| async move {
        let receiver = Receiver::start([]).await;
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{resolve_timeout: 10s}}\n\
             route: {{receiver: hook, group_by: [incident], group_wait: 1s, group_interval: 1s, repeat_interval: 4h}}\n\
             receivers: [{{name: hook, webhook_configs: [{{url: '{}', send_resolved: true}}]}}]\n",
            receiver.url
        );
        std::fs::write(folder.path().join("config.yml"), config).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let alertmanager = Alertmanager::start(folder.path(), port).await;
        let destination = Destination::Alertmanager(tocsin_pager::destination::Alertmanager {
            resend_interval_ms: 2_000,
            ..tocsin_pager::destination::Alertmanager::new("am", format!("http://127.0.0.1:{port}"))
        });
        let pager = stage.pager(Config {
            destinations: vec![destination],
            ..impatient()
        });
        let incident = stage.open().await;
        eventually(|| async { (statuses(&receiver).len() == 1).then_some(()) }).await;
        tokio::time::sleep(OPEN / 3).await;
        alertmanager.stop();
        let alertmanager = Alertmanager::start(folder.path(), port).await;
        tokio::time::sleep(OPEN * 2 / 3).await;
        assert_eq!(statuses(&receiver), ["firing"]);
        stage.clear(incident).await;
        eventually(|| async { (statuses(&receiver).len() == 2).then_some(()) }).await;
        // Time in which another one would come.
        tokio::time::sleep(Duration::from_secs(12)).await;
        pager.stop().await;
        alertmanager.stop();
        assert_eq!(statuses(&receiver), ["firing", "resolved"]);
    })
    .await;
}
