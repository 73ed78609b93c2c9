//! Stored rows from one definition of a table to the next.

use crate::Result;

use super::context::StatementContext;
use super::cursor::Parse;
use super::definition::TableDefinition;
use super::evolve::Successor;

/// Rewrites the stored rows of a table for one ALTER TABLE.
#[derive(Debug, Clone)]
pub struct RowTransform {}

impl RowTransform {
    pub(crate) fn plan(
        _old: &TableDefinition,
        _successors: &[Successor],
        _rows_change: Option<String>,
        _context: &StatementContext<'_>,
        _statement: &str,
    ) -> Parse<Option<Self>> {
        Ok(None)
    }

    /// Writes the row that `old_image` becomes to `new_image`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), naming the clause, where the row cannot
    /// be rewritten exactly as the server did.
    pub fn apply(&self, _old_image: &[u8], _new_image: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}
