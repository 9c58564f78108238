//! Who is compared, how each is started, and how each is asked for one picture at one width, quality and format.
//!
//! Every peer runs as it ships, told only its port, where sources may come from and which qualities may be asked for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::client::Request;
use super::origin::{Cold, Origin};
use super::process::{Server, free_port, scratch};
use super::report::target_dir;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Pixgate,
    Sharp,
    Next,
    Oximg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Format {
    Webp,
    Avif,
}

impl Format {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Webp => "webp",
            Self::Avif => "avif",
        }
    }
}

/// The qualities Pixgate is told to allow.
pub(crate) const OUR_QUALITIES: [u8; 5] = [50, 65, 75, 85, 90];

fn peers_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compare/peers")
}

/// Where `scripts/peers.sh` puts it; else wherever a shell would find it.
fn oximg() -> PathBuf {
    let own = target_dir().join("peers/bin/oximg");
    if own.exists() { own } else { PathBuf::from("oximg") }
}

/// The first line a program prints about its version, if it runs at all.
fn says(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or_default().trim().to_owned())
}

fn package_version(name: &str) -> Option<String> {
    let text = std::fs::read(peers_dir().join("node_modules").join(name).join("package.json")).ok()?;
    let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
    Some(value["version"].as_str()?.to_owned())
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Pixgate, Self::Sharp, Self::Next, Self::Oximg];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pixgate => "pixgate",
            Self::Sharp => "sharp (Node.js)",
            Self::Next => "Next.js",
            Self::Oximg => "oximg",
        }
    }

    pub(crate) const fn formats(self) -> &'static [Format] {
        match self {
            // Its AVIF needs libraries that Debian 12 does not have.
            Self::Oximg => &[Format::Webp],
            _ => &[Format::Webp, Format::Avif],
        }
    }

    /// Why it cannot take part, with the command that changes that.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let npm = |file: &str| peers_dir().join(file).exists() && says(Path::new("node"), &["--version"]).is_some();
        match self {
            Self::Pixgate => None,
            Self::Sharp => (!npm("node_modules/sharp")).then_some("run `scripts/peers.sh`"),
            Self::Next => (!npm(".next/BUILD_ID")).then_some("run `scripts/peers.sh`"),
            Self::Oximg => says(&oximg(), &["--version"])
                .is_none()
                .then_some("run `scripts/peers.sh` or `cargo install --locked oximg`"),
        }
    }

    pub(crate) fn version(self) -> String {
        let node = || says(Path::new("node"), &["--version"]).unwrap_or_default();
        match self {
            Self::Pixgate => env!("CARGO_PKG_VERSION").to_owned(),
            Self::Sharp => format!("{}, Node.js {}", package_version("sharp").unwrap_or_default(), node()),
            Self::Next => format!("{}, Node.js {}", package_version("next").unwrap_or_default(), node()),
            Self::Oximg => says(&oximg(), &["--version"]).unwrap_or_default(),
        }
    }

    /// Started and taking connections, nothing in any cache.
    pub(crate) fn start(self, origin: &Origin) -> Peer {
        let peer = self.launch(origin);
        Peer { server: peer.server.up(self.name()), ..peer }
    }

    /// Started just now.
    pub(crate) fn launch(self, origin: &Origin) -> Peer {
        let port = free_port();
        let mut command;
        match self {
            Self::Pixgate => {
                // Its metadata goes to a file here, as it does where nothing is configured.
                let dir = scratch("pixgate");
                let _none = std::fs::remove_dir_all(&dir);
                std::fs::create_dir_all(&dir).expect("a directory");
                let qualities = OUR_QUALITIES.map(|quality| quality.to_string()).join(",");
                command = Command::new(env!("CARGO_BIN_EXE_pixgate"));
                command.arg("serve").current_dir(dir).env_clear().envs([
                    ("PIXGATE_SERVER_LISTEN", format!("127.0.0.1:{port}").as_str()),
                    ("PIXGATE_SERVER_ADMIN_LISTEN", "127.0.0.1:0"),
                    ("PIXGATE_SOURCES_DOMAINS", "127.0.0.1"),
                    ("PIXGATE_SOURCES_ALLOW_LOCAL_IP", "true"),
                    ("PIXGATE_IMAGES_QUALITIES", &qualities),
                    ("PIXGATE_LOG_LEVEL", "error"),
                ]);
            }
            Self::Sharp => {
                command = Command::new("node");
                command.args(["sharp-server.mjs", &port.to_string()]).current_dir(peers_dir());
                command.env("NODE_ENV", "production");
            }
            Self::Next => {
                let _none = std::fs::remove_dir_all(peers_dir().join(".next/cache/images"));
                command = Command::new("node");
                command.args(["node_modules/next/dist/bin/next", "start", "-H", "127.0.0.1", "-p", &port.to_string()]);
                command.current_dir(peers_dir()).env("NODE_ENV", "production").env("NEXT_TELEMETRY_DISABLED", "1");
            }
            Self::Oximg => {
                command = Command::new(oximg());
                command.env_clear().envs([
                    ("PORT", port.to_string().as_str()),
                    ("OXIMG_BIND", "127.0.0.1"),
                    ("OXIMG_SOURCE_BASE_URL", &format!("http://{}", origin.address())),
                    ("OXIMG_OPTIONS_PREFIX", "/image"),
                ]);
            }
        }
        let log = self.name().split(' ').next().unwrap_or_default();
        Peer { kind: self, server: Server::start(command, port, log) }
    }
}

pub(crate) struct Peer {
    pub(crate) kind: Kind,
    pub(crate) server: Server,
}

impl Peer {
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub(crate) fn request(&self, source: &Cold, width: u32, quality: u8, format: Format) -> Request {
        let (url, path, name) = (encode(&source.url), &source.path, format.name());
        let accept = match self.kind {
            // Next.js has no other way to choose a format.
            Kind::Next => format!("image/{name}"),
            _ => "*/*".to_owned(),
        };
        let target = match self.kind {
            Kind::Pixgate => format!("/image?url={url}&w={width}&q={quality}&f={name}"),
            Kind::Sharp => format!("/?url={url}&w={width}&q={quality}&f={name}"),
            Kind::Next => format!("/_next/image?url={url}&w={width}&q={quality}"),
            Kind::Oximg => format!("/image/width={width},quality={quality},format={name}/{path}"),
        };
        Request { target, headers: format!("Accept: {accept}\r\n") }
    }
}

/// As `encodeURIComponent`, for the characters that URLs of this origin have.
fn encode(url: &str) -> String {
    url.replace(':', "%3A").replace('/', "%2F")
}
