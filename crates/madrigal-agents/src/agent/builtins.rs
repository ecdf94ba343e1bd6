//! The builtins of agents.

use super::Agent;
use super::options::AgentOptions;
use crate::builtins::call_cx;
use crate::job::job;
use crate::messages::some;
use crate::models::host;
use crate::options::Given;
use crate::rates;
use crate::sessions;
use crate::transport::CallCx;
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};

madrigal_vm::builtins! {
    /// A job that runs an agent loop.
    "__agent_loop" (prompt: string, system: string, options: dict) -> any = agent_loop;
    /// Makes a session the current one of this task again; nil is none.
    "__session_enter" (id: string) -> nil = session_enter;
    /// An agent as a value: its name and the options of its loops.
    "agent" (name: string, config: dict) -> dict = agent;
    /// The name of an agent.
    "agent_name" (agent: dict) -> string = agent_name;
    /// What a loop of an agent is called with: `{prompt, system, options}`.
    "agent_config" (agent: dict, prompt: string) -> dict = agent_config;
    /// Numbers about the events of this run.
    "agent_trace_summary" () -> dict = trace_summary;
}

fn agent_loop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let given = Given::new(args.get(0), args.get(1), args.get(2))?;
    let handed = rates::handed(host(cx));
    let current = sessions::current(host(cx));
    let call_cx = call_cx(cx);
    let named = some(&given.options, "session_id").map(ToString::to_string);
    let is_anonymous = named.is_none();
    let id = named.unwrap_or_else(|| sessions::fresh_id(&call_cx.run, "anonymous"));
    let hub = madrigal_stdlib::inbox::hub(host(cx)).clone();
    sessions::enter(host(cx), Value::from(id.as_str()));
    Ok(job(move |asker| async move {
        let cx = CallCx { asker, ..call_cx };
        let mut given = given;
        let options = AgentOptions::of(&cx, &mut given)?;
        let lease = cx.models.sessions.lease(&cx.run, &hub, id, is_anonymous, current).await?;
        Ok(Agent::new(cx, &given, options, handed, lease).run(&given).await?)
    }))
}

fn session_enter(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    sessions::enter(host(cx), args.get(0).clone());
    Ok(())
}

fn agent(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let mut fields = args.dict(1).cloned().unwrap_or_default();
    fields.insert(Str::from("_type"), Value::from("agent"));
    fields.insert(Str::from("name"), Value::String(args.string(0)));
    Ok(Value::Dict(fields))
}

fn fields<'a>(name: &str, args: &'a Args<'_>) -> Result<&'a Dict, Fault> {
    let agent = args.dict(0).filter(|it| some(it, "_type").and_then(Value::as_str) == Some("agent"));
    agent.ok_or_else(|| Fault::thrown(format!("{name}: first argument must be an agent")))
}

fn agent_name(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(fields("agent_name", &args)?.get("name").cloned().unwrap_or_default())
}

fn agent_config(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let mut options = fields("agent_config", &args)?.clone();
    options.remove("_type");
    options.remove("name");
    let system = options.remove("system").unwrap_or_default();
    Ok(Value::dict([("prompt", Value::String(args.string(1))), ("system", system), ("options", Value::Dict(options))]))
}

fn trace_summary(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let run = host(cx).run.clone();
    let models = crate::Models::of(&run);
    let mut by_type = Dict::new();
    for event in models.trace.list() {
        let kind = crate::messages::text_field(&event, "type").unwrap_or_default();
        let count = by_type.get(kind).and_then(Value::as_int).unwrap_or(0);
        by_type.insert(Str::from(kind), Value::Int(count + 1));
    }
    let totals = models.ledger.totals();
    Ok(Value::dict([
        ("events", Value::Dict(by_type)),
        ("llm_calls", Value::Int(totals.calls as i64)),
        ("input_tokens", Value::Int(totals.input_tokens as i64)),
        ("output_tokens", Value::Int(totals.output_tokens as i64)),
        ("cost_usd", Value::Float(crate::budget::usd(totals.cost))),
    ]))
}
