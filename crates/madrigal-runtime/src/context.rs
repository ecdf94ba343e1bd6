//! Values that belong to a task and that its children start with: a snapshot each, nothing flows back.
//! Invariant: a task's values are replaced as a whole and shared until then; a task that never had any costs one word.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::task::TaskContext;

/// The values of a task, by the name of their key.
pub(crate) type ContextValues = Arc<HashMap<&'static str, Arc<dyn Any + Send + Sync>>>;

/// Names a value of type `T` in the context of tasks. Keys with the same name and type are the same key.
///
/// ```
/// use madrigal_runtime::{ContextKey, Runtime, TaskError, scope};
///
/// const TENANT: ContextKey<String> = ContextKey::new("tenant");
///
/// let runtime = Runtime::new();
/// let seen = runtime.run(async || {
///     TENANT.set("acme".to_owned());
///     let seen = scope(async |s| {
///         let child = s.spawn_future(async {
///             let inherited = TENANT.get();
///             TENANT.set("other".to_owned());
///             Ok(inherited)
///         })?;
///         Ok::<_, TaskError>(child.await.into_result()?)
///     })
///     .await?;
///     Ok::<_, TaskError>((seen, TENANT.get()))
/// });
/// assert_eq!(seen.unwrap(), (Some("acme".to_owned()), Some("acme".to_owned())));
/// ```
pub struct ContextKey<T> {
    name: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for ContextKey<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ContextKey<T> {}

impl<T> fmt::Debug for ContextKey<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ContextKey({})", self.name)
    }
}

impl<T: Clone + Send + Sync + 'static> ContextKey<T> {
    /// The key of this name.
    pub const fn new(name: &'static str) -> ContextKey<T> {
        ContextKey { name, of: PhantomData }
    }

    /// The current task's value; None outside of a task.
    pub fn get(self) -> Option<T> {
        TaskContext::current().and_then(|cx| self.get_in(&cx))
    }

    /// Sets the current task's value for itself and the children it creates from now on; the previous one. Does
    /// nothing outside of a task.
    pub fn set(self, value: T) -> Option<T> {
        TaskContext::current().and_then(|cx| self.replace_in(&cx, Some(value)))
    }

    /// Removes the current task's value; the previous one.
    pub fn clear(self) -> Option<T> {
        TaskContext::current().and_then(|cx| self.replace_in(&cx, None))
    }

    /// The value of a task.
    pub fn get_in(self, cx: &TaskContext) -> Option<T> {
        let values = cx.task().0.header.context_values()?;
        values.get(self.name)?.downcast_ref::<T>().cloned()
    }

    fn replace_in(self, cx: &TaskContext, value: Option<T>) -> Option<T> {
        let previous = self.get_in(cx);
        let header = &cx.task().0.header;
        let mut values = header.context_values().map_or_else(HashMap::new, |values| HashMap::clone(&values));
        match value {
            Some(value) => values.insert(self.name, Arc::new(value)),
            None => values.remove(self.name),
        };
        let old = header.set_context_values((!values.is_empty()).then(|| Arc::new(values)));
        drop(old);
        previous
    }
}
