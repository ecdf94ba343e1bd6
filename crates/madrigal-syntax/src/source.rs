//! A source text with its line table: offsets to lines and columns.
//! Not here: reading files. Columns count code points, so a column costs a walk along its line.

/// 1-based line and column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in code points, from 1.
    pub column: u32,
}

/// A path, a text and where its lines start.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The path as errors print it.
    pub path: String,
    /// The text.
    pub text: String,
    line_starts: Vec<u32>,
}

impl SourceFile {
    /// Indexes `text`.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> SourceFile {
        let text = text.into();
        let line_starts = line_starts(&text);
        SourceFile { path: path.into(), text, line_starts }
    }

    /// The position of a byte offset; offsets beyond the end mean the end.
    pub fn position(&self, offset: u32) -> Position {
        position_in(&self.text, &self.line_starts, offset)
    }

    /// Just the 1-based line of a byte offset.
    pub fn line_of(&self, offset: u32) -> u32 {
        self.line_starts.partition_point(|&start| start <= offset).max(1) as u32
    }

    /// The text of a 1-based line without its newline.
    pub fn line(&self, line: u32) -> Option<&str> {
        let index = (line as usize).checked_sub(1)?;
        let start = *self.line_starts.get(index)? as usize;
        let rest = &self.text[start..];
        let line = rest.split('\n').next().unwrap_or(rest);
        Some(line.strip_suffix('\r').unwrap_or(line))
    }

    /// The byte offset of a position, when the line exists.
    pub fn offset(&self, position: Position) -> Option<u32> {
        let start = *self.line_starts.get((position.line as usize).checked_sub(1)?)?;
        let line = self.line(position.line)?;
        let column = position.column.saturating_sub(1) as usize;
        let within = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
        Some(start + within as u32)
    }
}

/// Byte offsets where the lines of `text` start.
pub(crate) fn line_starts(text: &str) -> Vec<u32> {
    let mut starts = vec![0];
    starts.extend(text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(at, _)| at as u32 + 1));
    starts
}

/// The position of `offset` in `text` with the given line table.
pub(crate) fn position_in(text: &str, line_starts: &[u32], offset: u32) -> Position {
    let offset = (offset as usize).min(text.len());
    let line = line_starts.partition_point(|&start| start as usize <= offset).max(1);
    let start = line_starts[line - 1] as usize;
    let before = text.get(start..offset).unwrap_or("");
    Position { line: line as u32, column: before.chars().count() as u32 + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_code_points() {
        let file = SourceFile::new("a", "ä = 1\nbé = 2");
        assert_eq!(file.position(3), Position { line: 1, column: 3 });
        assert_eq!(file.position(7), Position { line: 2, column: 1 });
        assert_eq!(file.position(10), Position { line: 2, column: 3 });
        assert_eq!(file.position(999).line, 2);
        assert_eq!(file.offset(Position { line: 2, column: 3 }), Some(10));
        assert_eq!(file.line(2), Some("bé = 2"));
        assert_eq!(file.line(3), None);
    }
}
