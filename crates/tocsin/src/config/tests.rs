use super::*;

fn nothing(_: &str) -> Option<String> {
    None
}

#[test]
fn the_defaults_are_these() {
    let dump = Config::default().dump().expect("it can be written");
    insta::assert_snapshot!(dump);
}

#[test]
fn what_is_dumped_can_be_read_again() {
    let dump = Config::default().dump().expect("it can be written");
    assert_eq!(Config::parse(&dump).expect("it can be read"), Config::default());
}

#[test]
fn the_example_in_deploy_is_read_whole() {
    let example = include_str!("../../../../deploy/tocsin.example.toml");
    let config = Config::parse(example).expect("the example is good");
    assert_ne!(config, Config::default());
    // What is commented out is an example as well: each such line is a setting, without a space after the sign.
    let all: String = example
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| !rest.starts_with(' '))
                .unwrap_or(line)
        })
        .fold(String::new(), |text, line| text + line + "\n");
    Config::parse(&all).expect("the settings commented out are good as well");
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    let error = Config::parse("[server]\nlisten = '127.0.0.1:1'\n\n[ensemble]\ngroup_reading = 5\n").unwrap_err();
    let error = error.to_string();
    assert!(error.contains("line 5") && error.contains("group_reading"), "{error}");
    let error = Config::parse("[scroer]\n").unwrap_err().to_string();
    assert!(error.contains("scroer"), "{error}");
}

#[test]
fn the_environment_goes_before_the_file() {
    let folder = tempfile::tempdir().expect("a temp folder");
    let file = folder.path().join("tocsin.toml");
    std::fs::write(
        &file,
        "[database]\nurl = 'postgres://file/x'\n[objects]\nurl = '/srv/objects'\n",
    )
    .expect("written");
    let environment = |name: &str| match name {
        "TOCSIN_DATABASE_URL" => Some("postgres://environment/x".to_owned()),
        "TOCSIN_OBJECTS_URL" => Some(String::new()),
        _ => None,
    };
    let config = Config::load(Some(&file), environment).expect("a good file");
    assert_eq!(config.database.url, "postgres://environment/x");
    assert_eq!(config.objects.url, "/srv/objects");
    assert!(Config::load(Some(&folder.path().join("none.toml")), nothing).is_err());
}

#[test]
fn secrets_are_not_shown() {
    let text = r#"
        [database]
        url = "postgres://tocsin:hush@db/tocsin"
        [objects]
        url = "s3://bucket"
        settings = { aws_secret_access_key = "hush", aws_region = "eu-west-1" }
        [[pager.destinations]]
        kind = "webhook"
        name = "duty"
        url = "https://pages.example.org/hush"
    "#;
    let dump = Config::parse(text).expect("good").dump().expect("written");
    assert!(!dump.contains("hush"), "{dump}");
    assert!(
        dump.contains("postgres://tocsin:***@db/tocsin") && dump.contains("eu-west-1"),
        "{dump}"
    );
    let odd = Config::parse("[database]\nurl = 'postgres://db/x?password=hush'")
        .expect("good")
        .dump();
    assert!(!odd.expect("written").contains("hush"));
}

#[test]
fn a_deployment_without_a_service_credential_is_told_how_to_make_one() {
    let error = Config::default().service_credential(nothing).unwrap_err().to_string();
    assert!(
        error.contains("service_credential_file") && error.contains("openssl rand"),
        "{error}"
    );
    let given = |name: &str| (name == "TOCSIN_SERVICE_CREDENTIAL").then(|| "x".repeat(40));
    assert!(Config::default().service_credential(given).is_ok());
}
