//! Verdicts made again from stored rows: here by their scores alone, for there is no model; with one in the end-to-end tests.

use tocsin_domain::{CanonicalSpectrum, DeclaredState, Reading, UnjudgedReason};

use super::*;

async fn without_spectra(stage: &Stage) {
    sql(stage, "update reading set spectrum = null").await;
}

async fn sql(stage: &Stage, statement: &'static str) {
    sqlx::query(statement).execute(stage.store.pool()).await.unwrap();
}

/// All messages of a verification; the last one holds the counts.
async fn verified(stage: &Stage, scope: Scope, asked: v1::VerifyVerdictsRequest) -> Vec<v1::VerifyVerdictsResponse> {
    let (mut client, _) = stage.client(Config::default(), scope);
    let answers = client.verify_verdicts(asked).await.unwrap().into_inner();
    answers.map(Result::unwrap).collect().await
}

fn counts(answers: &[v1::VerifyVerdictsResponse]) -> [u64; 4] {
    let last = answers.last().unwrap();
    assert!(last.done && last.sensors_done == last.sensors);
    [
        last.verdicts,
        last.decision_mismatches,
        last.score_mismatches,
        last.without_spectrum,
    ]
}

#[tokio::test]
async fn decisions_are_made_again_page_by_page_for_rows_whose_spectra_are_gone() {
    with_stage("record_pages", |stage| async move {
        let mut residuals = vec![0.5; 2_500];
        residuals[1_234] = 30.0;
        stage.read(0, &residuals).await;
        without_spectra(&stage).await;
        let answers = verified(&stage, Scope::All, v1::VerifyVerdictsRequest::default()).await;
        assert_eq!(counts(&answers), [2_500, 0, 0, 2_500]);
        let progress: Vec<u64> = answers.iter().map(|answer| answer.verdicts).collect();
        assert_eq!(progress, [1_000, 2_000, 2_500, 2_500]);
        let some = v1::VerifyVerdictsRequest {
            site: "north".to_owned(),
            from: Some(time::to_wire(at(10))),
            to: Some(time::to_wire(at(20))),
        };
        assert_eq!(counts(&verified(&stage, Scope::All, some).await), [10, 0, 0, 10]);
    })
    .await;
}

#[tokio::test]
async fn an_archived_verdict_is_explained_and_made_again_as_when_it_was_hot() {
    with_stage("record_archived", |stage| async move {
        let mut residuals = vec![0.5; 2_500];
        residuals[1_234] = 30.0;
        stage.read(0, &residuals).await;
        without_spectra(&stage).await;
        sql(&stage, "update reading set baseline_id = 0").await;
        // One that its scores don't give: that is told of archived rows too.
        sql(
            &stage,
            "update reading set residual = 30 where captured_at = '2026-03-01 12:00:02+00'",
        )
        .await;
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let explain = v1::ExplainVerdictRequest {
            site: "north".to_owned(),
            machine: "p-1".to_owned(),
            sensor: "drive-end".to_owned(),
            at: Some(time::to_wire(at(1_234))),
        };
        let all = v1::VerifyVerdictsRequest::default();
        let hot = client.explain_verdict(explain.clone()).await.unwrap().into_inner();
        let hot_record = verified(&stage, Scope::All, all.clone()).await;
        assert_eq!(counts(&hot_record), [2_500, 1, 0, 2_500]);

        stage.archive().await;
        let cold = client.explain_verdict(explain).await.unwrap().into_inner();
        assert_eq!(cold, hot);
        assert!(cold.decision_matches && cold.step.unwrap().sensors[0].readings >= 1);
        assert_eq!(verified(&stage, Scope::All, all).await, hot_record);
    })
    .await;
}

#[tokio::test]
async fn a_verdict_that_its_scores_do_not_give_is_told_by_its_key_and_by_what_differs() {
    with_stage("record_tampered", |stage| async move {
        stage.read(0, &[0.5, 30.0, 0.5]).await;
        without_spectra(&stage).await;
        let calm = Verdict::Normal { by: Detector::Residual };
        sqlx::query("update reading set verdict = $1 where captured_at = $2::timestamptz")
            .bind(calm.to_code())
            .bind("2026-03-01 12:00:01+00")
            .execute(stage.store.pool())
            .await
            .unwrap();
        let answers = verified(&stage, Scope::All, v1::VerifyVerdictsRequest::default()).await;
        assert_eq!(counts(&answers), [3, 1, 0, 3]);
        let told: Vec<&v1::VerdictMismatch> = answers.iter().flat_map(|answer| &answer.mismatches).collect();
        assert_eq!((told.len(), told[0].sensor.as_str()), (1, "drive-end"));
        assert_eq!(told[0].captured_at, Some(time::to_wire(at(1))));
        assert!(told[0].differences[0].starts_with("verdict: normal by residual is stored"));
    })
    .await;
}

#[tokio::test]
async fn rows_that_were_not_judged_or_by_other_lines_are_made_again_as_they_were() {
    with_stage("record_kinds", |stage| async move {
        stage.read(0, &[0.5, 0.5, 2.5]).await;
        without_spectra(&stage).await;
        // Nothing scored it; the machine stood still, as rows of before the cells say it; severity alone.
        sqlx::query(
            "update reading set residual = null, detector_mask = 0, threshold_set_id = 0, bundle_id = 0, verdict = $1
             where captured_at = '2026-03-01 12:00:00+00'",
        )
        .bind(
            Verdict::Unjudged {
                reason: UnjudgedReason::Commissioning,
            }
            .to_code(),
        )
        .execute(stage.store.pool())
        .await
        .unwrap();
        sqlx::query("update reading set rpm = 0, verdict = $1 where captured_at = '2026-03-01 12:00:01+00'")
            .bind(
                Verdict::Unjudged {
                    reason: UnjudgedReason::Stopped,
                }
                .to_code(),
            )
            .execute(stage.store.pool())
            .await
            .unwrap();
        sqlx::query(
            "update reading set residual = null, severity = 2.5, detector_mask = $1, threshold_set_id = 0, verdict = $2
             where captured_at = '2026-03-01 12:00:02+00'",
        )
        .bind(1_i16 << Detector::Severity as u8)
        .bind(Verdict::Page { by: Detector::Severity }.to_code())
        .execute(stage.store.pool())
        .await
        .unwrap();
        let answers = verified(&stage, Scope::All, v1::VerifyVerdictsRequest::default()).await;
        assert_eq!(counts(&answers), [3, 0, 0, 3], "{answers:#?}");
    })
    .await;
}

#[tokio::test]
async fn a_reading_that_said_what_its_machine_was_doing_is_what_was_received() {
    with_stage("record_declared", |stage| async move {
        stage.read(0, &[0.5, 0.5]).await;
        let declared = [DeclaredState::Running, DeclaredState::Transient];
        for (second, (state, cell)) in (0..).zip(declared.into_iter().zip([0_i16, 2])) {
            let received = Reading {
                key: ReadingKey {
                    sensor: stage.sensor.id,
                    captured_at: at(second),
                },
                spectrum: CanonicalSpectrum::from_codes(vec![second as u8; 64]),
                clipped: false,
                condition: Condition::parse(Some(1_500.0), None).unwrap().in_state(Some(state)),
                overall: Vec::new(),
            };
            let reason = UnjudgedReason::Commissioning;
            sqlx::query(
                "update reading set residual = null, detector_mask = 0, threshold_set_id = 0, bundle_id = 0, baseline_id = 0,
                     overall = null, verdict = $1, condition_cell = $2, content_hash = $3
                 where captured_at = timestamptz '2026-03-01 12:00:00+00' + make_interval(secs => $4)",
            )
            .bind(Verdict::Unjudged { reason }.to_code())
            .bind(cell)
            .bind(received.content_hash().0)
            .bind(second as f64)
            .execute(stage.store.pool())
            .await
            .unwrap();
        }
        let answers = verified(&stage, Scope::All, v1::VerifyVerdictsRequest::default()).await;
        assert_eq!(counts(&answers), [2, 0, 0, 0], "{answers:#?}");
        sql(&stage, "update reading set rpm = 1499 where condition_cell = 2").await;
        let answers = verified(&stage, Scope::All, v1::VerifyVerdictsRequest::default()).await;
        assert_eq!(counts(&answers), [2, 0, 1, 0], "a changed speed is found");
    })
    .await;
}

#[tokio::test]
async fn an_explanation_names_what_was_used_and_gives_the_step_by_all_its_sensors() {
    with_stage("record_explain", |stage| async move {
        stage.read(0, &[0.5, 30.0, 0.5]).await;
        sql(&stage, "update reading set spectrum = null, baseline_id = 0").await;
        let asked = v1::ExplainVerdictRequest {
            site: "north".to_owned(),
            machine: "p-1".to_owned(),
            sensor: "drive-end".to_owned(),
            at: Some(time::to_wire(at(1))),
        };
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let shown = client.explain_verdict(asked.clone()).await.unwrap().into_inner();
        assert_eq!(shown.stored.as_ref().unwrap().verdict, "page");
        let derived = shown.derived.clone().unwrap();
        assert_eq!(
            (derived.verdict.as_str(), derived.decided_by.as_str()),
            ("page", "residual")
        );
        assert_eq!((shown.decision_matches, shown.scores_match), (true, None));
        assert_eq!(shown.threshold_set.unwrap().version, stage.set.0);
        assert_eq!(shown.bundle.unwrap().digest, BundleDigest([7; 32]).to_string());
        assert_eq!((shown.detector_mask, shown.baseline), (1, None));
        let residual = &shown.detectors[0];
        let member = &stage.limits.members[0];
        assert_eq!(
            (residual.score, residual.level),
            (Some(30.0), Some(member.level(30.0).0))
        );
        assert!(residual.decides && residual.derived_score.is_none());
        let step = shown.step.unwrap();
        assert_eq!((step.sensors.len(), step.sensors[0].readings), (1, 3));
        assert_eq!(
            step.level,
            Some(member.level(0.5).0),
            "the median of its three readings"
        );
        let reading = shown.reading.unwrap();
        assert_eq!(
            (reading.content_hash.as_str(), reading.content_hash_found.as_str()),
            ("0100000000000000", "")
        );

        let early = v1::ExplainVerdictRequest {
            at: Some(time::to_wire(at(0) - Duration::from_secs(1))),
            ..asked.clone()
        };
        assert_eq!(client.explain_verdict(early).await.unwrap_err().code(), Code::NotFound);
        let elsewhere = Scope::site(SiteId(stage.sensor.site.0 + 1));
        let (mut client, _) = stage.client(Config::default(), elsewhere.clone());
        assert_eq!(client.explain_verdict(asked).await.unwrap_err().code(), Code::NotFound);
        let answers = verified(&stage, elsewhere, v1::VerifyVerdictsRequest::default()).await;
        assert_eq!(counts(&answers), [0; 4], "another site's verdicts are not there");
    })
    .await;
}

#[tokio::test]
async fn a_bundle_that_is_gone_ends_a_verification_with_its_name() {
    with_stage("record_no_bundle", |stage| async move {
        stage.read(0, &[0.5]).await;
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let mut answers = client
            .verify_verdicts(v1::VerifyVerdictsRequest::default())
            .await
            .unwrap()
            .into_inner();
        let gone = answers.next().await.unwrap().unwrap_err();
        assert_eq!(gone.code(), Code::FailedPrecondition);
        assert!(gone.message().contains("not in the store"), "{gone:?}");
    })
    .await;
}
