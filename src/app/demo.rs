//! The demo's origin: sample images from the binary itself, on a loopback port of its own.
//!
//! The service fetches them as it fetches anything else, so what the page shows is the whole path, download included.
#![expect(clippy::disallowed_types, reason = "the demo's origin is a server of its own")]

use std::net::{Ipv4Addr, SocketAddr};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{App, HttpResponse, HttpServer, dev, web};

/// A sample: its name on the page, its path on the demo origin, its media type and its bytes.
pub(super) struct Picture {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    mime: &'static str,
    bytes: &'static [u8],
}

macro_rules! pictures {
    ($($name:literal $file:literal $mime:literal)+) => {
        [$(Picture {
            name: $name,
            path: concat!("/", $file),
            mime: $mime,
            bytes: include_bytes!(concat!("../../fixtures/images/", $file)),
        }),+]
    };
}

/// Photographs, a graphic with transparency, a screenshot with text, an animation: one of each kind that matters.
pub(super) static PICTURES: [Picture; 9] = pictures! {
    "Mountain lake" "lake.jpg" "image/jpeg"
    "Coffee" "coffee.jpg" "image/jpeg"
    "Cat" "cat.webp" "image/webp"
    "Astronaut" "astronaut.jpg" "image/jpeg"
    "Galaxies" "hubble.jpg" "image/jpeg"
    "Retina" "retina.jpg" "image/jpeg"
    "Dusk" "dusk.jpg" "image/jpeg"
    "Logo" "logo.png" "image/png"
    "Screenshot" "screenshot.png" "image/png"
};

/// Starts the origin on a free loopback port.
///
/// # Errors
/// When no port can be bound.
pub(super) fn origin() -> std::io::Result<(dev::Server, SocketAddr)> {
    let server = HttpServer::new(|| {
        PICTURES.iter().fold(App::new(), |app, picture| {
            app.route(
                picture.path,
                web::get().to(move || async move {
                    HttpResponse::Ok()
                        .insert_header((CONTENT_TYPE, picture.mime))
                        .insert_header((CACHE_CONTROL, "public, max-age=3600"))
                        .body(picture.bytes)
                }),
            )
        })
    })
    .workers(1)
    .disable_signals()
    .bind((Ipv4Addr::LOCALHOST, 0))?;
    // One address was bound, so there is one.
    let address = server.addrs().first().copied().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    Ok((server.run(), address))
}
