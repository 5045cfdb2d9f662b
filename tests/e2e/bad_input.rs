//! Bad input of every kind gets a clear error of the right code, and the process lives.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use tocsin_contracts::ingest::StreamProperties;
use tocsin_contracts::ingest::v1::RejectionCode;
use tocsin_contracts::registry::v1::push_bundle_request::Message;
use tocsin_contracts::registry::v1::registry_service_client::RegistryServiceClient;
use tocsin_contracts::registry::v1::{PushBundleHeader, PushBundleRequest};
use tocsin_contracts::time;
use tocsin_domain::{Clock, Timestamp};
use tocsin_models::bundle::BundleParts;
use tocsin_models::onnx::proto::tensor_proto::DataLocation;
use tocsin_models::onnx::proto::{GraphProto, StringStringEntryProto};
use tocsin_models::{Bundle, BundleArchive, onnx};
use tocsin_tests::stage::CLASS;
use tocsin_tests::{Plant, Stage};
use tocsin_transport::auth::Token;
use tonic::Code;

/// The stage still takes a reading.
async fn lives(stage: &Stage) -> Result<()> {
    let mut publisher = stage.publisher().await?;
    let ack = publisher
        .publish(vec![Plant::reading("m2/h", 1_000, Plant::healthy(1_000))])
        .await?;
    assert_eq!(ack.stored + ack.duplicates, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn times_far_off_are_refused_by_their_field() -> Result<()> {
    let stage = Stage::judging().await?;
    let properties = StreamProperties {
        clock_is_capture: false,
        historical: false,
    };
    let mut publisher = tocsin::publish::Publisher::new(stage.running.channel(&stage.token().await?), properties);
    let at = |text: &str| {
        let at = Timestamp::parse("t", text).expect("a time");
        let mut reading = Plant::reading("m1/h", 0, Plant::healthy(0));
        reading.captured_at = Some(time::to_wire(at));
        reading
    };
    let now = Clock::system().now().to_string();
    let ack = publisher
        .publish(vec![at("1970-01-01T00:00:00Z"), at("2100-01-01T00:00:00Z"), at(&now)])
        .await?;
    assert_eq!(ack.stored, 1);
    for (rejection, index) in ack.rejections.iter().zip([0, 1]) {
        assert_eq!(
            (rejection.index, rejection.code()),
            (index, RejectionCode::OutOfTime),
            "{rejection:?}"
        );
        assert_eq!(rejection.field, "captured_at");
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_or_revoked_token_is_unauthenticated() -> Result<()> {
    use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
    use tocsin_contracts::access::v1::{CreateTokenRequest, RevokeTokenRequest, Token as WireToken};
    let stage = Stage::judging().await?;
    let reading = || vec![Plant::reading("m1/h", 0, Plant::healthy(0))];
    let properties = StreamProperties {
        clock_is_capture: false,
        historical: false,
    };
    let unknown = stage.running.channel(&Token::parse("tocsin_nobody")?);
    let refused = tocsin::publish::Publisher::new(unknown, properties)
        .publish(reading())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);

    let mut access = AccessServiceClient::new(stage.running.service_channel());
    let token = WireToken {
        site: "works".to_owned(),
        name: "lost".to_owned(),
        ..WireToken::default()
    };
    let made = access
        .create_token(CreateTokenRequest { token: Some(token) })
        .await?
        .into_inner();
    let token_id = made.token.expect("the token").token_id;
    access.revoke_token(RevokeTokenRequest { token_id }).await?;
    let revoked = stage.running.channel(&Token::parse(&made.secret)?);
    let refused = tocsin::publish::Publisher::new(revoked, properties)
        .publish(reading())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    lives(&stage).await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_sensor_is_unknown() -> Result<()> {
    use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
    use tocsin_contracts::fleet::v1::{CreateSiteRequest, Site};
    let stage = Stage::judging().await?;
    let mut fleet = FleetServiceClient::new(stage.running.service_channel());
    let site = Site {
        name: "elsewhere".to_owned(),
        title: "Elsewhere".to_owned(),
        time_zone: "UTC".to_owned(),
        ..Site::default()
    };
    fleet.create_site(CreateSiteRequest { site: Some(site) }).await?;
    let token = stage.token_with(|token| token.site = "elsewhere".to_owned()).await?;
    let properties = StreamProperties {
        clock_is_capture: true,
        historical: false,
    };
    let mut publisher = tocsin::publish::Publisher::new(stage.running.channel(&token), properties);
    let ack = publisher
        .publish(vec![Plant::reading("m1/h", 0, Plant::healthy(0))])
        .await?;
    assert_eq!(
        (ack.stored, ack.rejections[0].code()),
        (0, RejectionCode::UnknownSensor)
    );
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_batch_is_refused_whole() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    let many: Vec<_> = (0..5_001).map(|n| Plant::reading("m1/h", n, vec![0.1; 64])).collect();
    let refused = publisher.publish(many).await.unwrap_err();
    assert!(
        refused.message().contains("5001") || refused.message().contains("5000"),
        "{refused:?}"
    );
    let rows: i64 = sqlx::query_scalar("select count(*) from reading")
        .fetch_one(stage.store.pool())
        .await?;
    assert_eq!(rows, 0);
    lives(&stage).await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_kills_nothing() -> Result<()> {
    let stage = Stage::judging().await?;
    let addr = stage.running.grpc_addr();
    tokio::task::spawn_blocking(move || -> Result<()> {
        for garbage in [
            b"\x00\xff\x13garbage\r\n\r\n".to_vec(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff".to_vec(),
            vec![0x16; 4096],
        ] {
            let mut socket = std::net::TcpStream::connect(addr)?;
            socket.set_read_timeout(Some(Duration::from_millis(300)))?;
            socket.write_all(&garbage)?;
            let _ = socket.read(&mut [0; 256]);
        }
        Ok(())
    })
    .await??;
    lives(&stage).await?;
    stage.stop().await
}

/// What the registry says to an archive that it should not take.
async fn refusal(stage: &Stage, bytes: &[u8]) -> Result<String> {
    let header = Message::Header(PushBundleHeader {
        class: CLASS.to_owned(),
    });
    let messages: Vec<PushBundleRequest> = std::iter::once(header)
        .chain(bytes.chunks(1 << 16).map(|chunk| Message::Chunk(chunk.to_vec())))
        .map(|message| PushBundleRequest { message: Some(message) })
        .collect();
    let answer = RegistryServiceClient::new(stage.running.service_channel())
        .push_bundle(tokio_stream::iter(messages))
        .await;
    let status = answer.err().context("the bundle was taken")?;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    Ok(status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_bundle_is_refused_with_a_reason() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut corrupt = Plant::bundle(CLASS, 5)?.to_bytes();
    let middle = corrupt.len() / 2;
    for byte in &mut corrupt[middle..middle + 512] {
        *byte ^= 0x5a;
    }
    for bytes in [corrupt, b"not an archive".to_vec(), Vec::new()] {
        assert!(!refusal(&stage, &bytes).await?.is_empty());
    }
    lives(&stage).await?;
    stage.stop().await
}

/// A good bundle with its autoencoder changed, and packed again so that every digest is right.
fn repacked(good: &BundleArchive, change: impl FnOnce(&mut GraphProto)) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    good.to_dir(folder.path())?;
    let file = |name: &str| std::fs::read(folder.path().join(name));
    let mut model = onnx::from_bytes(&file("autoencoder.onnx")?).map_err(anyhow::Error::msg)?;
    change(model.graph.as_mut().context("a graph")?);
    let bundle = Bundle::from_archive(good.clone())?;
    let parts = BundleParts {
        manifest: bundle.manifest().clone(),
        autoencoder: onnx::to_bytes(&model),
        decoder: file("decoder.onnx")?,
        temporal: None,
        detectors: bundle.detectors().clone(),
        held_out: bundle.held_out().clone(),
    };
    Ok(parts.pack().to_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_model_in_a_sound_archive_is_refused_by_the_verifier_itself() -> Result<()> {
    let stage = Stage::judging().await?;
    let good = Plant::bundle(CLASS, 5)?;
    let forbidden = repacked(&good, |graph| graph.node[0].op_type = "Loop".to_owned())?;
    let elsewhere = repacked(&good, |graph| {
        let tensor = &mut graph.initializer[0];
        tensor.raw_data.clear();
        tensor.data_location = Some(DataLocation::External as i32);
        tensor.external_data = vec![StringStringEntryProto {
            key: "location".to_owned(),
            value: "/etc/passwd".to_owned(),
        }];
    })?;
    for (bytes, reason) in [
        (forbidden, "the operator is not on the list of allowed ones"),
        (elsewhere, "data outside the file is not allowed"),
    ] {
        let said = refusal(&stage, &bytes).await?;
        assert!(
            said.contains("was rejected: autoencoder.onnx: ") && said.ends_with(reason),
            "{said}"
        );
    }
    lives(&stage).await?;
    stage.stop().await
}
