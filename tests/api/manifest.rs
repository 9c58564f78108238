//! An app's own `images-manifest.json` as configuration: imported to TOML, and read directly by `--next-manifest`.
//! Law: the patterns are regexes with look-ahead, as the build writes them, and admit exactly what the app admits;
//! the TOML file is stronger than the manifest.

use crate::harness::app::{Setup, TempDir, run};
use crate::harness::origin::Origin;
use crate::harness::pictures::png;

/// A manifest as `next build` writes it (version 1), whose patterns are regexes with look-ahead.
fn manifest(port: u16) -> String {
    const DEEP: &str = r"(?:(?:(?!(?:^|\/)\.{1,2}(?:\/|$)).)*?)";
    let under = |prefix: &str| format!(r"^(?:\/{prefix}(?:\/(?!\.{{1,2}}(?:\/|$)){DEEP}|$))$");
    serde_json::json!({ "version": 1, "images": {
        "deviceSizes": [640, 1080], "imageSizes": [32, 64], "sizes": [640, 1080, 32, 64],
        "path": "/_next/image", "loader": "default", "loaderFile": "", "domains": ["images.example"],
        "disableStaticImages": false, "minimumCacheTTL": 14400, "formats": ["image/webp"], "maximumRedirects": 3,
        "maximumResponseBody": 50_000_000, "dangerouslyAllowLocalIP": true, "dangerouslyAllowSVG": false,
        "contentSecurityPolicy": "script-src 'none'; frame-src 'none'; sandbox;", "contentDispositionType": "attachment",
        "localPatterns": [{ "pathname": format!(r"^(?:(?!(?:^|\/)\.{{1,2}}(?:\/|$)){DEEP}\/?)$"), "search": "" }],
        "remotePatterns": [
            { "protocol": "http", "hostname": r"^(?:127\.0\.0\.1)$", "port": port.to_string(), "pathname": under("public"), "search": "" },
            { "protocol": "https", "hostname": r"^(?:(?!\.)(?=.)[^/]*?\.example\.com)$", "pathname": under("img") }
        ],
        "qualities": [60], "unoptimized": false, "customCacheHandler": false
    }})
    .to_string()
}

#[tokio::test]
async fn a_manifest_is_imported_and_served_from() {
    let origin = Origin::with("/public/a.png", png(900, 450), "image/png").await;
    let dir = TempDir::new();
    let file = dir.write("images-manifest.json", manifest(origin.address.port()));
    // Printed as TOML that is a configuration of its own.
    let (code, toml, said) = run(dir.path(), &[], &["import-next", "images-manifest.json"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(toml.contains("[images]") && toml.contains("[sources]") && toml.contains("1080"), "{toml}");
    let imported = dir.write("imported.toml", &toml);
    let (code, _, said) = run(dir.path(), &[], &["check-config", "--config", &imported.to_string_lossy()]);
    assert_eq!(code, Some(0), "{said}\n{toml}");
    // Read directly; the service then has the app's lists and nothing else.
    let app = Setup::new()
        .without("sources.domains")
        .without("sources.allow_local_ip")
        .argument("--next-manifest")
        .argument(file.to_string_lossy())
        .start()
        .await;
    let good = origin.url("/public/a.png");
    assert_eq!(app.next(&good, 640, 60).await.look().size(), (640, 320));
    let text = |what: &str| format!(r#""{what} is not allowed"#);
    app.next(&good, 750, 60).await.plain(400, &text(r#"w" parameter (width) of 750"#));
    app.next(&good, 640, 75).await.plain(400, &text(r#"q" parameter (quality) of 75"#));
    for refused in [
        origin.url("/private/a.png"),
        origin.url("/public/a.png?v=1"),
        origin.url("/publicity/a.png"),
        "https://example.com/img/a.png".to_owned(),
    ] {
        app.next(&refused, 640, 60).await.plain(400, &text(r#"url" parameter"#));
    }
    // TOML is stronger than the manifest.
    let app = Setup::new()
        .without("sources.domains")
        .without("sources.allow_local_ip")
        .set("images.qualities", "[75]")
        .argument("--next-manifest")
        .argument(file.to_string_lossy())
        .start()
        .await;
    assert_eq!(app.next(&good, 640, 75).await.status, 200);
}
