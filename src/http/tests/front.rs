//! What stands before the routes answers as they do.
//! Law: whole heads are compared, field by field.

use actix_web::dev::{AppConfig, Service as _, ServiceFactory as _};

use super::super::image::known;
use super::*;

/// Status and all fields.
fn head(status: StatusCode, headers: &header::HeaderMap) -> (u16, Vec<(String, String)>) {
    let field =
        |(name, value): (&header::HeaderName, &HeaderValue)| (name.to_string(), value.to_str().unwrap().to_owned());
    let mut fields: Vec<_> = headers.iter().map(field).collect();
    fields.sort();
    (status.as_u16(), fields)
}

#[tokio::test]
async fn what_was_asked_before_is_answered_before_the_routes_with_the_same_head() {
    let settings = Settings { tag_fields: vec![TagField::CacheTag], ..Settings::default() };
    // An age at which no second ends while this runs.
    let state = state_with(settings, Duration::from_millis(100));
    let tag = field(&get(&state, &image("w=640&f=webp")).await, "etag").to_owned();
    let get = || TestRequest::get().insert_header(("accept", "image/webp")).insert_header(("x-request-id", "one"));
    let requests: [(bool, Box<dyn Fn() -> TestRequest>); 9] = [
        (true, Box::new(|| get().uri(&image("w=640&f=webp")))),
        (true, Box::new(|| get().uri(&image("w=640")))),
        (true, Box::new(|| get().uri(&next("w=640&q=75")))),
        (true, Box::new(|| get().uri(&image("w=640&f=webp")).method(Method::HEAD))),
        (true, Box::new(|| get().uri(&image("w=640&f=webp")).insert_header(("if-none-match", tag.clone())))),
        (false, Box::new(|| get().uri(&image("w=640")).append_header(("accept", "image/png")))),
        (false, Box::new(|| get().uri(&image("w=640&f=webp")).method(Method::POST))),
        (false, Box::new(|| get().uri(&image("w=100")))),
        (false, Box::new(|| get().uri("/healthz"))),
    ];
    let app = App::new().wrap(from_fn(observe)).configure(public(&state));
    let before_routes = front(app, Some(&state)).new_service(AppConfig::default()).await.unwrap();
    for (at, (is_known, request)) in requests.iter().enumerate() {
        let routed = to_public(&state, request()).await;
        let request_again = request().to_request();
        assert_eq!(known(request_again.head(), &state).is_some(), *is_known, "{at}");
        for _ in 0..2 {
            let answered = before_routes.call(request().to_request()).await.unwrap();
            let (ours, theirs) = (head(answered.status(), answered.headers()), head(routed.status(), routed.headers()));
            assert_eq!(ours, theirs, "{at}");
        }
    }
}
