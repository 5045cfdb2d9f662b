//! The review of an incident: who may write it, how it stands when it is final, and what leaves as a file.

use http::{Method, StatusCode};

use super::fixture::{Fixture, Fleet};
use super::{clock, console, get, header, request, send};

const PAGE: &str = "/incidents/41/review";

#[tokio::test]
async fn a_review_is_written_by_those_who_may_and_read_by_all() {
    let console = console(Fleet::Small);
    let (viewed, operated) = (get(&console, PAGE, "vera").await, get(&console, PAGE, "olga").await);
    for said in [
        "lubrication was low",
        "correlation, not a diagnosis",
        "Of 552 readings",
        "mill-02",
        "alarm limits #4 in force",
        "page delivered to on-call",
        "No readings of horizontal",
        "Corrects version 1",
        "data:image/png;base64,",
        "2340 Hz",
        "rebuilt by model #12 (dense). Its usual mean squared error on healthy readings is 0.2700",
        "<strong>Rebuilt from its latent</strong>: the spectrum is not kept. Mean squared error 0.3100; not evidence",
        "Hatched grey is rebuilt from latents",
    ] {
        assert!(viewed.text.contains(said), "{said}");
    }
    assert!(!viewed.text.contains("method=\"post\"") && operated.text.contains("action=\"/incidents/41/review\""));
    assert!(viewed.text.contains("<h3>Conclusion</h3>") && !viewed.text.contains("<textarea"));
    for inline in [" style=", "<style", " onclick="] {
        assert!(!operated.text.contains(inline), "{inline}");
    }
    let done = get(&console, &format!("{PAGE}?version=1"), "olga").await.text;
    assert!(
        done.contains(&"5f".repeat(32)) && !done.contains("name=\"findings\"") && !done.contains("/review/label\"")
    );
    assert_eq!(
        get(&console, &format!("{PAGE}?version=9"), "olga").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        get(&console, "/incidents/7/review", "olga").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn what_is_written_is_saved_and_made_final_with_the_revision_that_the_save_gave_it() {
    let fixture = Fixture::new(Fleet::Small, clock());
    let console =
        tocsin_console::build(&tocsin_console::Config::default(), fixture.services(), clock()).expect("a console");
    for (path, form) in [
        ("", "revision=3&findings=x&conclusion=worn&then=save"),
        ("", "revision=3&findings=x&conclusion=worn&then=finalise"),
        ("/reopen", "reason=a+word"),
    ] {
        let post = request(&Method::POST, &format!("{PAGE}{path}"), Some("olga"), form);
        let answer = send(&console, post).await;
        assert_eq!(
            (answer.status, header(&answer, "location")),
            (StatusCode::SEE_OTHER, PAGE)
        );
    }
    let orders = fixture.orders.lock().expect("nobody panicked").clone();
    assert_eq!(
        orders,
        [
            "save 41 3: worn",
            "save 41 3: worn",
            "finalise 41 4",
            "reopen 41: a word"
        ]
    );
}

#[tokio::test]
async fn each_export_is_a_file_and_the_page_among_them_needs_nothing_else() {
    let console = console(Fleet::Small);
    for (format, kind) in [
        ("csv", "text/csv; charset=utf-8"),
        ("parquet", "application/vnd.apache.parquet"),
        ("json", "application/json"),
    ] {
        let answer = get(&console, &format!("{PAGE}/export.{format}"), "vera").await;
        assert_eq!((answer.status, header(&answer, "content-type")), (StatusCode::OK, kind));
        let name = format!("attachment; filename=\"incident-41-review.{format}\"");
        assert_eq!(header(&answer, "content-disposition"), name);
        assert!(
            answer.text.starts_with(&format!("{format} of ")),
            "its pieces are put together"
        );
    }
    let file = get(&console, &format!("{PAGE}/export.html?version=1"), "vera").await;
    assert!(header(&file, "content-disposition").contains("incident-41-review-1.html"));
    for said in [
        "<style>",
        "default-src 'none'",
        "lubrication was low",
        &"5f".repeat(32),
        "All times are UTC",
    ] {
        assert!(file.text.contains(said), "{said}");
    }
    for elsewhere in ["src=", "href=\"/", "<link", "<form", "url("] {
        assert!(!file.text.contains(elsewhere), "{elsewhere}");
    }
    for none in ["export.xlsx", "export", "other.csv"] {
        assert_eq!(
            get(&console, &format!("{PAGE}/{none}"), "vera").await.status,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn what_people_wrote_is_text_on_the_page_and_in_the_file() {
    let console = console(Fleet::Hostile);
    for path in [
        PAGE.to_owned(),
        format!("{PAGE}?version=1"),
        format!("{PAGE}/export.html"),
    ] {
        let answer = get(&console, &path, "olga").await;
        assert!(!answer.text.contains("<script>alert"), "{path}");
        assert!(answer.text.contains("&lt;script&gt;alert(1)"), "{path}");
    }
}
