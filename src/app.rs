//! The composition root: every room is built here from the configuration, run, drained and stopped.
//!
//! Invariant: building is apart from running, so that a port of 0 can be bound and its real address told before the first request.
#![expect(clippy::disallowed_types, reason = "the composition root starts the servers")]

mod demo;
mod descriptors;
mod reload;
mod run;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App as ActixApp, HttpServer, dev, web};
use anyhow::Context as _;
use tokio::net::TcpSocket;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use self::reload::Reload;
use self::run::Signals;
use crate::cache::ledger::Ledger;
use crate::cache::memory::Memory;
use crate::cache::redis::Tier;
use crate::cache::tiered::Tiered;
use crate::config::{Config, Loaded, Mode, Problems};
use crate::http::{self, Connections, Sample, State};
use crate::imaging::schedule::Scheduler;
use crate::maintenance::{self, Maintenance};
use crate::optimizer::{Optimizer, Parts, WAITING};
use crate::source::webhook::Webhook;
use crate::source::{Bodies, Fetcher, Glob, LivePolicy, RemotePattern, SourcePolicy};
use crate::store::{self, Recorder};
use crate::telemetry::Metrics;

/// A client has this long to send a request's head: slow-loris clients lose their connection.
const REQUEST_HEAD: Duration = Duration::from_secs(5);
/// An idle kept-alive connection is closed after this; longer than the usual 60 s of load balancers, so that they close first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;
/// Connections of operators at once, for each thread.
const ADMIN_CONNECTIONS: usize = 32;

/// Reads the configuration again, from where it was read the first time.
pub type Load = Box<dyn Fn() -> Result<Loaded, Problems> + Send>;

/// A service whose ports are bound and whose rooms are built.
pub struct App {
    /// Address of the public listener.
    pub public: SocketAddr,
    /// Address of the admin listener.
    pub admin: SocketAddr,
    servers: Vec<dev::Server>,
    state: web::Data<State>,
    signals: Signals,
    reload: Reload,
}

impl App {
    /// Builds every room and binds the ports.
    ///
    /// # Errors
    /// When a port cannot be bound or a thread cannot be started.
    pub fn build(loaded: Loaded, load: Load, mode: Mode, runtime: Handle) -> anyhow::Result<Self> {
        let mut config = loaded.config.clone();
        descriptors::raise();
        // From here on a signal ends the process as it should.
        let signals = Signals::listen(mode).context("signals cannot be listened for")?;
        let mut servers = Vec::new();
        let mut samples = Vec::new();
        if mode == Mode::Demo {
            let (origin, address) = demo::origin().context("the demo's origin cannot listen on loopback")?;
            servers.push(origin);
            samples = prepare_demo(&mut config, address)?;
        }
        let grace = config.http.shutdown_grace;
        let (listen, admin_listen) = (config.http.listen, config.http.admin_listen);
        let public = bind(listen).with_context(|| format!("server.listen = {listen} cannot be bound"))?;
        let admin =
            bind(admin_listen).with_context(|| format!("server.admin_listen = {admin_listen} cannot be bound"))?;
        let (public_address, admin_address) = (public.local_addr()?, admin.local_addr()?);
        let state = web::Data::new(build_state(&config, samples, public_address, runtime)?);
        servers.push(serve(public, Audience::Everybody, grace, &state)?);
        servers.push(serve(admin, Audience::Operators, grace, &state)?);
        Ok(Self {
            public: public_address,
            admin: admin_address,
            servers,
            state,
            signals,
            reload: Reload::new(loaded, load),
        })
    }
}

/// Who is served by a listener.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    Everybody,
    Operators,
}

fn build_state(
    config: &Config,
    samples: Vec<Sample>,
    public_address: SocketAddr,
    runtime: Handle,
) -> anyhow::Result<State> {
    let metrics = Arc::new(Metrics::new());
    let policy = Arc::new(SourcePolicy::new(&config.sources));
    let live = Arc::new(LivePolicy::new(Arc::clone(&policy)));
    let bodies = Bodies::of(config.schedule.body_memory, config.turns.wait);
    let fetcher = Fetcher::new(Arc::clone(&policy), &config.sources, Arc::clone(&metrics))?.within(bodies);
    let scheduler = Scheduler::new(&config.schedule, Arc::clone(&metrics)).context("no render threads")?;
    let (ledger, hearing) = (Arc::new(Ledger::default()), Arc::new(AtomicBool::new(false)));
    let shared = Tier::new(&config.redis, Arc::clone(&metrics), &runtime).map(Arc::new);
    let webhook = config.purge.webhook.clone().map(|url| {
        let token = config.purge.webhook_token.as_ref();
        Webhook::new(url, token, &config.sources.user_agent, Arc::clone(&metrics))
    });
    let store = store::open(&config.metadata, Arc::clone(&metrics), &runtime);
    let record = |store| Recorder::start(store, &config.metadata, Arc::clone(&metrics), &runtime);
    let recorder = store.clone().map(record).map(Arc::new);
    let maintenance = Maintenance::start(maintenance::Parts {
        policy: Arc::clone(&live),
        ledger: Arc::clone(&ledger),
        shared: shared.clone(),
        hearing: Arc::clone(&hearing),
        recorder: recorder.clone(),
        webhook: webhook.transpose().context("purge.webhook")?,
        metrics: Arc::clone(&metrics),
        runtime: runtime.clone(),
    });
    let (candidates, waiting) = mpsc::channel(WAITING);
    let optimizer = Arc::new(Optimizer::new(Parts {
        fetcher,
        scheduler,
        tiers: Tiered::new(Memory::new(&config.cache), shared, hearing, runtime.clone()),
        ledger,
        settings: config.cache.clone(),
        imaging: config.imaging.clone(),
        store: store.clone(),
        recorder: recorder.clone(),
        candidates,
        turns: config.turns,
        refine_max_bytes: Some(config.refine.max_bytes).filter(|_| config.refine.cpu_percent > 0),
        metrics: Arc::clone(&metrics),
        runtime: runtime.clone(),
    }));
    maintenance::tidy::start(&optimizer, &runtime);
    maintenance::refine::start(&optimizer, waiting, config.refine.clone(), Arc::clone(&metrics), &runtime);
    Ok(State {
        optimizer,
        maintenance,
        store,
        recorder,
        policy: live,
        tallies: http::Tallies::new(&metrics),
        metrics,
        clients: http::Clients::default(),
        live: http::LiveCell::new(config.http.clone()),
        samples,
        public_address,
        draining: AtomicBool::new(false),
    })
}

/// A port of this address.
fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart does not wait until the connections of before are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

fn serve(
    listener: std::net::TcpListener,
    audience: Audience,
    grace: Duration,
    state: &web::Data<State>,
) -> anyhow::Result<dev::Server> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let each = match audience {
        Audience::Everybody => descriptors::connections(threads),
        Audience::Operators => ADMIN_CONNECTIONS,
    };
    let (state, known) = (state.clone(), state.clone());
    // Some are left for those that are told to close, and have not yet.
    let all = each * threads / 8 * 7;
    let connections = Connections::new(all.max(1));
    let server = HttpServer::new(move || {
        let app = ActixApp::new().wrap(from_fn(http::observe));
        match audience {
            Audience::Everybody => http::front(app.configure(http::public(&state)), Some(&state)),
            Audience::Operators => http::front(app.configure(http::admin(&state)), None),
        }
    })
    .workers(threads)
    .client_request_timeout(REQUEST_HEAD)
    .keep_alive(KEEP_ALIVE)
    // Who closes has left, and what he asked for need not begin.
    .h1_allow_half_closed(false)
    .on_connect(move |connection, data| {
        descriptors::watch(connection);
        if audience == Audience::Everybody {
            let settings = &known.live().settings;
            let share = match settings.connections_per_client {
                0 => all / 2,
                share => share as usize,
            };
            connections.admit(connection, data, share.max(1), &settings.trusted_proxies);
        }
    })
    .max_connections(each)
    .shutdown_timeout(grace.as_secs().max(1))
    .disable_signals()
    .listen(listener)?;
    Ok(server.run())
}

/// Points the configuration at the demo's origin, and lets a pasted URL name any public host while only this machine
/// can reach the service.
fn prepare_demo(config: &mut Config, origin: SocketAddr) -> anyhow::Result<Vec<Sample>> {
    let base = format!("http://{origin}");
    config.sources.base_url = Some(base.parse().context("the demo's own URL")?);
    if config.http.listen.ip().is_loopback() {
        config.sources.allow_any_host = true;
        config.sources.remote_patterns.push(RemotePattern {
            protocol: None,
            hostname: Glob::hostname("**").context("the pattern for any host")?,
            port: Some(String::new()),
            pathname: None,
            search: None,
        });
    }
    let sample = |picture: &demo::Picture| Sample { name: picture.name.to_owned(), url: picture.path.to_owned() };
    Ok(demo::PICTURES.iter().map(sample).collect())
}
