//! Where Redis is: one node, the master that Sentinels name, or a Cluster; with or without TLS.
//!
//! Invariant: an address is checked without connecting, and its text is shown without what stands before the `@`.

use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, Pipeline, RedisFuture,
    RedisResult, TlsCertificates, TlsMode, Value,
};
use url::Url;

use super::parameters;

/// What is allowed, for a problem's text.
const ALLOWED: &str = "must be redis://[user:password@]host[:port][/db], rediss://…, redis+sentinel://host:port,host:port/service[/db] \
                       or redis-cluster://host:port,host:port (with rediss for TLS)";
/// One attempt to connect to one node; what is behind it waits for nobody.
const CONNECT: Duration = Duration::from_secs(2);
/// Requests that may wait to be sent on one connection.
const PIPELINE: usize = 512;
/// Where Sentinels listen.
const SENTINEL_PORT: u16 = 26_379;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Topology {
    Node,
    Sentinel { service: String },
    Cluster,
}

/// A checked `redis.url`.
#[derive(Clone)]
pub struct Address {
    topology: Topology,
    nodes: Vec<ConnectionInfo>,
    db: i64,
    shown: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// A text that says what is allowed, without the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = Self::read(text);
        read.map_err(|detail| if detail.is_empty() { ALLOWED.to_owned() } else { format!("{ALLOWED}: {detail}") })
    }

    fn read(text: &str) -> Result<Self, String> {
        let (named, rest) = text.split_once("://").ok_or("")?;
        // The same protocol by another name.
        let scheme = named.strip_prefix("valkey").map_or_else(|| named.to_owned(), |rest| format!("redis{rest}"));
        // Read on, what is left of a password would be taken for a service or a parameter, and shown.
        if rest.find(['/', '?', '#']).is_some_and(|at| rest[at..].contains('@')) {
            return Err("in a user or password, / must be written %2F, ? %3F, # %23, @ %40 and % %25".into());
        }
        let rest = parameters::without(rest)?;
        if rest.contains(['?', '#']) {
            return Err("a password's signs are written as percent escapes, and a fragment has no meaning here".into());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) =
            authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (&authority[..=user.len()], hosts));
        let (tls, kind) = match (scheme.strip_prefix("rediss"), scheme.strip_prefix("redis")) {
            (Some(kind), _) => (true, kind),
            (None, Some(kind)) => (false, kind),
            (None, None) => return Err(String::new()),
        };
        let (topology, db) = match kind {
            "" => (Topology::Node, path),
            "+sentinel" => {
                let (service, db) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() {
                    return Err("the name of the service is missing".into());
                }
                (Topology::Sentinel { service: service.into() }, db)
            }
            "-cluster" if !path.is_empty() => return Err("a Cluster has no numbered databases".into()),
            "-cluster" => (Topology::Cluster, ""),
            _ => return Err(String::new()),
        };
        let db = match db {
            "" => 0,
            db => db.parse::<u16>().map_err(|_| "the database must be a number")?.into(),
        };
        let sentinel = matches!(topology, Topology::Sentinel { .. });
        let nodes = hosts.split(',').map(|host| node(tls, if sentinel { "" } else { user }, host, sentinel));
        let mut nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        if nodes.len() > 1 && topology == Topology::Node {
            return Err("several hosts need redis+sentinel or redis-cluster".into());
        }
        if sentinel {
            // The Sentinels' own connections carry no password; the one of the URL is the master's.
            let credentials = node(tls, user, "master", true)?.redis_settings().clone();
            nodes = nodes.into_iter().map(|node| node.set_redis_settings(credentials.clone())).collect();
        } else {
            let with_db = |node: ConnectionInfo| {
                let settings = node.redis_settings().clone().set_db(db);
                node.set_redis_settings(settings)
            };
            nodes = nodes.into_iter().map(with_db).collect();
        }
        let mask = if user.is_empty() { "" } else { "***@" };
        let shown = format!("{named}://{mask}{}", &rest[user.len()..]);
        Ok(Self { topology, nodes, db, shown })
    }

    /// Whether keys live on several nodes, so that a script cannot reach two of them.
    pub(super) fn is_cluster(&self) -> bool {
        self.topology == Topology::Cluster
    }

    /// Whether another node may be the master by now.
    pub(super) const fn may_move(&self) -> bool {
        matches!(self.topology, Topology::Sentinel { .. })
    }

    /// Connects. The caller bounds the time.
    pub(super) async fn connect(&self, authority: Option<&[u8]>) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE);
        match &self.topology {
            Topology::Node => {
                let client = client(&self.nodes[0], authority)?;
                client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Node)
            }
            Topology::Sentinel { service } => {
                let mut client = self.sentinel(service, authority)?;
                client.get_async_connection_with_config(&config).await.map(Connection::Node)
            }
            Topology::Cluster => {
                // The caller's limits are shorter; these end what the client goes on with after the caller has left.
                let mut builder = ClusterClientBuilder::new(self.nodes.clone())
                    .connection_timeout(CONNECT)
                    .response_timeout(CONNECT)
                    .tcp_settings(tcp())
                    .retries(2);
                if let Some(root_cert) = authority {
                    builder = builder.certs(trust(root_cert));
                }
                builder.build()?.get_async_connection().await.map(Connection::Cluster)
            }
        }
    }

    /// A connection for messages only: to the master, or to one node of a Cluster, which passes messages on to all;
    /// `attempt` tells which.
    pub(super) async fn subscribe(&self, authority: Option<&[u8]>, attempt: usize) -> RedisResult<PubSub> {
        let client = match &self.topology {
            Topology::Node | Topology::Cluster => client(&self.nodes[attempt % self.nodes.len()], authority)?,
            Topology::Sentinel { service } => self.sentinel(service, authority)?.async_get_client().await?,
        };
        client.get_async_pubsub().await
    }

    fn sentinel(&self, service: &str, authority: Option<&[u8]>) -> RedisResult<SentinelClient> {
        let sentinels = self.nodes.iter().map(|node| node.addr().clone());
        let mut builder = SentinelClientBuilder::new(sentinels, service, SentinelServerType::Master)?
            .set_client_to_redis_db(self.db)
            .set_client_to_redis_tcp_settings(tcp())
            .set_client_to_sentinel_tcp_settings(tcp());
        let settings = self.nodes[0].redis_settings();
        if let Some(user) = settings.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = settings.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if matches!(self.nodes[0].addr(), ConnectionAddr::TcpTls { .. }) {
            builder =
                builder.set_client_to_redis_tls_mode(TlsMode::Secure).set_client_to_sentinel_tls_mode(TlsMode::Secure);
            if let Some(root_cert) = authority {
                let trust = trust(root_cert);
                builder =
                    builder.set_client_to_redis_certificates(trust.clone()).set_client_to_sentinel_certificates(trust);
            }
        }
        builder.build()
    }
}

/// One `host[:port]` of the list.
fn node(tls: bool, user: &str, host: &str, sentinel: bool) -> Result<ConnectionInfo, String> {
    let scheme = if tls { "rediss" } else { "redis" };
    // Not repeated: where a password is not escaped, this is a part of it.
    let wrong = || "a host or port cannot be read".to_owned();
    let url = Url::parse(&format!("{scheme}://{user}{host}")).map_err(|_| wrong())?;
    let plain = url.path().is_empty() && url.host_str().is_some_and(|host| !host.is_empty());
    let no_port = url.port().is_none();
    // What the client says may hold the password.
    let info = url.into_connection_info().ok().filter(|_| plain).ok_or_else(wrong)?.set_tcp_settings(tcp());
    let addr = match info.addr().clone() {
        ConnectionAddr::Tcp(host, _) if sentinel && no_port => ConnectionAddr::Tcp(host, SENTINEL_PORT),
        ConnectionAddr::TcpTls { host, insecure, tls_params, .. } if sentinel && no_port => {
            ConnectionAddr::TcpTls { host, port: SENTINEL_PORT, insecure, tls_params }
        }
        addr => addr,
    };
    Ok(info.set_addr(addr))
}

fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn trust(root_cert: &[u8]) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: Some(root_cert.to_vec()) }
}

fn client(node: &ConnectionInfo, authority: Option<&[u8]>) -> RedisResult<Client> {
    match (node.addr(), authority) {
        (ConnectionAddr::TcpTls { .. }, Some(root_cert)) => Client::build_with_tls(node.clone(), trust(root_cert)),
        _ => Client::open(node.clone()),
    }
}

/// A connection that many callers share.
#[derive(Clone)]
pub(super) enum Connection {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Node(node) => node.req_packed_command(cmd),
            Self::Cluster(cluster) => cluster.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Node(node) => node.req_packed_commands(pipeline, offset, count),
            Self::Cluster(cluster) => cluster.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Node(node) => node.get_db(),
            Self::Cluster(cluster) => cluster.get_db(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Vec<String> {
        let address = Address::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        address.nodes.iter().map(|node| node.addr().to_string()).collect()
    }

    #[test]
    fn every_kind_of_address_is_read() {
        assert_eq!(hosts("redis://cache"), ["cache:6379"]);
        assert_eq!(hosts("rediss://user:p%40ss@[::1]:7000/3"), ["::1:7000"]);
        assert_eq!(hosts("redis+sentinel://a:1,b/main"), ["a:1", "b:26379"]);
        assert_eq!(hosts("rediss+sentinel://:secret@a:1,b:2/main/4"), ["a:1", "b:2"]);
        assert_eq!(hosts("redis-cluster://a:1,b:2,c"), ["a:1", "b:2", "c:6379"]);
        assert_eq!(hosts("rediss://:p@a:1/2?ssl_cert_reqs=required&protocol=3"), ["a:1"]);
        assert_eq!(hosts("valkey://a"), ["a:6379"]);
        assert!(matches!(Address::parse("valkeys://a").expect("TLS").nodes[0].addr(), ConnectionAddr::TcpTls { .. }));

        let node = Address::parse("rediss://user:p%40ss@h/3").expect("good");
        let settings = node.nodes[0].redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("user"), Some("p@ss"), 3));
        assert!(matches!(node.nodes[0].addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        let sentinel = Address::parse("redis+sentinel://:secret@a:1/main/4").expect("good");
        assert_eq!((sentinel.topology, sentinel.db), (Topology::Sentinel { service: "main".into() }, 4));
        assert_eq!(sentinel.nodes[0].redis_settings().password(), Some("secret"));
        assert!(Address::parse("rediss-cluster://a").expect("good").is_cluster());
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_is_allowed_and_without_the_password() {
        for text in [
            "cache:6379",
            "http://cache",
            "redis://",
            "redis://user:hunter2@",
            "redis://a,b",
            "redis://a:hunter2",
            "redis://a/hunter2",
            "redis://a?db=2",
            "redis://a?ssl_cert_reqs=none&insecure=1",
            "redis://u:p?q@a",
            "valkeyss://a",
            "rediss://a#insecure",
            "redis+sentinel://a:1",
            "redis+sentinel://a:1/main/x",
            "redis-cluster://a:1/2",
            "redis-cluster://a:1,,b:2",
            "redis-cluster+sentinel://a",
            "redis://0.0.0.0",
            "redis://:hunter2/x@h:6379",
            "redis://:12/hunter2@h:6379",
            "redis://:12?hunter2@h",
            "redis://:12#hunter2@h",
            "redis+sentinel://:12/hunter2@h/1",
        ] {
            let problem = Address::parse(text).expect_err(text);
            assert!(
                problem.contains("redis+sentinel://host:port") && !problem.contains("hunter2"),
                "{text}: {problem}"
            );
        }
        let problem = Address::parse("redis://user:hunter2@a:b").expect_err("no port");
        assert!(!problem.contains("hunter2"), "{problem}");
    }

    #[test]
    fn passwords_are_not_shown() {
        for text in ["redis://user:hunter2@a:1/2", "redis+sentinel://:hunter2@a,b/main", "rediss-cluster://hunter2@a"] {
            let address = Address::parse(text).expect("good");
            assert!(!format!("{address} {address:?}").contains("hunter2"));
            assert!(Address::parse(&address.to_string()).is_ok(), "{address} can be read again");
        }
        assert_eq!(Address::parse("redis://u:p@a:1/2").expect("good").to_string(), "redis://***@a:1/2");
    }
}
