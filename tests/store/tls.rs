//! PostgreSQL over TLS: the address says whether the server's name is proven, and by whose certificate. Law: a connection
//! that was asked to be encrypted is, as the server sees it, or there is none.

use std::os::unix::fs::{PermissionsExt as _, chown};

use crate::harness::{Folder, Opened, by_hand, key, record, settings, source};
use crate::support::PostgresServer;
use pixgate::store::Batch;

/// A server that takes TLS, and the file with the certificate that it shows.
fn server(folder: &Folder) -> (PostgresServer, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (shown, secret) = (folder.0.join("shown.pem"), folder.0.join("secret.pem"));
    std::fs::write(&shown, made.cert.pem()).expect("a file");
    std::fs::write(&secret, made.signing_key.serialize_pem()).expect("a file");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("its permissions");
    if let Some(user) = PostgresServer::user() {
        chown(&secret, Some(user), Some(user)).expect("its owner");
    }
    let files = [format!("ssl_cert_file={}", shown.display()), format!("ssl_key_file={}", secret.display())];
    (PostgresServer::start_with(&["ssl=on", &files[0], &files[1]]), shown.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_proves_its_name_is_spoken_to_in_secret() {
    let folder = Folder::new();
    let (server, root) = server(&folder);
    let named = server.url().replace("127.0.0.1", "localhost");
    let opened = Opened::over(&format!("{named}?sslmode=verify-full&sslrootcert={root}")).await;
    opened.write(Batch { sources: vec![source("a", record("a"))], ..Batch::default() }).await;
    assert!(opened.store.record(key("a")).await.is_some());
    let sql = "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
               WHERE application_name = 'pixgate'";
    let (encrypted, all): (i64, i64) = sqlx::query_as(sql).fetch_one(&by_hand(&server).await).await.expect("an answer");
    assert!(encrypted == all && all >= 1, "{encrypted} of {all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_proves_nothing_is_not_used() {
    let folder = Folder::new();
    let (server, root) = server(&folder);
    let named = server.url().replace("127.0.0.1", "localhost");
    let of_another = Folder::new();
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let file = of_another.0.join("stranger.pem");
    std::fs::write(&file, stranger.cert.pem()).expect("a file");
    let plain = PostgresServer::start();
    for (address, why) in [
        (format!("{named}?sslmode=verify-full"), "a certificate that nobody trusts"),
        (format!("{named}?sslmode=verify-full&sslrootcert={}", file.display()), "another's certificate"),
        (format!("{}?sslmode=verify-full&sslrootcert={root}", server.url()), "another name"),
        (format!("{}?sslmode=require", plain.url()), "a server without TLS"),
    ] {
        let opened = Opened::new(settings(&address));
        crate::harness::until("the store says why not", || opened.store.trouble().is_some()).await;
        assert!(!opened.store.is_up(), "{why}");
        assert!(opened.store.record(key("a")).await.is_none(), "{why}");
    }
}
