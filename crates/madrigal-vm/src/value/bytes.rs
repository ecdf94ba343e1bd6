//! Bytes: shared, immutable.

use std::fmt::{self, Write};
use std::ops::Deref;
use triomphe::Arc;

/// A sequence of bytes of the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(Arc<Vec<u8>>);

/// How many bytes are printed.
const SHOWN: usize = 32;

impl Bytes {
    /// The bytes, moved out when this is the only holder.
    pub fn into_vec(self) -> Vec<u8> {
        Arc::try_unwrap(self.0).unwrap_or_else(|shared| shared.to_vec())
    }

    /// Where the object lies in memory, for identity only.
    pub fn address(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(Arc::new(bytes))
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes::from(bytes.to_vec())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("b\"")?;
        self.iter().take(SHOWN).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        if self.len() > SHOWN {
            write!(f, "...+{}", self.len() - SHOWN)?;
        }
        f.write_char('"')
    }
}
