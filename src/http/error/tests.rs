//! The table, row by row, in both dialects. Law: statuses and texts are the contract's; no text of ours tells a client
//! which of several network failures it was.

use actix_web::body::MessageBody as _;

use super::*;
use crate::format::ImageFormat;
use crate::source::{Phase, Settings, SourcePolicy};
use crate::{imaging, source};

fn source() -> SourceUrl {
    let settings = Settings { domains: vec!["a.example".into()], ..Settings::default() };
    SourcePolicy::new(&settings).admit("https://a.example/a.png?token=secret").unwrap()
}

fn local() -> SourceUrl {
    let base_url = Some(url::Url::parse("https://a.example/").unwrap());
    SourcePolicy::new(&Settings { base_url, ..Settings::default() }).admit("/a.png").unwrap()
}

fn body(response: HttpResponse) -> String {
    String::from_utf8(response.into_body().try_into_bytes().unwrap().to_vec()).unwrap()
}

/// Status and code of `/image`, then status and text of the Next.js path.
fn both(error: &optimizer::Error, source: &SourceUrl) -> (u16, &'static str, u16, String) {
    let direct = Problem::failed(error, source, Dialect::Problem);
    let next = Problem::failed(error, source, Dialect::Next);
    assert_eq!(direct.code, next.code);
    let (status, code, next_status) = (direct.status.as_u16(), direct.code, next.status.as_u16());
    (status, code, next_status, body(next.respond(Dialect::Next, "/_next/image")))
}

#[test]
fn every_failure_has_its_row_in_both_dialects() {
    use imaging::Error as I;
    use source::Error as S;
    let (upstream, timed_out) = (
        r#""url" parameter is valid but upstream response is invalid"#,
        r#""url" parameter is valid but upstream response timed out"#,
    );
    let sources = [
        (S::Refused(Refusal::NotAllowed("x")), (403, "source_not_allowed", 400, NEXT_NOT_ALLOWED)),
        (S::Refused(Refusal::Invalid("x")), (403, "source_not_allowed", 400, NEXT_NOT_ALLOWED)),
        (S::NotPublic, (403, "source_not_allowed", 400, NEXT_NOT_ALLOWED)),
        (S::Dns, (502, "origin_unreachable", 502, upstream)),
        (S::Connect, (502, "origin_unreachable", 502, upstream)),
        (S::Tls, (502, "origin_unreachable", 502, upstream)),
        (S::Client("x".into()), (502, "origin_unreachable", 502, upstream)),
        (S::BadRedirect, (502, "origin_redirect", 500, upstream)),
        (S::TooManyRedirects, (508, "origin_redirects", 508, upstream)),
        (S::Status(404), (404, "origin_status", 404, upstream)),
        (S::Status(410), (410, "origin_status", 410, upstream)),
        (S::Status(451), (451, "origin_status", 451, upstream)),
        (S::Status(401), (502, "origin_status", 401, upstream)),
        (S::Status(407), (502, "origin_status", 407, upstream)),
        (S::Status(408), (502, "origin_status", 408, upstream)),
        (S::Status(500), (502, "origin_status", 500, upstream)),
        (S::Status(503), (502, "origin_status", 503, upstream)),
        (S::Status(304), (502, "origin_status", 500, upstream)),
        (S::Status(204), (502, "origin_status", 400, upstream)),
        (S::Status(700), (502, "origin_status", 500, upstream)),
        (S::Empty, (422, "origin_empty", 400, upstream)),
        (S::TooLarge { limit: 5 }, (413, "source_too_large", 413, upstream)),
        (S::Timeout(Phase::Connect), (504, "origin_timeout", 504, timed_out)),
        (S::Interrupted, (502, "origin_interrupted", 502, upstream)),
        (S::Encoding, (502, "origin_encoding", 400, upstream)),
    ];
    let format = ImageFormat::Png;
    let limit = I::LimitExceeded { what: "pixels", value: 9, limit: 5 };
    let pictures = [
        (I::Unrecognised, (415, "not_an_image", 400, NEXT_NOT_AN_IMAGE)),
        (I::SvgRefused, (415, "svg_not_allowed", 400, NEXT_TYPE)),
        (I::Malformed { format, detail: "x".into() }, (422, "undecodable", 400, NEXT_NOT_AN_IMAGE)),
        (I::Unsupported { format, detail: "x".into() }, (422, "unsupported", 400, NEXT_NOT_AN_IMAGE)),
        (limit, (413, "image_too_large", 413, upstream)),
        (I::Encode("x".into()), (500, "internal", 500, NEXT_INTERNAL)),
        (I::Deadline, (504, "deadline", 504, "the image was not ready in time")),
    ];
    let source = source();
    for (error, (status, code, next, text)) in sources {
        let seen = both(&error.clone().into(), &source);
        assert_eq!(seen, (status, code, next, text.to_owned()), "{error:?}");
    }
    for (error, (status, code, next, text)) in pictures {
        let seen = both(&optimizer::Error::Imaging(error.clone()), &source);
        assert_eq!(seen, (status, code, next, text.to_owned()), "{error:?}");
    }
    let internal = both(&optimizer::Error::Internal("secret path".into()), &source);
    assert_eq!(internal, (500, "internal", 500, NEXT_INTERNAL.to_owned()));
    assert_eq!(both(&optimizer::Error::Deadline, &source).0, 504);
}

#[test]
fn the_apps_own_files_are_internal() {
    let seen = both(&source::Error::Status(404).into(), &local());
    assert_eq!(seen.3, r#""url" parameter is valid but internal response is invalid"#);
    let seen = both(&source::Error::Timeout(Phase::Total).into(), &local());
    assert_eq!(seen.3, r#""url" parameter is valid but internal response timed out"#);
}

#[test]
fn refused_urls_have_the_contracts_texts() {
    let rows = [
        (Refusal::TooLong, (400, "url_invalid"), r#""url" parameter is too long"#),
        (Refusal::ProtocolRelative, (400, "url_invalid"), r#""url" parameter cannot be a protocol-relative URL (//)"#),
        (Refusal::Recursive, (400, "url_invalid"), r#""url" parameter cannot be recursive"#),
        (Refusal::Invalid("x"), (400, "url_invalid"), r#""url" parameter is invalid"#),
        (Refusal::NotAllowed("x"), (403, "source_not_allowed"), NEXT_NOT_ALLOWED),
    ];
    for (refusal, (status, code), text) in rows {
        let direct = Problem::refused(&refusal, "u", Dialect::Problem);
        assert_eq!((direct.status.as_u16(), direct.code), (status, code), "{refusal:?}");
        let next = Problem::next(Refused::Url(refusal, "u".into()));
        assert_eq!((next.status.as_u16(), &*next.detail), (400, text));
    }
}

#[test]
fn not_allowed_reads_the_same_whatever_the_reason() {
    let source = source();
    let answer = |error| body(Problem::failed(&error, &source, Dialect::Problem).respond(Dialect::Problem, "/image"));
    let refused = Problem::refused(&Refusal::NotAllowed("no pattern"), "http://10.0.0.1/", Dialect::Problem);
    let at_the_door = body(refused.respond(Dialect::Problem, "/image"));
    assert_eq!(answer(source::Error::NotPublic.into()), at_the_door);
    // Behind a redirect too, but for that.
    let behind = |error| source::Failed {
        redirected_to: Some(Loggable::text("http://10.0.0.1/")),
        ..source::Failed::from(error)
    };
    let refused = answer(optimizer::Error::Source(behind(source::Error::Refused(Refusal::NotAllowed("no pattern")))));
    assert_eq!(answer(optimizer::Error::Source(behind(source::Error::NotPublic))), refused);
    assert!(refused.contains("a redirect left the allow-list") && !refused.contains("10.0.0.1"), "{refused}");
    let unreachable = [source::Error::Dns, source::Error::Connect, source::Error::Tls];
    let texts: Vec<_> = unreachable.into_iter().map(|error| answer(error.into())).collect();
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[test]
fn a_problem_is_rfc_9457() {
    let wait = Duration::from_millis(100);
    let problem = Problem::failed(&optimizer::Error::Overloaded { retry_after: wait }, &source(), Dialect::Problem);
    let response = problem.respond(Dialect::Problem, "/image");
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers().get("retry-after").unwrap(), "1");
    assert_eq!(response.headers().get("content-type").unwrap(), "application/problem+json");
    let text = body(response);
    assert!(
        text.starts_with(r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":""#),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["code"], "overloaded");
}

#[test]
fn requests_that_say_something_wrong_keep_their_code() {
    for (fault, status) in [(Fault::Parameter, 400), (Fault::Signature, 403), (Fault::TooLong, 414)] {
        let problem = Problem::invalid(Invalid { fault, code: "c", detail: "d".into() });
        assert_eq!((problem.status.as_u16(), problem.code, problem.reason), (status, "c", None));
    }
}

#[test]
fn the_log_gets_no_secrets_of_a_url() {
    let problem = Problem::failed(&optimizer::Error::Deadline, &source(), Dialect::Next);
    assert_eq!(problem.source.as_ref().map(Loggable::as_str), Some("https://a.example/a.png"));
}
