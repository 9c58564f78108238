//! `[redis]`: its usual variables, its password, its certificates.
//! Law: what stands before the `@` is nowhere to be read.

use std::time::Duration;

use super::*;

#[test]
fn the_usual_variables_are_honoured_below_our_own() {
    let variables = [("REDIS_URL", "redis://u:hunter2@a:1/2"), ("CACHE_TTL", "12h")];
    let empty = Flags { config: Some(fixture("config/empty.toml")), ..Flags::default() };
    let loaded = load(&empty, &Environment::from(variables)).expect("a good configuration");
    let redis = &loaded.config.redis;
    assert_eq!(redis.address.as_ref().map(ToString::to_string).as_deref(), Some("redis://***@a:1/2"));
    assert_eq!(redis.ttl, Duration::from_secs(12 * 3600));
    assert_eq!(origin(&loaded, "redis.url").to_string(), "environment REDIS_URL");
    assert!(!loaded.describe().contains("hunter2"), "{}", loaded.describe());
    assert!(!format!("{:?}", loaded.config).contains("hunter2"), "{:?}", loaded.config);

    let mut environment = Environment::from(variables);
    environment.0.insert("PIXGATE_REDIS_URL".into(), String::new());
    environment.0.insert("PIXGATE_REDIS_TTL".into(), "1h".into());
    let redis = load(&empty, &environment).expect("a good configuration").config.redis;
    assert!(redis.address.is_none(), "our own name wins, and the empty text switches off");
    assert_eq!(redis.ttl, Duration::from_secs(3600));
}

#[test]
fn certificates_are_read_from_their_file() {
    let folder = Folder::new("certificates");
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let assignment = |path: PathBuf| format!("redis.ca_file={}", path.display());
    let loaded = load_flags(set(&[&assignment(folder.write("ca.pem", pem))])).expect("a good configuration");
    assert_eq!(loaded.config.redis.ca_pem.as_deref(), Some(pem.as_bytes()));
    let problems = problems(set(&[&assignment(folder.write("key.pem", "-----BEGIN PRIVATE KEY-----"))]));
    assert!(problems.len() == 1 && problems[0].message.contains("no certificate"), "{problems:?}");
}
