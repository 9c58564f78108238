//! The wide sweep, only with `PIXGATE_CORPUS` set to a folder of sample pictures: everything in it renders, or is
//! refused for a reason that stands in the table here; every hostile file gets 200 or 4xx; one process for all, whose
//! memory comes back. Law: the table is exact both ways, a refused file that renders one day fails the test too.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::app::{App, Setup, image};
use crate::harness::client::enc;
use crate::harness::origin::{Origin, Reply};

/// Files that must be refused, by the end of their path inside the corpus, and why.
const REFUSED: &[(&str, &str)] = &[
    (".bad_bmp", "malformed on purpose: size, height, planes or palette contradict the file"),
    (".bad_ico", "malformed on purpose: the directory's length is wrong"),
];

/// Beyond this a file counts as hung: the render deadline plus the fetch.
const DEADLINE: Duration = Duration::from_secs(25);

fn corpus() -> PathBuf {
    std::env::var_os("PIXGATE_CORPUS").map(PathBuf::from).expect("PIXGATE_CORPUS names a folder of sample pictures")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Licences, read-me files and raw dumps are no pictures.
fn is_picture(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with("LICENSE") && !name.starts_with("README") && !name.ends_with(".bin")
}

fn must_refuse(corpus: &Path, path: &Path) -> Option<&'static str> {
    let inside = path.strip_prefix(corpus).expect("inside the corpus").to_string_lossy().into_owned();
    if inside.starts_with("pngsuite/x") {
        return Some("PngSuite: names with x are corrupt by design");
    }
    // More colours than indices can name do no harm: browsers show it.
    if inside.ends_with("Bad_pal8oversizepal.bad_bmp") {
        return None;
    }
    REFUSED.iter().find(|(end, _)| inside.ends_with(end)).map(|(_, why)| *why)
}

/// Serves one file from disk and asks for it; the status and the time it took.
async fn ask(origin: &Origin, app: &App, path: &Path) -> (u16, Duration) {
    origin.set("/sample", Reply::new(std::fs::read(path).expect("a sample"), "application/octet-stream"));
    let url = origin.url(&format!("/sample?{}", enc(&path.to_string_lossy())));
    let started = Instant::now();
    let answer = app.get(&image(&url, "w=256&f=webp")).await;
    let took = started.elapsed();
    if answer.status == 200 {
        let seen = answer.look();
        assert!(seen.mime == "image/webp" && seen.width <= 256, "{}: {seen:?}", path.display());
    }
    (answer.status, took)
}

/// Small caches, so that what remains at the end is not what was meant to be kept.
async fn started() -> (Origin, App) {
    let app = Setup::new().text("cache.source_bytes", "8MB").text("cache.memory_bytes", "16MB");
    (Origin::start().await, app.start().await)
}

/// Memory must come back to near what it was; allocators need a moment.
async fn comes_back(app: &App, idle: u64) {
    let limit = idle + 120_000_000;
    let asked = Instant::now();
    while app.resident_bytes() > limit && asked.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let now = app.resident_bytes();
    assert!(now <= limit, "{idle} idle, {now} at the end");
    eprintln!("resident: {} MB idle, {} MB at the end", idle / 1_000_000, now / 1_000_000);
}

#[tokio::test]
#[ignore = "the wide sweep needs PIXGATE_CORPUS"]
async fn every_sample_renders_or_is_refused_for_a_written_reason() {
    let corpus = corpus();
    let (origin, app) = started().await;
    let idle = app.resident_bytes();
    let (mut wrong, mut total) = (Vec::new(), 0);
    for folder in ["photos", "orientation", "pngsuite", "image-rs", "avif"] {
        for path in files(&corpus.join(folder)).into_iter().filter(|path| is_picture(path)) {
            let (status, took) = ask(&origin, &app, &path).await;
            total += 1;
            let fine = match must_refuse(&corpus, &path) {
                None => status == 200,
                Some(_) => (400..500).contains(&status),
            };
            if !fine || took > DEADLINE {
                wrong.push(format!("{} {status} {took:?} {:?}", path.display(), must_refuse(&corpus, &path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {total}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(app.lives().await);
    comes_back(&app, idle).await;
}

#[tokio::test]
#[ignore = "the wide sweep needs PIXGATE_CORPUS"]
async fn every_hostile_sample_is_answered() {
    let corpus = corpus();
    let (origin, app) = started().await;
    let idle = app.resident_bytes();
    let (mut wrong, mut counts) = (Vec::new(), [0_u32; 2]);
    for path in files(&corpus.join("hostile")) {
        let (status, took) = ask(&origin, &app, &path).await;
        counts[usize::from(status != 200)] += 1;
        if !matches!(status, 200 | 400..500) || took > DEADLINE {
            wrong.push(format!("{} {status} {took:?}", path.display()));
        }
    }
    eprintln!("hostile: {} rendered, {} refused", counts[0], counts[1]);
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(app.lives().await);
    comes_back(&app, idle).await;
}
