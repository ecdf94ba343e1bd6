//! What a run keeps about models: configuration, mock, limiters, budget, totals, events.

use crate::agent::Workers;
use crate::budget::Ledger;
use crate::config::{Config, ConfigError, Fields, Layer, canonical, load};
use crate::events::Trace;
use crate::failure::LlmError;
use crate::http;
use crate::limiter::{Limiter, Limits};
use crate::mock::{Mock, Recorder};
use crate::sessions::Sessions;
use crate::transport::ChatTransport;
use madrigal_stdlib::{Run, TaskHost};
use madrigal_vm::{Cx, Dict, Value};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The state of models in one run.
pub struct Models {
    /// A snapshot that is replaced as a whole when a script registers a provider.
    config: Mutex<Arc<Config>>,
    /// The mock provider.
    pub mock: Mock,
    /// Keeps replies of real providers.
    pub recorder: Recorder,
    /// By canonical name.
    limiters: Mutex<BTreeMap<String, Arc<Limiter>>>,
    /// What was spent, and the ceiling.
    pub ledger: Ledger,
    /// Events of this run.
    pub trace: Trace,
    /// Whether calls stay at the mock unless they name a provider.
    pub testing: bool,
    /// The sessions of agents.
    pub sessions: Sessions,
    /// Agents that run beside others.
    pub workers: Workers,
    /// Hooks around the execution of tools.
    pub tool_hooks: Mutex<Vec<Value>>,
    warned_of_mock: AtomicBool,
}

impl Models {
    fn new(config: Config, testing: bool) -> Models {
        Models {
            config: Mutex::new(Arc::new(config)),
            mock: Mock::default(),
            recorder: Recorder::default(),
            limiters: Mutex::default(),
            ledger: Ledger::default(),
            trace: Trace::default(),
            testing,
            sessions: Sessions::default(),
            workers: Workers::default(),
            tool_hooks: Mutex::default(),
            warned_of_mock: AtomicBool::new(false),
        }
    }

    /// Reads the configuration of a run before its program starts.
    pub fn prepare(run: &Run, entry: Option<&Path>, testing: bool) -> Result<Arc<Models>, ConfigError> {
        let config = load(run, entry)?;
        let warnings = config.warnings.clone();
        let models = run.extension(|| Models::new(config, testing));
        for warning in warnings {
            models.trace.warn(run, "config.unknown_key", [("message", Value::from(warning))]);
        }
        for name in models.config().providers.keys() {
            for (prefix, _) in LIMIT_VARIABLES {
                let variable = format!("{prefix}{}", canonical(name));
                if let Some(text) = run.variable(&variable)
                    && text.trim().parse::<u64>().is_err()
                {
                    let warning = format!("warning: {variable} must be a number, not '{text}'; it is ignored\n");
                    run.stderr.write(|out| out.extend_from_slice(warning.as_bytes()));
                }
            }
        }
        Ok(models)
    }

    /// The models of a run.
    pub fn of(run: &Run) -> Arc<Models> {
        run.extension(|| Models::new(Config::default(), false))
    }

    /// The configuration as it is now.
    pub fn config(&self) -> Arc<Config> {
        self.config.lock().clone()
    }

    /// Lays the fields of a provider over the configuration.
    pub fn register(&self, name: &str, fields: &Dict) -> Result<(), ConfigError> {
        let mut config = Config::clone(&self.config());
        config.merge_provider(name, fields, Layer::Runtime, "provider_register")?;
        config.check_fallbacks()?;
        *self.config.lock() = Arc::new(config);
        Ok(())
    }

    /// The limiter of a provider.
    pub fn limiter(&self, run: &Run, provider: &str) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock();
        let make = || Arc::new(Limiter::new(configured_limits(run, &self.config(), provider)));
        limiters.entry(canonical(provider)).or_insert_with(make).clone()
    }

    /// All limiters that were used, by canonical name.
    pub fn limiters(&self) -> BTreeMap<String, Arc<Limiter>> {
        self.limiters.lock().clone()
    }

    /// The code that speaks to a provider.
    pub fn transport(&self, provider: &str) -> Result<Box<dyn ChatTransport>, LlmError> {
        let config = self.config();
        let unknown = || LlmError::invalid(format!("Unknown provider: {provider}"));
        let fields = config.providers.get(provider).ok_or_else(unknown)?;
        if fields.text("protocol") == Some("mock") {
            return Ok(Box::new(self.mock.clone()));
        }
        Ok(http::transport(provider, fields.clone()))
    }

    /// Notes, once, that the mock answers because nothing else is configured.
    pub fn warn_of_mock(&self, run: &Run) {
        if !self.warned_of_mock.swap(true, Ordering::Relaxed) {
            self.trace.warn(run, "llm.default_mock", []);
        }
    }
}

/// The variables of limits and the fields they override.
const LIMIT_VARIABLES: [(&str, &str); 2] = [("HARN_RATE_LIMIT_", "rpm"), ("HARN_TOKEN_LIMIT_", "tpm")];

/// The limits of a provider by files and environment.
fn configured_limits(run: &Run, config: &Config, provider: &str) -> Limits {
    let key = canonical(provider);
    let by_key = |(name, _): &(&String, &Fields)| canonical(name) == key;
    let mut fields = config.providers.iter().find(by_key).map(|it| it.1.clone()).unwrap_or_default();
    for (prefix, name) in LIMIT_VARIABLES {
        let text = run.variable(&format!("{prefix}{key}"));
        if let Some(limit) = text.and_then(|it| it.trim().parse::<i64>().ok()).filter(|it| *it >= 0) {
            fields.set(name, Value::Int(limit), Layer::Environment);
        }
    }
    Limits {
        rpm: fields.count("rpm"),
        tpm: fields.count("tpm"),
        max_concurrent: fields.count("max_concurrent"),
        source: ["rpm", "tpm", "max_concurrent"]
            .into_iter()
            .filter_map(|it| fields.layer(it))
            .max()
            .unwrap_or(Layer::BuiltIn),
    }
}

/// The task a builtin is called in.
pub fn host<'a>(cx: &'a mut Cx<'_>) -> &'a mut TaskHost {
    cx.host::<TaskHost>().expect("the library runs under a TaskHost")
}
