//! The composition root: every room is built here from the configuration, run, drained and stopped.
//!
//! Building is apart from running, so that a port of 0 can be bound and its real address told before the first request.

mod demo;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::{App as ActixApp, HttpServer, dev, web};
use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use crate::cache::memory::Memory;
use crate::config::Config;
use crate::http::{self, Sample, State};
use crate::imaging::schedule::Scheduler;
use crate::optimizer::{Optimizer, Parts};
use crate::source::pattern::Glob;
use crate::source::{Fetcher, RemotePattern, SourcePolicy};
use crate::telemetry::Metrics;

/// A client has this long to send a request's head: slow-loris clients lose their connection.
const REQUEST_HEAD: Duration = Duration::from_secs(5);
/// An idle kept-alive connection is closed after this; longer than the usual 60 s of load balancers, so that they close first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Connections at once for each thread; further ones wait in the backlog.
const CONNECTIONS: usize = 4_096;

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The configured service.
    Serve,
    /// The service with sample pictures on an origin of its own.
    Demo,
}

/// A service whose ports are bound and whose rooms are built.
pub struct App {
    /// Address of the public listener.
    pub public: SocketAddr,
    /// Address of the admin listener.
    pub admin: SocketAddr,
    servers: Vec<dev::Server>,
    state: web::Data<State>,
    grace: Duration,
}

impl App {
    /// Builds every room and binds the ports.
    ///
    /// # Errors
    /// When a port cannot be bound or a thread cannot be started.
    pub fn build(mut config: Config, mode: Mode, runtime: Handle) -> anyhow::Result<Self> {
        let mut servers = Vec::new();
        let mut samples = Vec::new();
        if mode == Mode::Demo {
            let (origin, address) = demo::origin().context("the demo's origin cannot listen on loopback")?;
            servers.push(origin);
            samples = prepare_demo(&mut config, address)?;
        }
        let grace = config.http.shutdown_grace;
        let state = web::Data::new(build_state(&config, samples, runtime)?);

        let listen = config.http.listen;
        let public = bind(listen, grace, {
            let state = state.clone();
            move |services: &mut web::ServiceConfig| http::public(services, &state)
        })
        .with_context(|| format!("server.listen = {listen} cannot be bound"))?;
        let admin_listen = config.http.admin_listen;
        let admin = bind(admin_listen, grace, {
            let state = state.clone();
            move |services: &mut web::ServiceConfig| http::admin(services, &state)
        })
        .with_context(|| format!("server.admin_listen = {admin_listen} cannot be bound"))?;
        state.set_public(public.1);
        let addresses = (public.1, admin.1);
        servers.extend([public.0, admin.0]);
        Ok(Self { public: addresses.0, admin: addresses.1, servers, state, grace })
    }

    /// Serves until SIGTERM or SIGINT, then finishes what is in flight within the grace period.
    ///
    /// # Errors
    /// When a listener fails or signals cannot be listened for.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { servers, state, grace, .. } = self;
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
        let handles: Vec<_> = servers.iter().map(dev::Server::handle).collect();
        let all = futures_util::future::try_join_all(servers);
        tokio::pin!(all);
        tokio::select! {
            ended = &mut all => {
                ended.context("a listener failed")?;
                anyhow::bail!("the listeners ended without being told to");
            }
            _ = terminate.recv() => tracing::info!(?grace, "SIGTERM: finishing what is in flight"),
            _ = interrupt.recv() => tracing::info!(?grace, "SIGINT: finishing what is in flight"),
        }
        state.draining.store(true, Ordering::Release);
        futures_util::future::join_all(handles.iter().map(|handle| handle.stop(true))).await;
        all.await.context("a listener failed while it stopped")?;
        tracing::info!("stopped");
        Ok(())
    }
}

fn build_state(config: &Config, samples: Vec<Sample>, runtime: Handle) -> anyhow::Result<State> {
    let metrics = Arc::new(Metrics::new());
    let policy = Arc::new(SourcePolicy::new(&config.sources));
    let fetcher = Fetcher::new(Arc::clone(&policy), &config.sources, Arc::clone(&metrics))?;
    let scheduler = Scheduler::new(&config.schedule, Arc::clone(&metrics)).context("no render threads")?;
    let optimizer = Arc::new(Optimizer::new(Parts {
        fetcher,
        scheduler,
        memory: Memory::new(&config.cache),
        settings: config.cache.clone(),
        imaging: config.imaging.clone(),
        metrics: Arc::clone(&metrics),
        runtime,
    }));
    Ok(State::new(optimizer, policy, metrics, config.http.clone(), samples))
}

fn bind(
    listen: SocketAddr,
    grace: Duration,
    routes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> anyhow::Result<(dev::Server, SocketAddr)> {
    let server = HttpServer::new(move || ActixApp::new().wrap(http::Observe).configure(routes.clone()))
        .client_request_timeout(REQUEST_HEAD)
        .keep_alive(KEEP_ALIVE)
        .max_connections(CONNECTIONS)
        .shutdown_timeout(grace.as_secs())
        .disable_signals()
        .bind(listen)?;
    let address = server.addrs().first().copied().context("nothing was bound")?;
    Ok((server.run(), address))
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
