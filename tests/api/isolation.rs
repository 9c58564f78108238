//! AVIF is decoded in a process of its own (threat-model.md, decoding): what goes wrong in there is an error of one picture.
//! Law: the decoder's process is found and hurt from outside, as a defect would hurt it from inside.

use std::time::{Duration, Instant};

use crate::harness::app::{App, Setup};
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::{self, jpeg};

/// A picture whose decoding takes long enough to be found at it.
async fn large_avif(app: &App, origin: &Origin) -> Vec<u8> {
    let file = pictures::encoded(&pictures::quadrants(3200, 2400), image::ImageFormat::Jpeg);
    origin.set("/large.jpg", Reply::new(file, "image/jpeg"));
    let answer = app.image(&origin.url("/large.jpg"), "f=avif").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.body
}

/// Process ids of the service's decoders.
fn decoders(app: &App) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    processes
        .filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok())
        .filter(|id| {
            let parent = std::fs::read_to_string(format!("/proc/{id}/stat")).ok();
            // "pid (name) state ppid …"
            let parent = parent.and_then(|stat| stat.rsplit(") ").next()?.split(' ').nth(1)?.parse::<u32>().ok());
            parent == Some(app.id())
        })
        .collect()
}

fn hurt(id: i32, signal: rustix::process::Signal) {
    let id = rustix::process::Pid::from_raw(id).expect("an id");
    // It may have ended by itself meanwhile; the caller sees that in the answer.
    let _gone_already = rustix::process::kill_process(id, signal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_avif_decoder_is_an_error_of_one_picture() {
    let origin = Origin::start().await;
    let app = Setup::new().set("cache.negative_ttl", "\"0s\"").start().await;
    let avif = large_avif(&app, &origin).await;
    origin.set("/small.jpg", Reply::new(jpeg(200, 100), "image/jpeg"));
    origin.set("/large.avif", Reply::new(avif, "image/avif"));
    let url = origin.url("/large.avif");

    let aborted = async {
        let request = app.image(&url, "w=640&f=webp");
        let crash = async {
            let started = Instant::now();
            loop {
                if let [id] = decoders(&app)[..] {
                    return hurt(id, rustix::process::Signal::ABORT);
                }
                assert!(started.elapsed() < Duration::from_secs(20), "no decoder was started");
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(request, crash).0
    };
    aborted.await.problem(422, "undecodable");
    assert!(app.lives().await);
    assert_eq!(app.image(&origin.url("/small.jpg"), "w=64&f=webp").await.look().width, 64);
    assert_eq!(app.image(&url, "w=640&f=webp").await.look().size(), (640, 480), "undisturbed, it decodes");
    assert_eq!(decoders(&app), [0; 0], "no decoder is left behind");
}

#[tokio::test]
async fn the_deadline_ends_the_decoder_and_is_not_held_against_the_source() {
    let origin = Origin::start().await;
    let maker = Setup::new().start().await;
    origin.set("/large.avif", Reply::new(large_avif(&maker, &origin).await, "image/avif"));
    let app = Setup::new().text("limits.render_timeout", "40ms").start().await;
    let url = origin.url("/large.avif");
    for attempt in 1..=2_u32 {
        let answer = app.image(&url, "w=640&f=webp").await;
        assert!(matches!(answer.status, 503 | 504), "{}", answer.status);
        assert_eq!(app.metric("pixgate_renders_total").await, f64::from(attempt), "it is tried again");
    }
    let started = Instant::now();
    while !decoders(&app).is_empty() {
        assert!(started.elapsed() < Duration::from_secs(5), "the decoder outlived its deadline");
        tokio::task::yield_now().await;
    }
    assert!(app.lives().await);
    assert_eq!(origin.hits("/large.avif"), 1);
}
