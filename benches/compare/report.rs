//! The tables: printed as they come, and written as Markdown beside the build output at the end.
//!
//! A figure that could not be had is a dash, never a zero.

use std::path::PathBuf;

pub(crate) struct Report {
    text: String,
}

/// Where a build puts things: the directory above `release/deps/`, in which this program lies.
pub(crate) fn target_dir() -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    own.ancestors().nth(3).expect("deps, profile and target directory").to_owned()
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { text: String::new() }
    }

    pub(crate) fn line(&mut self, line: &str) {
        println!("{line}");
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(crate) fn heading(&mut self, words: &str) {
        self.line("");
        self.line(&format!("## {words}"));
        self.line("");
    }

    pub(crate) fn table(&mut self, columns: &[&str]) {
        self.line(&format!("| {} |", columns.join(" | ")));
        self.line(&format!("|{}", "---|".repeat(columns.len())));
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        self.line(&format!("| {} |", cells.join(" | ")));
    }

    /// A peer without figures, and why.
    pub(crate) fn without(&mut self, name: &str, why: &str, columns: usize) {
        let mut cells = vec![name.to_owned(), why.to_owned()];
        cells.resize(columns, String::new());
        self.row(&cells);
    }

    pub(crate) fn write(&self) {
        let path = target_dir().join("bench").join("compare.md");
        let written =
            std::fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| std::fs::write(&path, &self.text));
        match written {
            Ok(()) => println!("\nwritten to {}", path.display()),
            Err(error) => println!("\nnot written to {}: {error}", path.display()),
        }
    }
}

/// Three figures or so, whatever the size.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".to_owned(),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
