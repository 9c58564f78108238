//! Routes, methods, headers and the middleware, through actix and without an origin: what needs one is in `tests/api`.
//! Law: every answer is judged with the cache policy it leaves with.

mod admin;
mod front;

use std::time::SystemTime;

use actix_web::App;
use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use bytes::Bytes;

use super::*;
use crate::cache::{self, Entry, ledger::Ledger, memory::Memory, tiered::Tiered};
use crate::format::Negotiated;
use crate::imaging::{self, schedule};
use crate::maintenance;
use crate::optimizer::Parts;
use crate::record::{Lifetime, PlaceholderSet, SourceRecord, Validators};
use crate::source::{self, Fetcher, SourcePolicy};
use crate::variant::{ContentHash, Fit, FormatWish, Quality, Rgb, VariantKey, Wish};

const PHOTO: &str = "https://a.example/dir/photo.one.jpg?v=1";
const PHOTO_VALUE: &str = "https%3A%2F%2Fa.example%2Fdir%2Fphoto.one.jpg%3Fv%3D1";
const HOUR: Duration = Duration::from_secs(3600);

fn record(age: Duration) -> SourceRecord {
    let placeholder = PlaceholderSet {
        blurhash: "L6PZ".into(),
        thumbhash: vec![1, 2, 255],
        png: b"not looked at".to_vec(),
        width: 8,
        height: 4,
        dominant: Rgb([1, 2, 255]),
        has_alpha: false,
    };
    SourceRecord {
        content: ContentHash::of(b"photo"),
        validators: Validators::default(),
        format: ImageFormat::Jpeg,
        width: 800,
        height: 400,
        has_alpha: false,
        frames: 1,
        bytes: 12_345,
        decode_cost: 1,
        placeholder: Some(Arc::new(placeholder)),
        fair_quality: Quality::new(61),
        lifetime: Lifetime {
            checked_at: SystemTime::now() - age,
            ttl: HOUR,
            early: Duration::ZERO,
            stale_while_revalidate: 48 * HOUR,
            stale_if_error: 48 * HOUR,
            immutable: false,
        },
        storable: true,
        epoch: 0,
    }
}

/// State in whose memory `PHOTO` lies with its 640 pixel variants in WebP (negotiated or named) and JPEG.
fn state_with(settings: Settings, age: Duration) -> web::Data<State> {
    let sources = source::Settings { domains: vec!["a.example".into()], ..source::Settings::default() };
    let policy = Arc::new(SourcePolicy::new(&sources));
    let live = Arc::new(LivePolicy::new(Arc::clone(&policy)));
    let metrics = Arc::new(Metrics::new());
    let cache = cache::Settings::default();
    let memory = Memory::new(&cache);
    let record = record(age);
    for (format, bytes) in [(ImageFormat::Webp, &b"webp bytes"[..]), (ImageFormat::Jpeg, b"jpeg bytes!")] {
        let wish = Wish {
            width: Some(640),
            height: None,
            cap: 3840,
            max_pixels: 25_000_000,
            fit: Fit::Inside,
            quality: Quality::new(75),
            format: FormatWish::Negotiated(Negotiated { preferred: Some(format), webp: false }),
            background: None,
        };
        let key = VariantKey::new(&record.content, &wish.resolve(&record.shape()));
        memory.put_variant(key, Arc::new(Entry::new(Bytes::from_static(bytes), format, 640, 320, None)));
    }
    memory.put_record(policy.admit(PHOTO).unwrap().key(), Arc::new(record));
    let runtime = tokio::runtime::Handle::current();
    let ledger = Arc::new(Ledger::default());
    let maintenance = Maintenance::start(maintenance::Parts {
        policy: Arc::clone(&live),
        ledger: Arc::clone(&ledger),
        shared: None,
        hearing: Arc::default(),
        recorder: None,
        webhook: None,
        metrics: Arc::clone(&metrics),
        runtime: runtime.clone(),
    });
    let optimizer = Optimizer::new(Parts {
        fetcher: Fetcher::new(Arc::clone(&policy), &sources, Arc::clone(&metrics)).unwrap(),
        scheduler: schedule::Scheduler::new(&schedule::Settings::default(), Arc::clone(&metrics)).unwrap(),
        tiers: Tiered::new(memory, None, Arc::default(), runtime.clone()),
        ledger,
        settings: cache,
        imaging: imaging::Settings::default(),
        store: None,
        recorder: None,
        refine_max_bytes: Some(20_000_000),
        turns: source::Turns::default(),
        candidates: tokio::sync::mpsc::channel(1).0,
        metrics: Arc::clone(&metrics),
        runtime,
    });
    web::Data::new(State {
        clients: Clients::default(),
        optimizer: Arc::new(optimizer),
        maintenance,
        store: None,
        recorder: None,
        policy: live,
        tallies: Tallies::new(&metrics),
        metrics,
        live: LiveCell::new(settings),
        samples: vec![Sample { name: "One".into(), url: "https://a.example/1.jpg".into() }],
        public_address: SocketAddr::from(([0, 0, 0, 0], 9000)),
        draining: AtomicBool::new(false),
    })
}

fn state() -> web::Data<State> {
    state_with(Settings::default(), Duration::ZERO)
}

type Answer = ServiceResponse<BoxBody>;

async fn to_public(state: &web::Data<State>, request: TestRequest) -> Answer {
    let app = init_service(App::new().wrap(from_fn(observe)).configure(public(state))).await;
    call_service(&app, request.to_request()).await
}

async fn to_admin(state: &web::Data<State>, request: TestRequest) -> Answer {
    let app = init_service(App::new().wrap(from_fn(observe)).configure(admin(state))).await;
    call_service(&app, request.to_request()).await
}

async fn get(state: &web::Data<State>, target: &str) -> Answer {
    to_public(state, TestRequest::get().uri(target)).await
}

fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn text(answer: Answer) -> String {
    String::from_utf8(read_body(answer).await.to_vec()).unwrap()
}

async fn json(answer: Answer) -> serde_json::Value {
    serde_json::from_str(&text(answer).await).unwrap()
}

fn image(rest: &str) -> String {
    format!("/image?url={PHOTO_VALUE}&{rest}")
}

fn next(rest: &str) -> String {
    format!("/_next/image?url={PHOTO_VALUE}&{rest}")
}

#[tokio::test]
async fn a_hit_carries_every_header_of_the_contract() {
    let answer = get(&state(), &image("w=640&f=webp")).await;
    assert_eq!(answer.status(), 200);
    for (name, value) in [
        ("content-type", "image/webp"),
        ("cache-status", "pixgate; hit; detail=memory"),
        ("server-timing", "cache;desc=memory"),
        ("content-disposition", "inline; filename=\"photo.webp\""),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("x-content-type-options", "nosniff"),
        ("access-control-allow-origin", "*"),
        ("access-control-expose-headers", "Cache-Status, Server-Timing, Content-Length, ETag, X-Nextjs-Cache"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("timing-allow-origin", "*"),
        ("vary", ""),
        ("x-nextjs-cache", ""),
    ] {
        assert_eq!(field(&answer, name), value, "{name}");
    }
    let control = field(&answer, "cache-control");
    // The hour, less what this test has taken so far.
    assert!(
        control.starts_with("public, max-age=3") && control.ends_with(", stale-while-revalidate=86400"),
        "{control}"
    );
    assert_eq!(read_body(answer).await, "webp bytes");
}

#[tokio::test]
async fn only_negotiated_answers_vary() {
    let state = state();
    let accept = |target: &str| TestRequest::get().uri(target).insert_header(("accept", "image/webp,*/*"));
    for target in [image("w=640"), image("w=640&f=auto"), next("w=640&q=75")] {
        let answer = to_public(&state, accept(&target)).await;
        assert_eq!((field(&answer, "content-type"), field(&answer, "vary")), ("image/webp", "Accept"), "{target}");
    }
    let plain = get(&state, &image("w=640")).await;
    assert_eq!((field(&plain, "content-type"), field(&plain, "vary")), ("image/jpeg", "Accept"));
    let two_lines = TestRequest::get().uri("/image").insert_header(("accept", "text/html"));
    let two_lines = two_lines.append_header(("accept", "image/webp")).uri(&image("w=640"));
    assert_eq!(field(&to_public(&state, two_lines).await, "content-type"), "image/webp");
}

#[tokio::test]
async fn the_next_path_speaks_next() {
    let answer = get(&state(), &next("w=640&q=75&dpl=x")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(field(&answer, "cache-control"), "public, max-age=3600, must-revalidate");
    assert_eq!(field(&answer, "x-nextjs-cache"), "HIT");
    assert_eq!(field(&answer, "content-disposition"), "inline; filename=\"photo.jpeg\"");
    let stale = state_with(Settings::default(), 2 * HOUR);
    let answer = get(&stale, &next("w=640&q=75")).await;
    assert_eq!(field(&answer, "x-nextjs-cache"), "STALE");
    assert_eq!(field(&answer, "cache-status"), "pixgate; hit; detail=stale");
    let answer = get(&stale, &image("w=640&f=webp")).await;
    assert_eq!(field(&answer, "cache-control"), "public, max-age=0, stale-while-revalidate=86400");
}

#[tokio::test]
async fn known_tags_get_304_and_reloads_do_not() {
    let state = state();
    let target = image("w=640");
    let tag = field(&get(&state, &target).await, "etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() == 45, "{tag}");
    let known = || TestRequest::get().uri(&target).insert_header(("if-none-match", format!("\"x\", W/{tag}")));
    let answer = to_public(&state, known()).await;
    assert_eq!(answer.status(), 304);
    assert_eq!((field(&answer, "etag"), field(&answer, "vary")), (tag.as_str(), "Accept"));
    assert!(field(&answer, "cache-control").starts_with("public, max-age="));
    assert_eq!(field(&answer, "cache-status"), "pixgate; hit; detail=memory");
    assert_eq!(field(&answer, "content-type"), "");
    assert_eq!(read_body(answer).await, "");
    let reload = known().insert_header(("cache-control", "no-cache"));
    assert_eq!(to_public(&state, reload).await.status(), 200);
}

#[tokio::test]
async fn mistakes_are_problems_here_and_texts_there() {
    let state = state();
    let rows = [
        ("/image", 400, "url_missing"),
        ("/image?url=https%3A%2F%2Fother.example%2F", 403, "source_not_allowed"),
        ("/image?url=x", 400, "url_invalid"),
        (&image("w=100"), 400, "width_not_allowed"),
        (&image("s=00"), 403, "signature_invalid"),
        (&format!("/image?{}", "a".repeat(query::MAX_QUERY_BYTES + 1)), 414, "query_too_long"),
        ("/placeholder?format=png", 400, "url_missing"),
        ("/placeholder?url=https%3A%2F%2Fother.example%2F", 403, "source_not_allowed"),
        ("/nothing", 404, "not_found"),
        ("/image/", 404, "not_found"),
        ("/_next/image/x", 404, "not_found"),
        ("/metrics", 404, "not_found"),
    ];
    for (target, status, code) in rows {
        let answer = get(&state, target).await;
        assert_eq!((answer.status().as_u16(), field(&answer, "cache-control")), (status, "no-store"), "{target}");
        assert_eq!(field(&answer, "content-type"), "application/problem+json");
        assert_eq!(json(answer).await["code"], code, "{target}");
    }
    let rows = [
        ("/_next/image", r#""url" parameter is required"#),
        ("/_next/image?url=https%3A%2F%2Fother.example%2F&w=1", r#""url" parameter is not allowed"#),
        (&next("w=100&q=75"), r#""w" parameter (width) of 100 is not allowed"#),
    ];
    for (target, expected) in rows {
        let answer = get(&state, target).await;
        assert_eq!((answer.status().as_u16(), field(&answer, "cache-control")), (400, "no-store"), "{target}");
        assert_eq!(field(&answer, "content-type"), "text/plain; charset=utf-8");
        assert_eq!(text(answer).await, expected);
    }
}

#[tokio::test]
async fn methods_have_their_answers() {
    let state = state();
    for (target, allow) in
        [("/image", READS_AND_PREFLIGHT), ("/_next/image", READS_AND_PREFLIGHT), ("/placeholder", READS_AND_PREFLIGHT)]
    {
        let answer = to_public(&state, TestRequest::post().uri(target)).await;
        assert_eq!((answer.status().as_u16(), field(&answer, "allow")), (405, allow), "{target}");
        assert_eq!(field(&answer, "cache-control"), "no-store");
    }
    let options = |target: &str| TestRequest::default().method(Method::OPTIONS).uri(target);
    for target in ["/image", "/_next/image", "/placeholder?url=x"] {
        let answer = to_public(&state, options(target)).await;
        assert_eq!((answer.status().as_u16(), field(&answer, "access-control-allow-methods")), (204, READS));
        assert_eq!(field(&answer, "access-control-allow-origin"), "*");
    }
    let target = image("w=640&f=webp");
    let head = to_public(&state, TestRequest::default().method(Method::HEAD).uri(&target)).await;
    assert_eq!((head.status().as_u16(), field(&head, "content-type")), (200, "image/webp"));
}

#[tokio::test]
async fn the_slash_is_redirected_away_with_the_query() {
    let answer = get(&state(), "/_next/image/?url=%2Fa&w=1").await;
    assert_eq!((answer.status().as_u16(), field(&answer, "location")), (308, "/_next/image?url=%2Fa&w=1"));
    let moved = state_with(Settings { next_path: "/media/opt".into(), ..Settings::default() }, Duration::ZERO);
    assert_eq!(get(&moved, &next("w=640&q=75")).await.status(), 404);
    assert_eq!(get(&moved, &next("w=640&q=75").replace("/_next/image", "/media/opt")).await.status(), 200);
    assert_eq!(field(&get(&moved, "/media/opt/").await, "location"), "/media/opt");
}

#[tokio::test]
async fn placeholders_come_in_six_forms() {
    let state = state();
    let target = |form: &str| format!("/placeholder?url={PHOTO_VALUE}{form}");
    let answer = get(&state, &target("")).await;
    assert_eq!(field(&answer, "content-type"), "application/json");
    assert!(field(&answer, "cache-control").starts_with("public, max-age=3"), "{}", field(&answer, "cache-control"));
    let tag = field(&answer, "etag").to_owned();
    let body = text(answer).await;
    let keys = ["src", "width", "height", "blurDataURL", "blurWidth", "blurHeight", "blurhash", "thumbhash"];
    let keys: Vec<_> = keys.into_iter().chain(["dominantColor", "hasAlpha", "format", "bytes"]).collect();
    let places: Vec<_> = keys.iter().map(|key| body.find(&format!("\"{key}\":")).unwrap_or(usize::MAX)).collect();
    assert!(places.is_sorted() && places.last() < Some(&body.len()), "{body}");
    let read: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&read["src"], &read["width"], &read["blurHeight"]), (&PHOTO.into(), &800.into(), &4.into()));
    assert_eq!((&read["dominantColor"], &read["thumbhash"]), (&"#0102ff".into(), &"AQL/".into()));
    assert!(read["blurDataURL"].as_str().unwrap().starts_with("data:image/png;base64,"));
    assert_eq!((&read["format"], &read["bytes"]), (&"jpeg".into(), &12_345.into()));

    let known = TestRequest::get().uri(&target("")).insert_header(("if-none-match", tag));
    assert_eq!(to_public(&state, known).await.status(), 304);
    for (form, content_type, body) in [
        ("blurhash", "text/plain; charset=utf-8", "L6PZ"),
        ("thumbhash", "text/plain; charset=utf-8", "AQL/"),
        ("png", "image/png", "not looked at"),
        ("svg", "image/svg+xml", "<svg"),
        ("css", "text/css; charset=utf-8", ""),
    ] {
        let answer = get(&state, &target(&format!("&format={form}"))).await;
        assert_eq!((answer.status().as_u16(), field(&answer, "content-type")), (200, content_type), "{form}");
        assert_eq!(field(&answer, "content-security-policy"), "default-src 'none'; sandbox");
        assert!(text(answer).await.starts_with(body), "{form}");
    }
}
