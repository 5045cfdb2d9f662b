use clap::CommandFactory;

use super::*;

fn help(command: &mut clap::Command, name: &str, out: &mut String) {
    out.push_str(&format!("===== {name}\n{}\n", command.render_help()));
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for sub in names.iter().filter(|sub| *sub != "help") {
        let inner = command.find_subcommand_mut(sub).expect("it is listed");
        help(inner, &format!("{name} {sub}"), out);
    }
}

#[test]
fn the_command_line_is_sound_and_its_help_is_this() {
    let mut command = Cli::command();
    command.build();
    command.clone().debug_assert();
    let mut out = String::new();
    help(&mut command, "tocsin", &mut out);
    insta::assert_snapshot!(out);
}

#[test]
fn the_long_help_of_commands_that_take_files_says_what_is_in_them() {
    let mut command = Cli::command();
    command.build();
    for (name, word) in [
        ("import", "captured_at"),
        ("evaluate", "test_healthy"),
        ("simulate", "labels say what is healthy"),
        ("replay", "--token-file"),
    ] {
        let inner = command.find_subcommand_mut(name).expect("it is listed");
        let long = inner.render_long_help().to_string();
        let words = long.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(word), "{name}: {long}");
    }
}

#[test]
fn the_forms_that_scripts_rely_on_are_read() {
    for line in [
        "tocsin up --data-dir d --console 127.0.0.1:8080",
        "tocsin serve --role ingest,scorer --config tocsin.toml",
        "tocsin migrate",
        "tocsin import --csv readings.csv --target http://127.0.0.1:7700 --token-file t",
        "tocsin tokens create --site s --may-replay --auto-register-class c --auto-register-spec sp --expires-in 30d",
        "tocsin tokens list --site s --format json",
        "tocsin tokens revoke 3",
        "tocsin accounts list --format json",
        "tocsin accounts sign-in ana --password-file p --session-file s",
        "tocsin sites second-approval lisbon on --reason four-eyes",
        "tocsin sites create lisbon --second-approval",
        "tocsin audit list --before 7 --limit 20 --format json",
        "tocsin models list --format json",
        "tocsin models rollback cnc --reason worse",
        "tocsin classes commissioning pump --readings 20 --span 10m --run-in 0",
        "tocsin sensors commission lisbon/pump-1/drive-end --reason repaired",
        "tocsin thresholds propose --class c --method fleet-replay --from a --to b --page-factor 3",
        "tocsin thresholds propose --class c --method fleet-replay --from a --to b --budget-pages-per-site-day 0.5",
        "tocsin thresholds diff 3 4 --format json",
        "tocsin thresholds explain lisbon/pump-1/drive-end --format json",
        "tocsin thresholds whatif 3 --from a --to b --format json",
        "tocsin thresholds whatif --bundle challenger --class c --baselines active --from a --to b",
        "tocsin thresholds whatif 3 --baselines commissioned --from a --to b",
        "tocsin thresholds whatif --page-factor 3 --alert-factor 2 --class c --from a --to b --persons 4",
        "tocsin thresholds activate 3",
        "tocsin thresholds rollback cnc",
        "tocsin incidents ack 17 --note seen",
        "tocsin incidents label 17 true-failure --mode outer_race --note opened",
        "tocsin machines label lisbon/pump-1 missed-failure --from a --to b",
        "tocsin machines labels lisbon/pump-1 --format json",
        "tocsin sensors rollback-baseline lisbon/pump-1/drive-end --reason repainted --to 2",
        "tocsin sensors release-baseline lisbon/pump-1/drive-end --reason steady",
        "tocsin pages list --state dead --destination duty --site lisbon --limit 5 --before 17",
        "tocsin pages resend 17 --format json",
        "tocsin incidents list --format json --target http://127.0.0.1:1 --token-file t",
    ] {
        if let Err(error) = Cli::try_parse_from(line.split(' ')) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn wrong_usage_has_a_code_of_its_own() {
    let error = Cli::try_parse_from(["tocsin", "tokens", "create"]).expect_err("no site");
    assert_eq!(error.exit_code(), 2);
}
