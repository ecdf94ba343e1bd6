//! The registers and frames of a task: one contiguous stack of values, windows onto it, and a code pointer.
//! The only unsafe code of the interpreter is here. It rests on three facts: code is verified (`bytecode/verify.rs`), so
//! registers, constants and jump targets are in range; a frame's registers exist before it runs ([`Stack::reserve`]);
//! and a [`Window`] is made anew after everything that can grow the stack.

use crate::bytecode::{Instruction, Proto};
use crate::value::{ClosureObject, Value};
use std::ptr::NonNull;

/// All registers of a task. Above the innermost frame nothing is held but immediates.
#[derive(Debug, Default)]
pub(crate) struct Stack(Vec<Value>);

impl Stack {
    /// Makes sure that registers below `end` exist.
    #[inline]
    pub fn reserve(&mut self, end: usize) {
        if self.0.len() < end {
            self.grow(end);
        }
    }

    /// Whether registers below `end` exist.
    #[inline(always)]
    pub fn holds(&self, end: usize) -> bool {
        end <= self.0.len()
    }

    #[cold]
    fn grow(&mut self, end: usize) {
        let wanted = if self.0.is_empty() { end } else { end.max(self.0.len() * 2) };
        self.0.resize(wanted, Value::Nil);
    }

    /// Registers from `base` on.
    #[inline(always)]
    pub fn window(&mut self, base: usize) -> Window {
        debug_assert!(base <= self.0.len());
        // SAFETY: `base` is at most the length: every frame reserved its registers.
        Window(unsafe { self.0.as_mut_ptr().add(base) })
    }

    /// Empties the registers `start..end`.
    #[inline]
    pub fn clear(&mut self, start: usize, end: usize) {
        debug_assert!(end <= self.0.len());
        // SAFETY: frames reserve their registers before they run, and `end` is the end of one.
        for slot in unsafe { self.0.get_unchecked_mut(start..end) } {
            if !slot.is_immediate() {
                *slot = Value::Nil;
            }
        }
    }

    /// Writes one register, checked; cheap when it held an immediate.
    #[inline]
    pub fn put(&mut self, index: usize, value: Value) {
        let slot = &mut self.0[index];
        if slot.is_immediate() {
            // SAFETY: there is nothing to drop in the old value.
            unsafe { std::ptr::write(slot, value) };
        } else {
            *slot = value;
        }
    }

    /// One register, checked.
    pub fn at(&mut self, index: usize) -> &mut Value {
        &mut self.0[index]
    }

    /// Registers `start..end`, checked.
    pub fn range(&mut self, start: usize, end: usize) -> &mut [Value] {
        &mut self.0[start..end]
    }
}

/// The registers of a frame. Valid until the stack grows.
#[derive(Clone, Copy)]
pub(crate) struct Window(*mut Value);

impl Window {
    /// Register `r`, for reading.
    #[inline(always)]
    pub fn get<'a>(self, r: u16) -> &'a Value {
        // SAFETY: verified code names only registers of its frame, which exist; see the head of this file.
        unsafe { &*self.0.add(r as usize) }
    }

    /// Register `r`, for writing. Callers use one such reference at a time.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub fn get_mut<'a>(self, r: u16) -> &'a mut Value {
        // SAFETY: as in `get`; the interpreter never keeps two references to one register.
        unsafe { &mut *self.0.add(r as usize) }
    }

    /// Writes register `r`; cheap when it held an immediate.
    #[inline(always)]
    pub fn set(self, r: u16, value: Value) {
        // SAFETY: as in `get`. When the old value is an immediate there is nothing to drop.
        unsafe {
            let slot = self.0.add(r as usize);
            if (*slot).is_immediate() {
                std::ptr::write(slot, value);
            } else {
                *slot = value;
            }
        }
    }

    /// Moves register `r` out, leaving nil.
    #[inline(always)]
    pub fn take(self, r: u16) -> Value {
        self.get_mut(r).take()
    }

    /// Registers `start..start + count`.
    #[inline(always)]
    pub fn slice<'a>(self, start: u16, count: usize) -> &'a mut [Value] {
        // SAFETY: verified windows lie inside the frame's registers; see the head of this file.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start as usize), count) }
    }
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// The running function. Alive because its value stands below the frame's first register, or belongs to the
    /// program, or runs in a frame below.
    pub closure: NonNull<ClosureObject>,
    /// Index of its first register.
    pub base: u32,
    /// The next instruction.
    pub pc: u32,
    /// How many arguments were passed.
    pub passed: u32,
}

// SAFETY: the pointer is to a `ClosureObject`, which is `Send` and `Sync`, kept alive by the same task.
unsafe impl Send for Frame {}

impl Frame {
    /// The running function.
    #[inline(always)]
    pub fn closure<'a>(&self) -> &'a ClosureObject {
        // SAFETY: see the field.
        unsafe { self.closure.as_ref() }
    }

    /// Its code.
    #[inline(always)]
    pub fn proto<'a>(&self) -> &'a Proto {
        self.closure().proto()
    }
}

/// A place in the code of the running function.
#[derive(Clone, Copy)]
pub(crate) struct Code {
    start: *const Instruction,
    next: *const Instruction,
}

impl Code {
    /// Position `pc` of `proto`.
    #[inline(always)]
    pub fn of(proto: &Proto, pc: u32) -> Code {
        debug_assert!((pc as usize) < proto.code.len());
        let start = proto.code.as_ptr();
        // SAFETY: a frame's position lies inside its code.
        Code { start, next: unsafe { start.add(pc as usize) } }
    }

    /// The next instruction, which is passed.
    #[inline(always)]
    pub fn fetch(&mut self) -> Instruction {
        // SAFETY: verified code ends in a return or backward jump and jumps only inside itself.
        unsafe {
            let instruction = *self.next;
            self.next = self.next.add(1);
            instruction
        }
    }

    /// The next instruction, not passed.
    #[inline(always)]
    pub fn peek(&self) -> Instruction {
        // SAFETY: as in `fetch`.
        unsafe { *self.next }
    }

    /// Passes the next instruction.
    #[inline(always)]
    pub fn skip(&mut self) {
        // SAFETY: as in `fetch`: what is passed by is no last instruction.
        self.next = unsafe { self.next.add(1) };
    }

    /// Goes to position `to`.
    #[inline(always)]
    pub fn jump(&mut self, to: u32) {
        // SAFETY: verified jumps stay inside the code.
        self.next = unsafe { self.start.add(to as usize) };
    }

    /// Goes `count` instructions back from the next one.
    #[inline(always)]
    pub fn back(&mut self, count: u16) {
        // SAFETY: verified jumps stay inside the code.
        self.next = unsafe { self.next.sub(count as usize) };
    }

    /// Position of the next instruction.
    #[inline(always)]
    pub fn position(&self) -> u32 {
        // SAFETY: both point into one piece of code, `next` behind `start`.
        unsafe { self.next.offset_from(self.start) as u32 }
    }
}
