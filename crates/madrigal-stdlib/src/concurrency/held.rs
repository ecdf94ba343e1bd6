//! What belongs to a task beyond its own code: permits and locks it holds, shared state only it can see. Dropping this,
//! at the task's end, gives all of it back.

use super::permits::PermitState;
use crate::host::Run;
use madrigal_runtime::TaskRef;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Something a task may hold that has to be given back at its end.
pub(super) trait Holdable: Send + Sync {
    /// The task has ended.
    fn give_back_of(&self, task: &TaskRef);
}

/// What a task holds. One word for the many tasks that hold nothing.
#[derive(Default)]
pub struct Held(Option<Box<Things>>);

#[derive(Default)]
struct Things {
    permits: Vec<Weak<PermitState>>,
    /// Locks it has ever asked for, by address.
    locks: HashMap<usize, Weak<dyn Holdable>>,
    task: Option<TaskRef>,
    /// The scope of the shared state that is its own.
    scope: Option<(Arc<Run>, String)>,
}

impl Held {
    fn things(&mut self) -> &mut Things {
        self.0.get_or_insert_default()
    }

    pub(super) fn add_permit(&mut self, permit: &Arc<PermitState>) {
        let permits = &mut self.things().permits;
        if permits.len() == permits.capacity() {
            permits.retain(|it| it.strong_count() > 0);
        }
        permits.push(Arc::downgrade(permit));
    }

    pub(super) fn add_lock<T: Holdable + 'static>(&mut self, task: &TaskRef, lock: &Arc<T>) {
        let things = self.things();
        if things.locks.len() == things.locks.capacity() {
            things.locks.retain(|_, it| it.strong_count() > 0);
        }
        things.task.get_or_insert_with(|| task.clone());
        things.locks.entry(Arc::as_ptr(lock) as usize).or_insert_with(|| Arc::downgrade(lock) as Weak<dyn Holdable>);
    }

    /// The task opened state in its own scope.
    pub(super) fn add_scope(&mut self, run: &Arc<Run>, scope: &str) {
        self.things().scope.get_or_insert_with(|| (run.clone(), scope.to_owned()));
    }

    /// The named permits held now: kind and key, in the order in which they were asked for.
    pub fn named(&self) -> Vec<(&'static str, String)> {
        let permits = self.0.iter().flat_map(|it| &it.permits).filter_map(Weak::upgrade);
        permits.filter(|it| it.is_held()).map(|it| (it.kind(), it.key().to_owned())).collect()
    }
}

impl Drop for Things {
    fn drop(&mut self) {
        self.permits.iter().filter_map(Weak::upgrade).for_each(|it| {
            it.release();
        });
        if let Some(task) = &self.task {
            self.locks.values().filter_map(Weak::upgrade).for_each(|it| it.give_back_of(task));
        }
        if let Some((run, scope)) = self.scope.take() {
            run.tasks.shared.end(&scope);
        }
    }
}
