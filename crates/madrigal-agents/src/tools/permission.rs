//! Who may call what: the ceiling of policies, rules of permissions, the approval policy; the first denial stands.

use crate::config::glob;
use crate::job::Asker;
use crate::messages::{field, items, some, text_field};
use madrigal_stdlib::json;
use madrigal_vm::{Dict, Value};
use parking_lot::Mutex;
use std::collections::BTreeSet;

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Go on.
    Allowed,
    /// Why not.
    Denied(String),
}

/// What happened on the way, for the transcript: kind, tool, text.
pub type Noted = (&'static str, String, String);

/// The rules of a loop.
#[derive(Default)]
pub struct Guard {
    /// Globs of tools; each list has to let a tool through.
    pub ceilings: Vec<Vec<String>>,
    /// `{allow, deny, on_escalation}`.
    pub permissions: Option<Dict>,
    /// `{auto_approve, auto_deny, require_approval, write_path_allowlist}`.
    pub approval: Option<Dict>,
    /// Asked about tools that need approval.
    pub on_approval: Option<Value>,
    /// For closures: who asks.
    pub session_id: Value,
    /// For closures: who asks.
    pub agent: Value,
    granted: Mutex<BTreeSet<String>>,
    noted: Mutex<Vec<Noted>>,
}

fn globs(value: Option<&Value>) -> Vec<String> {
    items(value).iter().map(ToString::to_string).collect()
}

fn any_fits(globs: &[String], name: &str) -> bool {
    globs.iter().any(|it| glob(it, name))
}

/// What a rule set says about a call.
enum Rule {
    Silent,
    Fits,
    /// A predicate threw.
    Broken(String),
}

impl Guard {
    /// Why a tool lies above the ceiling, if it does.
    pub fn ceiling(&self, name: &str) -> Option<String> {
        let outside = self.ceilings.iter().any(|it| !any_fits(it, name));
        outside.then(|| format!("policy_ceiling: '{name}' is not among the tools of the policy"))
    }

    /// What was noted since the last time.
    pub fn take_noted(&self) -> Vec<Noted> {
        std::mem::take(&mut *self.noted.lock())
    }

    fn note(&self, kind: &'static str, tool: &str, text: &str) {
        self.noted.lock().push((kind, tool.to_owned(), text.to_owned()));
    }

    /// Asks permissions, then the approval policy.
    pub async fn decide(&self, asker: &Asker, entry: &Value, name: &str, arguments: &Dict, call: Value) -> Verdict {
        if let Verdict::Denied(reason) = self.by_permissions(asker, name, arguments).await {
            return Verdict::Denied(reason);
        }
        self.by_approval(asker, entry, name, arguments, call).await
    }

    async fn by_permissions(&self, asker: &Asker, name: &str, arguments: &Dict) -> Verdict {
        let Some(permissions) = &self.permissions else { return Verdict::Allowed };
        let reason = match self.rule(asker, some(permissions, "deny"), name, arguments).await {
            Rule::Fits => Some(format!("permission_rule: '{name}' is denied")),
            Rule::Broken(text) => Some(text),
            Rule::Silent => None,
        };
        let allow = some(permissions, "allow").filter(|it| !matches!(it, Value::List(it) if it.is_empty()));
        let reason = match (reason, allow) {
            (Some(reason), _) => Some(reason),
            (None, None) => None,
            (None, allow) => match self.rule(asker, allow, name, arguments).await {
                Rule::Fits => {
                    self.note("PermissionGrant", name, "permission_rule");
                    None
                }
                Rule::Silent => Some(format!("permission_rule: '{name}' is not allowed")),
                Rule::Broken(text) => Some(text),
            },
        };
        let Some(reason) = reason else { return Verdict::Allowed };
        let key = format!("{name} {}", json::stringify(&Value::Dict(arguments.clone())));
        if self.granted.lock().contains(&key) {
            return Verdict::Allowed;
        }
        if let Some(escalate) = some(permissions, "on_escalation") {
            self.note("PermissionEscalation", name, &reason);
            let asked = Value::dict([
                ("tool", Value::from(name)),
                ("args", Value::Dict(arguments.clone())),
                ("reason", Value::from(reason.as_str())),
                ("agent", self.agent.clone()),
                ("session_id", self.session_id.clone()),
            ]);
            match asker.call(escalate.clone(), asked).await {
                Ok(Value::Bool(true)) => {
                    self.note("PermissionGrant", name, "once");
                    return Verdict::Allowed;
                }
                Ok(said) if matches!(text_field(&said, "grant"), Some("once" | "session")) => {
                    if text_field(&said, "grant") == Some("session") {
                        self.granted.lock().insert(key);
                    }
                    self.note("PermissionGrant", name, text_field(&said, "reason").unwrap_or("escalation"));
                    return Verdict::Allowed;
                }
                Ok(said) => {
                    let reason = text_field(&said, "reason").map_or(reason, str::to_owned);
                    self.note("PermissionDeny", name, &reason);
                    return Verdict::Denied(reason);
                }
                Err(thrown) => {
                    let reason = text_field(&thrown, "message").map_or_else(|| thrown.to_string(), str::to_owned);
                    self.note("PermissionDeny", name, &reason);
                    return Verdict::Denied(reason);
                }
            }
        }
        self.note("PermissionDeny", name, &reason);
        Verdict::Denied(reason)
    }

    /// Whether a rule set fits a call.
    async fn rule(&self, asker: &Asker, rules: Option<&Value>, name: &str, arguments: &Dict) -> Rule {
        match rules {
            Some(Value::String(one)) if glob(one, name) => Rule::Fits,
            Some(Value::List(_)) if any_fits(&globs(rules), name) => Rule::Fits,
            Some(Value::Dict(by_tool)) => {
                for (_, condition) in by_tool.iter().filter(|it| glob(it.0, name)) {
                    let fits = match condition {
                        Value::Bool(on) => *on,
                        Value::List(_) => {
                            let wanted = globs(Some(condition));
                            arguments.values().any(|it| any_fits(&wanted, &it.display()))
                        }
                        Value::Dict(by_argument) => by_argument.iter().all(|(key, wanted)| {
                            let wanted = match wanted {
                                Value::String(one) => vec![one.to_string()],
                                other => globs(Some(other)),
                            };
                            arguments.get(key).is_some_and(|it| any_fits(&wanted, &it.display()))
                        }),
                        closure if closure.is_callable() => {
                            match asker.call(closure.clone(), Value::Dict(arguments.clone())).await {
                                Ok(said) => said.is_truthy(),
                                Err(thrown) => {
                                    let said = text_field(&thrown, "message").map(str::to_owned);
                                    return Rule::Broken(said.unwrap_or_else(|| thrown.to_string()));
                                }
                            }
                        }
                        _ => false,
                    };
                    if fits {
                        return Rule::Fits;
                    }
                }
                Rule::Silent
            }
            _ => Rule::Silent,
        }
    }

    async fn by_approval(&self, asker: &Asker, entry: &Value, name: &str, arguments: &Dict, call: Value) -> Verdict {
        let Some(policy) = &self.approval else { return Verdict::Allowed };
        let deny = |reason: String| {
            self.note("PermissionDeny", name, &reason);
            Verdict::Denied(reason)
        };
        if let Some(pattern) = globs(some(policy, "auto_deny")).iter().find(|it| glob(it, name)) {
            return deny(format!("auto_denied: deny pattern '{pattern}'"));
        }
        let kind = field(entry, "annotations").and_then(|it| text_field(it, "kind"));
        let allowed_paths = some(policy, "write_path_allowlist");
        if let (Some("edit"), Some(_)) = (kind, allowed_paths) {
            let allowed = globs(allowed_paths);
            for parameter in items(field(entry, "metadata").and_then(|it| field(it, "path_params"))) {
                let path = arguments.get(&parameter.display()).map(Value::display);
                if let Some(path) = path.filter(|it| !any_fits(&allowed, it)) {
                    return deny(format!("path_not_allowed: {path}"));
                }
            }
        }
        if any_fits(&globs(some(policy, "auto_approve")), name) {
            return Verdict::Allowed;
        }
        let destructive = field(entry, "annotations").and_then(|it| field(it, "destructiveHint"));
        let from_server = text_field(entry, "executor") == Some("mcp_server");
        let required = any_fits(&globs(some(policy, "require_approval")), name)
            || (from_server && destructive.is_some_and(Value::is_truthy));
        if !required {
            return Verdict::Allowed;
        }
        let Some(ask) = &self.on_approval else { return deny("approval_required".to_owned()) };
        match asker.call(ask.clone(), call).await {
            Ok(said) if said.is_truthy() && !matches!(field(&said, "approved"), Some(Value::Bool(false))) => {
                Verdict::Allowed
            }
            _ => deny("approval_required".to_owned()),
        }
    }
}

/// The globs of `policy.tools`.
pub fn ceiling_of(policy: &Dict) -> Option<Vec<String>> {
    some(policy, "tools").map(|it| globs(Some(it)))
}
