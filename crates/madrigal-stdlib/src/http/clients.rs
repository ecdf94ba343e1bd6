//! Connection pools: one client for each combination of the options that belong to a connection, built when first
//! needed and kept for the run. Here are also the sessions. Building never fails for want of system certificates:
//! plain HTTP works without any.

use super::guard::{Guard, GuardedResolver};
use super::handles::Counter;
use super::request::{as_dict, some};
use super::with_causes;
use crate::host::Run;
use madrigal_vm::{Dict, Fault, Value};
use parking_lot::Mutex;
use reqwest::{Certificate, Client, ClientBuilder, Identity, NoProxy, Proxy, Url, redirect};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Most sessions open at a time.
const SESSIONS_MAX: usize = 64;

/// The clients and sessions of a run.
#[derive(Default)]
pub(crate) struct Clients {
    built: Mutex<HashMap<ClientKey, Client>>,
    sessions: Mutex<BTreeMap<String, Dict>>,
}

/// The options that belong to a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ClientKey {
    /// The kind of traffic, named when a redirect is refused.
    surface: &'static str,
    connect_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
    redirects: usize,
    decompress: bool,
    /// The server runs on this machine: proxies of the environment do not apply.
    loopback: bool,
    proxy: Option<ProxyKey>,
    ca_bundle: Option<String>,
    /// File with certificate and key, or one with each.
    identity: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ProxyKey {
    url: String,
    no_proxy: Option<String>,
    auth: Option<(String, String)>,
}

impl ClientKey {
    pub(super) fn of(surface: &'static str, url: &Url, options: &Dict) -> Result<ClientKey, Fault> {
        let millis = |key: &str| {
            let value = some(options, key).and_then(Value::as_millis);
            value.and_then(|it| u64::try_from(it).ok()).map(Duration::from_millis)
        };
        let follow = some(options, "follow_redirects").is_none_or(Value::is_truthy);
        let most = some(options, "max_redirects").and_then(Value::as_int).map_or(10, |it| it.clamp(0, 1000) as usize);
        let tls = some(options, "tls").and_then(as_dict);
        let file = |key: &str| tls.and_then(|it| some(it, key)).map(|it| it.to_string());
        if file("pinned_sha256").is_some() {
            return Err(Fault::thrown("http: the option tls.pinned_sha256 is not supported"));
        }
        let identity = match file("client_identity_path") {
            Some(path) => vec![path],
            None => file("client_cert_path").into_iter().chain(file("client_key_path")).collect(),
        };
        Ok(ClientKey {
            surface,
            connect_timeout: millis("connect_timeout_ms"),
            read_timeout: millis("read_timeout_ms"),
            redirects: if follow { most } else { 0 },
            decompress: some(options, "decompress").is_none_or(Value::is_truthy),
            loopback: is_loopback(url),
            proxy: some(options, "proxy").map(|it| ProxyKey::of(it, options)),
            ca_bundle: file("ca_bundle_path"),
            identity,
        })
    }

    fn build(&self, run: &Arc<Run>) -> Result<Client, Fault> {
        let builder = self.builder(run)?;
        match builder.build() {
            Ok(client) => Ok(client),
            // A machine without certificates: nothing can be trusted there, but plain HTTP goes on.
            Err(_) if self.ca_bundle.is_none() && self.identity.is_empty() => {
                let client = self.builder(run)?.tls_backend_preconfigured(trusting_nobody()).build();
                client.map_err(|error| failed(&with_causes(&error)))
            }
            Err(error) => Err(failed(&with_causes(&error))),
        }
    }

    fn builder(&self, run: &Arc<Run>) -> Result<ClientBuilder, Fault> {
        let guard = Guard::new(run, self.surface);
        let policy = match self.redirects {
            0 => redirect::Policy::none(),
            most => redirect::Policy::custom(move |attempt| match guard.objection(attempt.url()) {
                Some(blocked) => attempt.error(blocked),
                None => redirect::Policy::limited(most).redirect(attempt),
            }),
        };
        let mut builder = Client::builder().redirect(policy).gzip(self.decompress).user_agent("madrigal");
        if let Some(resolver) = GuardedResolver::of(run, self.surface) {
            builder = builder.dns_resolver(resolver);
        }
        if let Some(limit) = self.connect_timeout {
            builder = builder.connect_timeout(limit);
        }
        if let Some(limit) = self.read_timeout {
            builder = builder.read_timeout(limit);
        }
        builder = match &self.proxy {
            Some(proxy) => builder.proxy(proxy.build()?),
            None if self.loopback => builder.no_proxy(),
            None => builder,
        };
        self.with_certificates(builder)
    }

    fn with_certificates(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, Fault> {
        let read = |path: &String| std::fs::read(path).map_err(|error| failed(&format!("{path}: {error}")));
        if let Some(path) = &self.ca_bundle {
            let parsed = Certificate::from_pem_bundle(&read(path)?);
            builder = builder.tls_certs_only(parsed.map_err(|error| failed(&format!("{path}: {error}")))?);
        }
        if !self.identity.is_empty() {
            let files: Result<Vec<_>, _> = self.identity.iter().map(read).collect();
            let parsed = Identity::from_pem(&files?.join(&b'\n'));
            builder = builder.identity(parsed.map_err(|error| failed(&error.to_string()))?);
        }
        Ok(builder)
    }
}

impl ProxyKey {
    fn of(option: &Value, options: &Dict) -> ProxyKey {
        let part = |it: &Dict, key: &str| some(it, key).map(|it| it.to_string());
        let (url, no_proxy) = match option {
            Value::Dict(it) => (part(it, "url").unwrap_or_default(), part(it, "no_proxy")),
            other => (other.to_string(), None),
        };
        let auth = some(options, "proxy_auth").and_then(as_dict);
        let auth = auth.map(|it| (part(it, "user").unwrap_or_default(), part(it, "pass").unwrap_or_default()));
        ProxyKey { url, no_proxy, auth }
    }

    fn build(&self) -> Result<Proxy, Fault> {
        let proxy = Proxy::all(&self.url).map_err(|error| failed(&with_causes(&error)))?;
        let proxy = proxy.no_proxy(self.no_proxy.as_deref().and_then(NoProxy::from_string));
        Ok(match &self.auth {
            Some((user, password)) => proxy.basic_auth(user, password),
            None => proxy,
        })
    }
}

fn failed(text: &str) -> Fault {
    Fault::thrown(format!("http: request failed: {text}"))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// A TLS configuration that accepts no server.
fn trusting_nobody() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("ring supports the default versions");
    builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

impl Clients {
    /// The client for these options.
    pub(super) fn client(&self, run: &Arc<Run>, key: &ClientKey) -> Result<Client, Fault> {
        let mut built = self.built.lock();
        if let Some(client) = built.get(key) {
            return Ok(client.clone());
        }
        // The client takes the provider of the process; an embedder may have installed another one before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = key.build(run)?;
        built.insert(key.clone(), client.clone());
        Ok(client)
    }

    /// Opens a session with these default options.
    pub(super) fn open_session(&self, counter: &Counter, options: Dict) -> Result<String, Fault> {
        let mut sessions = self.sessions.lock();
        if sessions.len() >= SESSIONS_MAX {
            return Err(Fault::thrown(format!("http_session: maximum open sessions ({SESSIONS_MAX}) reached")));
        }
        let name = counter.next("http-session");
        sessions.insert(name.clone(), options);
        Ok(name)
    }

    pub(super) fn session(&self, name: &str) -> Option<Dict> {
        self.sessions.lock().get(name).cloned()
    }

    pub(super) fn close_session(&self, name: &str) -> bool {
        self.sessions.lock().remove(name).is_some()
    }
}
