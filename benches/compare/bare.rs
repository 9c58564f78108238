//! The floor under hits: an actix handler that holds one body, knows its entity tag, and does nothing else.
//!
//! It runs as a process of its own: this program again, with `--bare`; the bytes come through a file named behind it.

use std::path::Path;
use std::process::Command;

use actix_web::http::header;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;

use super::process::{Server, free_port, scratch};

/// The tag under which it answers 304.
pub(crate) const TAG: &str = "\"bare\"";

pub(crate) fn start(body: &[u8]) -> Server {
    let file = scratch("bare.body");
    std::fs::write(&file, body).expect("the target directory can be written");
    let port = free_port();
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.arg("--bare").arg(file).arg(port.to_string());
    Server::start(command, port, "bare").up("the bare handler")
}

pub(crate) fn serve() {
    let mut arguments = std::env::args_os().skip(2);
    let file = arguments.next().expect("a file");
    let port = arguments.next().and_then(|port| port.to_str()?.parse::<u16>().ok()).expect("a port");
    let body = Bytes::from(std::fs::read(Path::new(&file)).expect("the bytes"));
    actix_web::rt::System::new()
        .block_on(async move {
            let app = move || App::new().app_data(web::Data::new(body.clone())).route("/", web::get().to(answer));
            HttpServer::new(app).bind(("127.0.0.1", port))?.run().await
        })
        .expect("serves");
}

async fn answer(request: HttpRequest, body: web::Data<Bytes>) -> HttpResponse {
    let asked = request.headers().get(header::IF_NONE_MATCH);
    if asked.is_some_and(|tags| tags.as_bytes() == TAG.as_bytes()) {
        return HttpResponse::NotModified().insert_header((header::ETAG, TAG)).finish();
    }
    HttpResponse::Ok().content_type("image/webp").insert_header((header::ETAG, TAG)).body(body.get_ref().clone())
}
