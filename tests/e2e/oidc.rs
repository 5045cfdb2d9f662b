//! Signing in by an identity provider, from the console's button to the session and the record.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tocsin::Role;
use tocsin_domain::PersonRole;
use tocsin_registry::access::oidc::{Config, Grant};
use tocsin_tests::Stage;
use tocsin_tests::provider::{Algorithm, CLIENT_ID, CLIENT_SECRET, Lie, Provider};
use tocsin_tests::stage::{SITE, free_address};

/// A platform that knows a provider.
struct Plant {
    stage: Stage,
    provider: Provider,
    console: String,
    _secret: tempfile::NamedTempFile,
}

impl Plant {
    async fn start() -> Result<Self> {
        let provider = Provider::start().await?;
        let listen = free_address()?;
        let console = format!("http://{listen}");
        let secret = tempfile::NamedTempFile::new()?;
        std::fs::write(secret.path(), format!("{CLIENT_SECRET}\n"))?;
        let grant = |group: &str, role, all_sites: bool| Grant {
            group: group.to_owned(),
            role,
            sites: if all_sites { Vec::new() } else { vec![SITE.to_owned()] },
            all_sites,
        };
        let config = Config {
            issuer: provider.issuer(),
            client_id: CLIENT_ID.to_owned(),
            client_secret_file: Some(secret.path().to_owned()),
            redirect_base_url: console.clone(),
            label: "Works ID".to_owned(),
            scopes: vec!["profile".to_owned(), "email".to_owned()],
            name_claim: "preferred_username".to_owned(),
            groups_claim: "groups".to_owned(),
            grants: vec![
                grant("bells", PersonRole::Operator, false),
                grant("founders", PersonRole::Engineer, true),
            ],
            allowed_domains: vec!["example.org".to_owned()],
        };
        let stage = Stage::start_with(Role::ALL, |all| {
            all.console.listen = listen;
            all.registry.access.oidc = Some(config);
        })
        .await?;
        Ok(Self {
            stage,
            provider,
            console,
            _secret: secret,
        })
    }

    fn browser(&self) -> Result<Browser> {
        Ok(Browser {
            client: Client::builder().redirect(reqwest::redirect::Policy::none()).build()?,
            console: self.console.clone(),
            cookies: BTreeMap::new(),
        })
    }

    async fn stop(self) -> Result<()> {
        self.stage.stop().await
    }
}

/// Keeps cookies, and goes where it is told one step at a time.
struct Browser {
    client: Client,
    console: String,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    async fn get(&mut self, address: &str) -> Result<Response> {
        let mut request = self.client.get(address);
        if address.starts_with(&self.console) {
            let cookies: Vec<_> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header("cookie", cookies.join("; "));
        }
        let answer = request.send().await?;
        for cookie in answer.headers().get_all("set-cookie") {
            let text = cookie.to_str()?;
            ensure!(text.contains("; HttpOnly; SameSite=Lax"), "{text}");
            let (name, value) = text
                .split(';')
                .next()
                .and_then(|pair| pair.split_once('='))
                .context("a cookie")?;
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        Ok(answer)
    }

    /// From the button to the address that the provider sends back to.
    async fn go_and_come_back(&mut self, next: &str) -> Result<String> {
        let button = format!("{}/login/oidc?next={next}", self.console);
        let provider = location(&self.get(&button).await?)?;
        let back = location(&self.get(&provider).await?)?;
        ensure!(
            back.starts_with(&format!("{}/login/oidc/callback?", self.console)),
            "{back}"
        );
        Ok(back)
    }

    /// The whole way. Answers the status, and where it leads or what the page says.
    async fn sign_in(&mut self) -> Result<(StatusCode, String)> {
        let back = self.go_and_come_back("%2Faccount").await?;
        self.comes_back(&back).await
    }

    async fn comes_back(&mut self, back: &str) -> Result<(StatusCode, String)> {
        let answer = self.get(back).await?;
        let status = answer.status();
        let said = match location(&answer) {
            Ok(to) => to,
            Err(_) => answer.text().await?,
        };
        Ok((status, said))
    }

    async fn page(&mut self, path: &str) -> Result<(StatusCode, String)> {
        let address = format!("{}{path}", self.console);
        let answer = self.get(&address).await?;
        Ok((answer.status(), answer.text().await?))
    }

    fn session(&self) -> Option<&str> {
        self.cookies
            .get("tocsin_session")
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

fn location(answer: &Response) -> Result<String> {
    let to = answer.headers().get("location");
    Ok(to.context("it leads nowhere")?.to_str()?.to_owned())
}

fn ana(groups: &[&str]) -> Value {
    json!({
        "sub": "7f-ana",
        "preferred_username": "Ana.Lopes",
        "email": "ana@example.org",
        "email_verified": true,
        "groups": groups,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_in_by_the_provider_has_the_role_and_sites_of_their_groups_at_that_time() -> Result<()> {
    let plant = Plant::start().await?;
    let mut browser = plant.browser()?;
    let (_, page) = browser.page("/login?next=%2Faccount").await?;
    assert!(
        page.contains("href=\"/login/oidc?next=%2Faccount\"") && page.contains("Sign in with Works ID"),
        "{page}"
    );

    plant.provider.sign_in(ana(&["bells", "others"]));
    assert_eq!(browser.sign_in().await?, (StatusCode::SEE_OTHER, "/account".to_owned()));
    assert_eq!(browser.cookies["tocsin_sign_in"], "", "the sign-in's cookie is gone");
    let (_, page) = browser.page("/account").await?;
    assert!(
        page.contains("ana.lopes") && page.contains("operator") && page.contains(SITE),
        "{page}"
    );

    let listed = plant.stage.ask(&["accounts", "list"]).await?["accounts"][0].clone();
    assert_eq!(listed["sign_in"], plant.provider.issuer(), "{listed:#}");

    // The role follows at the next sign-in, in the older session too.
    plant.provider.sign_in(ana(&["bells", "founders"]));
    assert_eq!(plant.browser()?.sign_in().await?.0, StatusCode::SEE_OTHER);
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let (_, page) = browser.page("/account").await?;
    assert!(page.contains("engineer") && page.contains("all sites"), "{page}");

    // Who is in no group any more is neither let in nor stays in.
    plant.provider.sign_in(ana(&["others"]));
    let (status, page) = plant.browser()?.sign_in().await?;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(
        page.contains("None of your groups (others) gives you a role here"),
        "{page}"
    );
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(
        browser.page("/account").await?.0,
        StatusCode::SEE_OTHER,
        "the session has ended"
    );

    let actions: Vec<(String, String)> =
        sqlx::query_as("select actor, action from audit where actor = 'ana.lopes' order by link")
            .fetch_all(plant.stage.store.pool())
            .await?;
    let actions: Vec<&str> = actions.iter().map(|(_, action)| action.as_str()).collect();
    let expected = [
        "account.create",
        "session.begin",
        "account.change",
        "session.begin",
        "session.refuse",
    ];
    assert_eq!(actions, expected);
    plant.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_lies_lets_nobody_in() -> Result<()> {
    let plant = Plant::start().await?;
    plant.provider.sign_in(ana(&["bells"]));
    let cases = [
        (Lie::Nonce, StatusCode::UNAUTHORIZED, "can't be trusted"),
        (Lie::Signature, StatusCode::UNAUTHORIZED, "can't be trusted"),
        (Lie::Unsigned, StatusCode::UNAUTHORIZED, "can't be trusted"),
        (Lie::Audience, StatusCode::UNAUTHORIZED, "can't be trusted"),
        (Lie::Issuer, StatusCode::UNAUTHORIZED, "can't be trusted"),
        (Lie::Expired, StatusCode::FORBIDDEN, "Are the clocks of Tocsin and of"),
        (Lie::Future, StatusCode::FORBIDDEN, "Are the clocks of Tocsin and of"),
    ];
    let algorithms = [Algorithm::Es256, Algorithm::Rs256];
    let tried = algorithms
        .iter()
        .flat_map(|algorithm| cases.map(|case| (*algorithm, case)));
    for (algorithm, (lie, expected, words)) in tried {
        plant.provider.sign_with(algorithm);
        plant.provider.lie(lie);
        let mut browser = plant.browser()?;
        let (status, page) = browser.sign_in().await?;
        assert_eq!(status, expected, "{algorithm:?} {lie:?}: {page}");
        assert!(
            page.replace("&#39;", "'").contains(words),
            "{algorithm:?} {lie:?}: {page}"
        );
        assert_eq!(browser.session(), None, "{algorithm:?} {lie:?}");
    }
    let accounts: i64 = sqlx::query_scalar("select count(*) from account")
        .fetch_one(plant.stage.store.pool())
        .await?;
    assert_eq!(accounts, 0);
    plant.provider.lie(Lie::None);
    for algorithm in algorithms {
        plant.provider.sign_with(algorithm);
        assert_eq!(
            plant.browser()?.sign_in().await?.0,
            StatusCode::SEE_OTHER,
            "{algorithm:?}"
        );
    }
    plant.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_of_use_once_and_in_the_browser_it_was_asked_for_in() -> Result<()> {
    let plant = Plant::start().await?;
    plant.provider.sign_in(ana(&["bells"]));
    let mut browser = plant.browser()?;
    let back = browser.go_and_come_back("%2F").await?;

    // Somebody else has the address.
    let mut thief = plant.browser()?;
    let (status, page) = thief.comes_back(&back).await?;
    assert_eq!((status, thief.session()), (StatusCode::UNAUTHORIZED, None), "{page}");
    // The same with a sign-in of their own: the state is another one's.
    thief.go_and_come_back("%2F").await?;
    let (status, page) = thief.comes_back(&back).await?;
    assert_eq!((status, thief.session()), (StatusCode::UNAUTHORIZED, None), "{page}");
    assert!(page.contains("belongs to another sign-in"), "{page}");
    // The same with the state of their own: the code is bound to the challenge of the other.
    let own = thief.go_and_come_back("%2F").await?;
    let state = |address: &str| address.rsplit_once("state=").map(|(_, state)| state.to_owned());
    let mixed = back.replace(&state(&back).context("a state")?, &state(&own).context("a state")?);
    let (status, page) = thief.comes_back(&mixed).await?;
    assert_eq!((status, thief.session()), (StatusCode::UNAUTHORIZED, None), "{page}");
    assert!(page.contains("does not accept its own answer"), "{page}");

    // Its own browser, once.
    let back = browser.go_and_come_back("%2F").await?;
    let cookies = browser.cookies.clone();
    assert_eq!(
        browser.comes_back(&back).await?,
        (StatusCode::SEE_OTHER, "/".to_owned())
    );
    browser.cookies = cookies;
    let (status, page) = browser.comes_back(&back).await?;
    assert_eq!((status, browser.session()), (StatusCode::UNAUTHORIZED, None), "{page}");
    assert!(page.contains("was already used"), "{page}");
    plant.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_come_in_is_told_why() -> Result<()> {
    let plant = Plant::start().await?;
    let told = async |person: Value| {
        plant.provider.sign_in(person);
        let (status, page) = plant.browser()?.sign_in().await?;
        anyhow::Ok((status.as_u16(), page.replace("&#39;", "'")))
    };
    plant.provider.sign_in(ana(&["bells"]));
    let mut browser = plant.browser()?;
    assert_eq!(browser.sign_in().await?.0, StatusCode::SEE_OTHER);

    // Not by a password, though there is an account of the name.
    let address = format!("{}/login", plant.console);
    let request = browser
        .client
        .request(Method::POST, address)
        .header("origin", &plant.console)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("name=ana.lopes&password=&next=%2F");
    assert_eq!(request.send().await?.status(), StatusCode::UNAUTHORIZED);

    plant
        .stage
        .ask(&["accounts", "create", "bo", "--role", "admin", "--all-sites"])
        .await?;
    plant.stage.ask(&["accounts", "disable", "ana.lopes"]).await?;
    let (status, page) = told(ana(&["bells"])).await?;
    assert!(
        status == 403 && page.contains("The account ana.lopes is disabled"),
        "{page}"
    );

    let mut bo = ana(&["bells"]);
    (bo["sub"], bo["preferred_username"]) = ("8a-bo".into(), "Bo".into());
    let (status, page) = told(bo.clone()).await?;
    assert!(
        status == 403 && page.contains("The name bo belongs to another account"),
        "{page}"
    );
    bo["email"] = "bo@example.org.evil.test".into();
    let (status, page) = told(bo.clone()).await?;
    assert!(status == 403 && page.contains("is of none of the domains"), "{page}");
    bo["email_verified"] = false.into();
    let (status, page) = told(bo).await?;
    assert!(
        status == 403 && page.contains("claim email_verified is not true"),
        "{page}"
    );
    let (status, page) = told(Value::Null).await?;
    assert!(
        status == 403 && page.contains("The identity provider refused: access_denied not today"),
        "{page}"
    );

    plant.provider.stop();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let (status, page) = plant.browser()?.page("/login/oidc").await?;
    assert!(
        status == 503 && page.contains("does not answer as it should") && page.contains("sign in with a local account"),
        "{page}"
    );
    plant.stop().await
}
