//! Strings: shared text that knows whether it is ASCII, so that indexing by code point is O(1) there, and that is
//! extended in place when nobody else holds it.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use triomphe::Arc;

/// A string of the language.
#[derive(Clone)]
pub struct Str(Arc<Text>);

#[derive(Clone)]
struct Text {
    text: String,
    /// All bytes of `text` are ASCII.
    ascii: bool,
}

impl Str {
    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Number of code points.
    pub fn count(&self) -> usize {
        if self.0.ascii { self.0.text.len() } else { self.0.text.chars().count() }
    }

    /// Whether there is no character.
    pub fn is_empty(&self) -> bool {
        self.0.text.is_empty()
    }

    /// Whether every character is ASCII.
    pub fn is_ascii(&self) -> bool {
        self.0.ascii
    }

    /// The code points `start..end` (both within the count, `start <= end`).
    pub fn slice(&self, start: usize, end: usize) -> Str {
        if self.0.ascii {
            return Str(Arc::new(Text { text: self.0.text[start..end].to_owned(), ascii: true }));
        }
        Str::from(self.0.text.chars().skip(start).take(end - start).collect::<String>())
    }

    /// The character at `index` as a string.
    pub fn at(&self, index: usize) -> Option<Str> {
        if self.0.ascii {
            return (index < self.0.text.len()).then(|| self.slice(index, index + 1));
        }
        self.0.text.chars().nth(index).map(Str::from)
    }

    /// Appends in place when this is the only holder, else to a copy.
    pub fn push_str(&mut self, more: &str) {
        let ascii = more.is_ascii();
        match Arc::get_mut(&mut self.0) {
            Some(own) => {
                own.text.push_str(more);
                own.ascii &= ascii;
            }
            None => {
                let mut text = String::with_capacity(self.0.text.len() + more.len());
                text.push_str(&self.0.text);
                text.push_str(more);
                *self = Str(Arc::new(Text { text, ascii: self.0.ascii && ascii }));
            }
        }
    }

    /// Where the object lies in memory, for identity only.
    pub fn address(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }

    /// Whether both are the same object in memory.
    #[inline]
    pub fn same(&self, other: &Str) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Str {
        Str::from(text.to_owned())
    }
}

impl From<&String> for Str {
    fn from(text: &String) -> Str {
        Str::from(text.clone())
    }
}

impl From<&Str> for Str {
    fn from(text: &Str) -> Str {
        text.clone()
    }
}

impl From<String> for Str {
    fn from(text: String) -> Str {
        let ascii = text.is_ascii();
        Str(Arc::new(Text { text, ascii }))
    }
}

impl From<char> for Str {
    fn from(it: char) -> Str {
        Str::from(String::from(it))
    }
}

impl std::ops::Deref for Str {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Str {
    #[inline]
    fn eq(&self, other: &Str) -> bool {
        self.same(other) || self.as_str() == other.as_str()
    }
}

impl Eq for Str {}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Str) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Str) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
