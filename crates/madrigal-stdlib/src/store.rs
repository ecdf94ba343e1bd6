//! Durable state: the key-value store and checkpoints, each one JSON object in a file below the state root. A file is
//! read at first use and written after every change, beside itself first, so that a crash leaves the old or the new
//! text. Tasks of a run share what is in memory; two runs at a time do not see each other's changes.

use crate::environment::{main_script, state_root};
use crate::host::{Run, run};
use crate::json;
use crate::plain::{plain, written};
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value, Wait};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;

madrigal_vm::builtins! {
    /// The value stored under `key`, nil when there is none.
    "store_get" (key: string) -> any, needs FsRead = store_get;
    /// Stores a value, also for later runs.
    "store_set" (key: string, value: any) -> nil, needs FsWrite = store_set;
    /// Removes a key from the store.
    "store_delete" (key: string) -> nil, needs FsWrite = store_delete;
    /// The keys of the store, sorted.
    "store_list" () -> list, needs FsRead = store_list;
    /// Writes the store; every change does so by itself.
    "store_save" () -> nil, needs FsWrite = store_save;
    /// Removes everything from the store.
    "store_clear" () -> nil, needs FsWrite = store_clear;
    /// Notes a result, also for later runs of the same program.
    "checkpoint" (key: string, value: any) -> nil, needs FsWrite = checkpoint;
    /// The result noted under `key`, nil when there is none.
    "checkpoint_get" (key: string) -> any, needs FsRead = checkpoint_get;
    /// Whether a result is noted under `key`, also nil.
    "checkpoint_exists" (key: string) -> bool, needs FsRead = checkpoint_exists;
    /// The keys of the noted results, sorted.
    "checkpoint_list" () -> list, needs FsRead = checkpoint_list;
    /// Forgets a result.
    "checkpoint_delete" (key: string) -> nil, needs FsWrite = checkpoint_delete;
    /// Forgets all results and removes their file.
    "checkpoint_clear" () -> nil, needs FsWrite = checkpoint_clear;
}

/// The durable state of a run.
#[derive(Default)]
pub(crate) struct Durable {
    store: Document,
    checkpoints: Document,
}

/// The object in a file; nothing until it is first used.
#[derive(Default)]
struct Document(Mutex<Option<Dict>>);

/// Which of the two, and where it lies.
#[derive(Clone)]
struct Place {
    run: Arc<Run>,
    /// The builtin that asks.
    name: &'static str,
    /// `store` or `checkpoint`, for messages.
    what: &'static str,
    path: PathBuf,
}

fn the_store(cx: &mut Cx<'_>, name: &'static str) -> Place {
    let path = state_root(cx).join("store.json");
    Place { run: Arc::clone(run(cx)), name, what: "store", path }
}

fn the_checkpoints(cx: &mut Cx<'_>, name: &'static str) -> Place {
    let script = main_script(cx);
    let stem = script.file_stem().map(|it| it.to_string_lossy().into_owned());
    let stem = stem.filter(|it| !it.is_empty() && !it.starts_with(['.', '<'])).unwrap_or_else(|| "default".to_owned());
    let path = state_root(cx).join("checkpoints").join(stem + ".json");
    Place { run: Arc::clone(run(cx)), name, what: "checkpoint", path }
}

impl Place {
    fn document(&self) -> &Document {
        if self.what == "store" { &self.run.durable.store } else { &self.run.durable.checkpoints }
    }

    fn failed(&self, verb: &str, error: &std::io::Error) -> Fault {
        Fault::runtime(format!("{} {verb} error: {error}", self.what))
    }

    /// Looks at the entries.
    fn read(self, look: impl FnOnce(&Dict) -> Value + Send + 'static) -> Wait {
        let run = Arc::clone(&self.run);
        Wait::new(
            self.name,
            run.blocking(move || {
                self.run.may_read(self.name, &self.path)?;
                let mut entries = self.document().0.lock();
                Ok(look(entries.get_or_insert_with(|| loaded(&self.path))))
            }),
        )
    }

    /// Changes the entries and writes them.
    fn change(self, change: impl FnOnce(&mut Dict) + Send + 'static) -> Wait {
        let run = Arc::clone(&self.run);
        Wait::new(
            self.name,
            run.blocking(move || {
                self.run.may_write(self.name, &self.path)?;
                let mut entries = self.document().0.lock();
                let entries = entries.get_or_insert_with(|| loaded(&self.path));
                change(entries);
                self.save(entries)?;
                Ok(Value::Nil)
            }),
        )
    }

    fn save(&self, entries: &Dict) -> Result<(), Fault> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).map_err(|error| self.failed("mkdir", &error))?;
        let fresh = self.path.with_extension("json.new");
        let text = written(entries) + "\n";
        let saved = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &self.path));
        saved.map_err(|error| self.failed("write", &error))
    }
}

/// What is in a file; nothing when it cannot be read or is no JSON object.
fn loaded(path: &Path) -> Dict {
    match std::fs::read_to_string(path).ok().and_then(|text| json::parse(&text).ok()) {
        Some(Value::Dict(entries)) => entries,
        _ => Dict::new(),
    }
}

fn get(place: Place, key: Str) -> Wait {
    place.read(move |entries| entries.get(&key).cloned().unwrap_or_default())
}

fn set(place: Place, key: Str, value: &Value) -> Wait {
    let value = plain(value);
    place.change(move |entries| entries.insert(key, value))
}

fn delete(place: Place, key: Str) -> Wait {
    place.change(move |entries| drop(entries.remove(&key)))
}

fn list(place: Place) -> Wait {
    place.read(|entries| Value::list(entries.keys().map(|it| Value::String(it.clone())).collect()))
}

fn store_get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    Ok(get(the_store(cx, "store_get"), args.string(0)))
}

fn store_set(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    Ok(set(the_store(cx, "store_set"), args.string(0), args.get(1)))
}

fn store_delete(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    Ok(delete(the_store(cx, "store_delete"), args.string(0)))
}

fn store_list(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Wait, Fault> {
    Ok(list(the_store(cx, "store_list")))
}

fn store_save(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Wait, Fault> {
    Ok(the_store(cx, "store_save").change(|_| ()))
}

fn store_clear(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Wait, Fault> {
    Ok(the_store(cx, "store_clear").change(|entries| *entries = Dict::new()))
}

fn checkpoint(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    Ok(set(the_checkpoints(cx, "checkpoint"), args.string(0), args.get(1)))
}

fn checkpoint_get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    Ok(get(the_checkpoints(cx, "checkpoint_get"), args.string(0)))
}

fn checkpoint_exists(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let key = args.string(0);
    Ok(the_checkpoints(cx, "checkpoint_exists").read(move |entries| Value::Bool(entries.has(&key))))
}

fn checkpoint_list(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Wait, Fault> {
    Ok(list(the_checkpoints(cx, "checkpoint_list")))
}

fn checkpoint_delete(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    Ok(delete(the_checkpoints(cx, "checkpoint_delete"), args.string(0)))
}

fn checkpoint_clear(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Wait, Fault> {
    let place = the_checkpoints(cx, "checkpoint_clear");
    let run = Arc::clone(&place.run);
    Ok(Wait::new(
        "checkpoint_clear",
        run.blocking(move || {
            place.run.may_write(place.name, &place.path)?;
            *place.document().0.lock() = Some(Dict::new());
            match std::fs::remove_file(&place.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(place.failed("clear", &error)),
                _ => Ok(Value::Nil),
            }
        }),
    ))
}
