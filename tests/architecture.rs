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
    ("reqwest::", &["source", "cli"]),
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
    rust_files("src")
}

fn rust_files(folder: &str) -> BTreeMap<PathBuf, String> {
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
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
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

/// Statements of code with the lines they begin in: without comments, without the bodies of test modules, and with what a
/// `use` brings in over several lines in one.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        if line == "#[cfg(test)]"
            && lines.peek().is_some_and(|(_, next)| next.starts_with("mod ") && next.ends_with('{'))
        {
            // Formatted code closes a module in the first column.
            let _body = lines.by_ref().find(|(_, line)| *line == "}");
            continue;
        }
        if line.trim_start().starts_with("//") {
            continue;
        }
        let mut statement = line.to_owned();
        let is_use = |line: &str| {
            ["use ", "pub use ", "pub(super) use ", "pub(crate) use "].iter().any(|word| line.starts_with(word))
        };
        if is_use(line.trim_start()) {
            while !statement.contains(';')
                && let Some((_, more)) = lines.next()
            {
                statement.push_str(more.trim());
            }
        }
        found.push((at, statement));
    }
    found
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

/// What a file imports from above.
fn climbs(path: &Path, text: &str) -> Vec<String> {
    let own = room(path);
    if own == "lib" {
        return Vec::new();
    }
    let mut climbs = Vec::new();
    for (at, statement) in code(text) {
        for other in imported(&statement).into_iter().filter(|other| *other != own) {
            if row(&other) >= row(&own) {
                climbs.push(format!("{}:{}: {own} imports {other}", path.display(), at + 1));
            }
        }
    }
    climbs
}

/// Crates that a file names outside their rooms, and what makes a pure room impure.
fn strays(path: &Path, text: &str) -> Vec<String> {
    let own = room(path);
    let mut strays = Vec::new();
    for (at, statement) in code(text) {
        for (name, rooms) in CRATES {
            if names(&statement, name) && !rooms.contains(&own.as_str()) {
                strays.push(format!("{}:{}: {name} in {own}", path.display(), at + 1));
            }
        }
        if PURE.contains(&own.as_str()) {
            let impure = IMPURE.iter().filter(|what| statement.contains(**what));
            strays.extend(impure.map(|what| format!("{}:{}: {what} in pure {own}", path.display(), at + 1)));
        }
    }
    strays
}

#[test]
fn imports_point_down() {
    let found: Vec<_> = sources().iter().flat_map(|(path, text)| climbs(path, text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn crates_stay_in_their_rooms() {
    let found: Vec<_> = sources().iter().flat_map(|(path, text)| strays(path, text)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Every place of a file where a statement may stand.
fn places(text: &str) -> Vec<usize> {
    let mut places = Vec::new();
    let mut at = 0;
    let mut in_tests = false;
    let mut before = "";
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        if before == "#[cfg(test)]" && bare.starts_with("mod ") && bare.ends_with('{') {
            in_tests = true;
        }
        // At the top level, between items; nothing stands between an attribute and what it is of.
        if !in_tests && before.is_empty() && !bare.starts_with([' ', '}', ')']) && !line.starts_with("//!") {
            places.push(at);
        }
        if in_tests && bare == "}" {
            in_tests = false;
        }
        before = bare;
        at += line.len();
    }
    places.push(at);
    places
}

#[test]
fn no_place_of_a_file_is_out_of_sight() {
    for (path, text) in sources() {
        if ["lib", "main", "cli"].contains(&room(&path).as_str()) {
            // Nothing is above them.
            continue;
        }
        for at in places(&text) {
            for wrong in ["use crate::cli::Thing;\n", "use crate::{\n    format::Thing,\n    cli::Thing,\n};\n"] {
                let broken = format!("{}{wrong}{}", &text[..at], &text[at..]);
                assert!(!climbs(&path, &broken).is_empty(), "{}: {wrong:?} at byte {at} is not seen", path.display());
            }
            let stray = format!("{}use sqlx::{{\n    PgPool,\n}};\n{}", &text[..at], &text[at..]);
            assert!(room(&path) == "store" || !strays(&path, &stray).is_empty(), "{}: at {at}", path.display());
        }
    }
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

#[test]
fn pages_that_are_cited_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cited = 0;
    let mut dangling = Vec::new();
    for (path, text) in rust_files("src").into_iter().chain(rust_files("tests")) {
        for (end, _) in text.match_indices(".md") {
            let start = text[..end].rfind(|c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c)));
            let page = &text[start.map_or(0, |at| at + 1)..end + ".md".len()];
            let there = [root.join(page), root.join("docs/development").join(page), root.join("fixtures").join(page)];
            cited += 1;
            if page != ".md" && !there.iter().any(|path| path.exists()) {
                dangling.push(format!("{}: {page}", path.display()));
            }
        }
    }
    assert!(cited > 5 && dangling.is_empty(), "{}", dangling.join("\n"));
}
