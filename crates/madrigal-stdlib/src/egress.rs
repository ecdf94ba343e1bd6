//! The egress policy: which hosts the program may talk to, set once a run by the script or by the environment. Deny
//! beats allow, allow beats the default.

use crate::host::{Run, run};
use crate::http::redacted_url;
use crate::net_rules::{NetRule, Target};
use madrigal_vm::{Args, Cx, Dict, Fault, Value};
use std::sync::OnceLock;

madrigal_vm::builtins! {
    /// Sets which hosts may be reached: a dict `{allow, deny, default}`; at most once a run.
    "egress_policy" (config: dict) -> dict = egress_policy;
}

/// The policy of a run, once there is one.
#[derive(Debug, Default)]
pub(crate) struct Egress(OnceLock<Policy>);

#[derive(Debug)]
struct Policy {
    source: &'static str,
    allow: Vec<NetRule>,
    deny: Vec<NetRule>,
    allowed_by_default: bool,
}

impl Policy {
    fn value(&self) -> Value {
        let rules = |rules: &[NetRule]| Value::list(rules.iter().map(|it| Value::from(it.text.as_str())).collect());
        Value::dict([
            ("configured", Value::Bool(true)),
            ("source", Value::from(self.source)),
            ("default", Value::from(if self.allowed_by_default { "allow" } else { "deny" })),
            ("allow", rules(&self.allow)),
            ("deny", rules(&self.deny)),
        ])
    }

    /// Why a target is blocked, if it is.
    fn objection(&self, target: &Target) -> Option<String> {
        if let Some(rule) = self.deny.iter().find(|it| it.matches(target)) {
            return Some(format!("matched deny rule `{}`", rule.text));
        }
        let allowed = self.allowed_by_default || self.allow.iter().any(|it| it.matches(target));
        (!allowed).then(|| "no allow rule matched".to_owned())
    }
}

fn failed(text: impl std::fmt::Display) -> Fault {
    Fault::thrown(format!("egress_policy: {text}"))
}

/// The policy that the environment asks for.
fn from_environment(run: &Run) -> Result<Option<Policy>, Fault> {
    let variable = |name: &str| run.variable(name).filter(|it| !it.trim().is_empty());
    let rules = |name: &str| {
        let text = variable(name).unwrap_or_default();
        let pieces = text.split([',', ';', '\n']).filter(|it| !it.trim().is_empty());
        pieces.map(NetRule::parse).collect::<Result<Vec<_>, _>>().map_err(failed)
    };
    let names = ["HARN_EGRESS_ALLOW", "HARN_EGRESS_DENY", "HARN_EGRESS_DEFAULT"];
    if names.into_iter().all(|name| variable(name).is_none()) {
        return Ok(None);
    }
    let default = variable(names[2]).unwrap_or_else(|| "allow".to_owned());
    let (allow, deny) = (rules(names[0])?, rules(names[1])?);
    Ok(Some(Policy { source: "environment", allow, deny, allowed_by_default: by_default(default.trim())? }))
}

fn by_default(text: &str) -> Result<bool, Fault> {
    match text {
        "allow" => Ok(true),
        "deny" => Ok(false),
        other => Err(failed(format!("default must be `allow` or `deny`, got `{other}`"))),
    }
}

impl Egress {
    /// The policy in force.
    fn policy(&self, run: &Run) -> Result<Option<&Policy>, Fault> {
        if self.0.get().is_none()
            && let Some(policy) = from_environment(run)?
        {
            let _ = self.0.set(policy);
        }
        Ok(self.0.get())
    }

    /// Whether `surface` may reach the host of `url`.
    pub(crate) fn check(&self, run: &Run, surface: &str, url: &str) -> Result<(), Fault> {
        let Some(policy) = self.policy(run)? else { return Ok(()) };
        let parsed = url::Url::parse(url).ok();
        let Some(target) = parsed.as_ref().and_then(Target::of_url) else { return Ok(()) };
        let Some(reason) = policy.objection(&target) else { return Ok(()) };
        let url = redacted_url(url);
        let message = format!("EgressBlocked: {surface} blocked {target} for {url} ({reason})");
        Err(Fault::thrown(Value::dict([
            ("type", Value::from("EgressBlocked")),
            ("category", Value::from("egress_blocked")),
            ("message", Value::from(message)),
            ("surface", Value::from(surface)),
            ("url", Value::from(url)),
            ("host", Value::from(target.host)),
            ("port", Value::Int(i64::from(target.port))),
            ("reason", Value::from(reason)),
        ])))
    }
}

fn egress_policy(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let Some(config) = args.dict(0) else { return Err(failed("requires a config dict")) };
    let run = run(cx);
    if let Some(policy) = run.egress.policy(run)? {
        return Err(failed(format!("policy already configured from {}", policy.source)));
    }
    let default = config.get("default").filter(|it| !it.is_nil()).map_or_else(|| "allow".into(), Value::display);
    let allowed_by_default = by_default(&default)?;
    let policy =
        Policy { source: "stdlib", allow: rules(config, "allow")?, deny: rules(config, "deny")?, allowed_by_default };
    let value = policy.value();
    run.egress.0.set(policy).map_err(|_| failed("policy already configured from stdlib"))?;
    Ok(value)
}

fn rules(config: &Dict, key: &str) -> Result<Vec<NetRule>, Fault> {
    match config.get(key) {
        None | Some(Value::Nil) => Ok(Vec::new()),
        Some(Value::List(rules)) => {
            rules.iter().map(|it| NetRule::parse(&it.display())).collect::<Result<_, _>>().map_err(failed)
        }
        Some(_) => Err(failed(format!("{key} must be a list"))),
    }
}
