//! The house keeps its shape: imports point down the rows, crates stay in their rooms, files say what they are for.
//!
//! Reads the sources as text, so that a rule is checked where it could be broken: in the file itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by row (tens; units order the rooms of a row that may look down on each other). Imports point to lower numbers.
const ROWS: [(&str, u8); 16] = [
    ("format", 10),
    ("variant", 11),
    ("record", 12),
    ("allocator", 20),
    ("telemetry", 20),
    ("source", 30),
    ("imaging", 30),
    ("cache", 30),
    ("store", 30),
    ("optimizer", 40),
    ("maintenance", 41),
    ("http", 50),
    ("config", 60),
    ("app", 70),
    ("cli", 80),
    ("main", 80),
];

/// Crates and the only rooms that may name them.
const CRATES: [(&str, &[&str]); 8] = [
    ("actix_web::", &["http", "app"]),
    ("reqwest::", &["source"]),
    ("sqlx::", &["store"]),
    ("redis::", &["cache"]),
    ("resvg::", &["imaging"]),
    ("libaom_sys::", &["imaging"]),
    ("anyhow::", &["main", "cli", "app"]),
    ("std::env::var", &["config"]),
];

/// The pure rooms, and what would make them impure.
const PURE: [&str; 3] = ["format", "variant", "record"];
const IMPURE: [&str; 6] = ["std::fs", "std::net", "tokio::", "async fn", "SystemTime::now", "Instant::now"];

fn sources() -> BTreeMap<PathBuf, String> {
    fn walk(dir: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(dir).expect("readable directory") {
            let path = entry.expect("readable entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8 source");
                found.insert(path, text);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

/// The room of a file: the first part of its path under `src/`, without extension.
fn room(path: &Path) -> String {
    let relative = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("under src");
    let first = relative.components().next().expect("a name").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn row(room: &str) -> u8 {
    ROWS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("room {room} has no row")).1
}

/// Lines of code: without comment lines, and without the tests at the end of a file.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..tests].lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether a line names a path that begins with `name`: `redis::Client`, but not `cache::redis::Tier`.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].strip_suffix("::").unwrap_or(&line[..at]);
        !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

/// Every room named after `crate::` in a line, with grouped imports (`use crate::{a, b::c};`) taken apart.
fn imported(line: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => rooms.push(name(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && depth == 0 && !c.is_whitespace() => {
                            rooms.push(name(&group[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

#[test]
fn imports_point_down() {
    let mut climbs = Vec::new();
    for (path, text) in sources() {
        let own = room(&path);
        if own == "lib" {
            continue;
        }
        for (at, line) in code(&text) {
            for other in imported(line).into_iter().filter(|other| *other != own) {
                if row(&other) >= row(&own) {
                    climbs.push(format!("{}:{}: {own} imports {other}", path.display(), at + 1));
                }
            }
        }
    }
    assert!(climbs.is_empty(), "{}", climbs.join("\n"));
}

#[test]
fn crates_stay_in_their_rooms() {
    let mut strays = Vec::new();
    for (path, text) in sources() {
        let own = room(&path);
        for (at, line) in code(&text) {
            for (name, rooms) in CRATES {
                if names(line, name) && !rooms.contains(&own.as_str()) {
                    strays.push(format!("{}:{}: {name} in {own}", path.display(), at + 1));
                }
            }
            if PURE.contains(&own.as_str()) {
                let impure = IMPURE.iter().filter(|what| line.contains(**what));
                strays.extend(impure.map(|what| format!("{}:{}: {what} in pure {own}", path.display(), at + 1)));
            }
        }
    }
    assert!(strays.is_empty(), "{}", strays.join("\n"));
}

#[test]
fn files_open_with_what_they_are_for() {
    let mut silent = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().take_while(|line| line.starts_with("//!")).count();
        // A file of tests may say in one line what it tests.
        let enough = match path.file_name().and_then(|name| name.to_str()) {
            Some("lib.rs") => 2..=60,
            Some("tests.rs") => 1..=8,
            _ => 2..=8,
        };
        if !enough.contains(&lines) {
            silent.push(format!("{}: {lines} lines of //!", path.display()));
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn no_file_grows_past_350_lines() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| text.lines().count() > 350)
        .map(|(path, text)| format!("{}: {}", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_groups() {
    assert_eq!(imported("use crate::{cache::{self, Entry}, source, format::sniff};"), ["cache", "source", "format"]);
    assert_eq!(imported("    crate::http::query(crate::app::X)"), ["http", "app"]);
    assert!(imported("use super::Thing;").is_empty());
    assert!(names("use redis::Client;", "redis::") && names("let x = ::redis::cmd();", "redis::"));
    assert!(!names("use crate::cache::redis::Tier;", "redis::") && !names("credis::x", "redis::"));
}
