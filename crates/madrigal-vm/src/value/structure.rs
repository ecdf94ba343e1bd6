//! Struct instances: a shared shape (name and sorted field names) and one slot a field.

use super::display::drop_deep;
use super::{Str, Value};
use triomphe::Arc;

/// Name and fields of a struct; one per declaration, more when fields are added to instances.
#[derive(Debug)]
pub struct Shape {
    name: Str,
    /// Sorted.
    fields: Box<[Str]>,
}

impl Shape {
    /// A shape with these fields, in any order.
    pub fn new(name: Str, mut fields: Vec<Str>) -> Arc<Shape> {
        fields.sort();
        fields.dedup();
        Arc::new(Shape { name, fields: fields.into() })
    }

    /// Name of the struct.
    pub fn name(&self) -> &Str {
        &self.name
    }

    /// The field names, sorted.
    pub fn fields(&self) -> &[Str] {
        &self.fields
    }

    /// Slot of a field. Names come from the program's constants, so the same object is the common case.
    #[inline]
    pub fn position(&self, field: &Str) -> Option<usize> {
        let same = self.fields.iter().position(|it| it.same(field));
        same.or_else(|| self.fields.iter().position(|it| it == field))
    }
}

/// An instance of a struct.
#[derive(Clone, Debug)]
pub struct Struct(Arc<Instance>);

#[derive(Clone, Debug)]
struct Instance {
    shape: Arc<Shape>,
    /// One per field of `shape`; `Unset` is an absent field.
    slots: Box<[Value]>,
}

impl Struct {
    /// An instance; `slots` belong to the sorted fields of `shape`, absent ones are `Unset`.
    pub fn new(shape: Arc<Shape>, slots: Box<[Value]>) -> Struct {
        debug_assert_eq!(shape.fields.len(), slots.len());
        Struct(Arc::new(Instance { shape, slots }))
    }

    /// Its shape.
    pub fn shape(&self) -> &Arc<Shape> {
        &self.0.shape
    }

    /// Name of the struct.
    pub fn name(&self) -> &Str {
        &self.0.shape.name
    }

    /// The value of a field; `None` when absent.
    #[inline]
    pub fn get(&self, field: &Str) -> Option<&Value> {
        let slot = &self.0.slots[self.0.shape.position(field)?];
        (!matches!(slot, Value::Unset)).then_some(slot)
    }

    /// The present fields in alphabetical order.
    pub fn fields(&self) -> impl Iterator<Item = (&Str, &Value)> + '_ {
        let all = self.0.shape.fields.iter().zip(self.0.slots.iter());
        all.filter(|(_, value)| !matches!(value, Value::Unset))
    }

    /// Sets or adds a field; copies first when somebody else holds the instance.
    pub fn slot(&mut self, field: &Str) -> &mut Value {
        let position = match self.0.shape.position(field) {
            Some(position) => position,
            None => self.add(field),
        };
        let slot = &mut Arc::make_mut(&mut self.0).slots[position];
        if matches!(slot, Value::Unset) {
            *slot = Value::Nil;
        }
        slot
    }

    fn add(&mut self, field: &Str) -> usize {
        let mut fields = self.0.shape.fields.to_vec();
        let position = fields.partition_point(|it| it < field);
        fields.insert(position, field.clone());
        let mut slots = self.0.slots.to_vec();
        slots.insert(position, Value::Nil);
        let shape = Arc::new(Shape { name: self.0.shape.name.clone(), fields: fields.into() });
        self.0 = Arc::new(Instance { shape, slots: slots.into() });
        position
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.slots.iter().any(|it| !it.is_immediate()) {
            drop_deep(std::mem::take(&mut self.slots).into_vec());
        }
    }
}
