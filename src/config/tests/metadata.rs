//! `[metadata]`: its usual variable, its password, and how it is switched off.
//! Law: what stands before the `@` is nowhere to be read.

use super::*;

#[test]
fn the_usual_variable_is_honoured_below_our_own() {
    let empty = Flags { config: Some(fixture("config/empty.toml")), ..Flags::default() };
    let usual = ("DATABASE_URL", "postgres://u:hunter2@db/pixgate");
    let loaded = load(&empty, &Environment::from([usual])).expect("a good configuration");
    let shown = |loaded: &Loaded| loaded.config.metadata.address.as_ref().map(ToString::to_string);
    assert_eq!(shown(&loaded).as_deref(), Some("postgres://***@db/pixgate"));
    assert_eq!(origin(&loaded, "metadata.url").to_string(), "environment DATABASE_URL");
    assert!(!loaded.describe().contains("hunter2"), "{}", loaded.describe());
    assert!(!format!("{:?}", loaded.config).contains("hunter2"), "{:?}", loaded.config);

    let off = Environment::from([usual, ("PIXGATE_METADATA_URL", "")]);
    let loaded = load(&empty, &off).expect("a good configuration");
    assert_eq!(shown(&loaded), None, "our own name wins, and the empty text switches off");
}

#[test]
fn a_database_of_another_kind_is_refused_without_its_password() {
    let empty = Flags { config: Some(fixture("config/empty.toml")), ..Flags::default() };
    let environment = Environment::from([("DATABASE_URL", "mysql://u:hunter2@db/p")]);
    let problems = load(&empty, &environment).expect_err("no such kind").0;
    assert!(problems.len() == 1 && problems[0].message.contains("sqlite:FILE"), "{problems:?}");
    assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
}
