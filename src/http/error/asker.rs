//! How a failed request's answer is put for whoever asked: an `<img>`, a developer, or anybody else.
//!
//! Invariant: to strangers the table's text and no more (THREATS: error texts draw no map of the network). Reasons are told
//! where the configuration asks for it, and what to set to a caller on this very machine.

use actix_web::body::BoxBody;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};

use super::{Dialect, Problem, Told};
use crate::http::State;

/// Fields that a proxy adds: its caller is somebody else, though it is on this machine itself.
const OF_PROXIES: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Who asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Asker {
    /// A browser, for an image.
    image: bool,
    /// Somebody on this machine.
    local: bool,
    /// Whether reasons are told.
    development: bool,
}

impl Asker {
    pub(in crate::http) fn of(request: &HttpRequest, state: &State) -> Self {
        let headers = request.headers();
        let near = request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        Self {
            image: headers.get("sec-fetch-dest").is_some_and(|dest| dest == "image"),
            local: near && !OF_PROXIES.iter().any(|name| headers.contains_key(*name)),
            development: state.live().settings.development,
        }
    }
}

impl Problem {
    /// The answer as `asker` can make use of it.
    pub(in crate::http) fn tell(&self, asker: Asker, dialect: Dialect, mut response: HttpResponse) -> HttpResponse {
        // What a refused URL lacks, in words of the configuration; Next.js's path has Next.js's texts. Never where a redirect
        // or a name led: a proxy that says nothing of its callers makes strangers of the whole world local.
        let near = asker.local && dialect == Dialect::Problem && self.code == "source_not_allowed";
        let told = match asker.development {
            true if self.reason.is_some() => Told::Reason,
            false if near && self.setting.is_some() => Told::Setting,
            _ => Told::Public,
        };
        if told != Told::Public {
            let (_, body) = self.body(dialect, told);
            response = response.set_body(BoxBody::new(body));
        }
        if asker.image {
            // Chrome blocks an error of another origin that has any type but an image's (ORB), and says nothing of it
            // anywhere; one without a type it reports in its console. An SVG would be shown, and no error told to the page.
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
        response
    }
}

/// The keys that would allow what was refused for this reason.
pub(super) fn setting_of(reason: &str) -> Option<&'static str> {
    match reason {
        "neither a domain nor a remote pattern matches" => Some("sources.domains or sources.remote_patterns"),
        "not a public address" => Some("sources.allow_local_ip or sources.allow_cidrs"),
        "no local pattern matches" => Some("sources.local_patterns"),
        "relative URLs need a base_url" => Some("sources.base_url"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody as _;

    use super::*;
    use crate::source::Refusal;

    const IMAGE: Asker = Asker { image: true, local: false, development: false };
    const LOCAL: Asker = Asker { image: false, local: true, development: false };
    const DEVELOPER: Asker = Asker { image: false, local: false, development: true };

    fn told(asker: Asker, dialect: Dialect) -> (Option<String>, String) {
        let refusal = Refusal::NotAllowed("neither a domain nor a remote pattern matches");
        let problem = Problem::refused(&refusal, "https://a.example/", dialect);
        let plain = problem.plain(dialect);
        let response = problem.tell(asker, dialect, plain);
        let content_type = response.headers().get(header::CONTENT_TYPE).map(|t| t.to_str().unwrap().to_owned());
        (content_type, String::from_utf8(response.into_body().try_into_bytes().unwrap().to_vec()).unwrap())
    }

    #[test]
    fn reasons_are_for_developers_and_what_to_set_for_callers_on_this_machine() {
        let stranger = told(Asker::default(), Dialect::Problem);
        assert_eq!(stranger.0.as_deref(), Some("application/problem+json"));
        assert!(!stranger.1.contains("sources.") && !stranger.1.contains("pattern"), "{}", stranger.1);
        for asker in [LOCAL, DEVELOPER] {
            let (_, body) = told(asker, Dialect::Problem);
            let json: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(json["setting"], "sources.domains or sources.remote_patterns");
            assert_eq!(json["reason"].is_string(), asker == DEVELOPER, "{body}");
        }
        let text = r#""url" parameter is not allowed"#;
        assert_eq!(told(LOCAL, Dialect::Next).1, text, "the contract's text");
        let developer = told(DEVELOPER, Dialect::Next).1;
        assert!(developer.starts_with(text) && developer.contains("sources.remote_patterns"), "{developer}");
    }

    #[test]
    fn what_a_browser_wants_to_show_fails_without_a_type() {
        for dialect in [Dialect::Problem, Dialect::Next] {
            let (content_type, body) = told(IMAGE, dialect);
            assert_eq!((content_type, body), (None, told(Asker::default(), dialect).1));
        }
    }
}
