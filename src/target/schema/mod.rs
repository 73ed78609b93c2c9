//! Schemas as the log's statements make them, and what an ALTER TABLE does to stored rows.
//!
//! ```text
//! statement --token--> lexemes --statement, create, alter--> clauses --Catalog::apply--> SchemaChange
//!                                                               evolve: old + clauses = new definition
//! ALTER TABLE: old definition, new definition --transform--> RowTransform: stored row -> stored row
//! ```
//!
//! The scanner is tolerant: it reads what rows depend on and passes over the rest. It is never silently
//! wrong: an ALTER TABLE that it cannot classify marks the table, and the table's next row event is an
//! error that names the statement; a change of stored rows that cannot be reproduced exactly is an error
//! as soon as there is a row.

mod alter;
mod catalog;
mod charset;
mod column;
mod concerns;
mod context;
mod create;
mod cursor;
mod data_type;
mod decimal;
mod default;
mod definition;
mod encoding;
mod evolve;
mod key_value;
mod selected;
mod statement;
mod temporal;
#[cfg(test)]
mod tests;
mod text;
mod token;
mod transform;
mod value;
mod write;

pub(crate) use catalog::is_system;
pub use catalog::{Catalog, SchemaChange};
pub(crate) use charset::collation_facts;
pub(crate) use concerns::{Concerns, concerns};
pub use context::StatementContext;
pub use data_type::DataType;
pub use definition::{
    ColumnDefault, ColumnDefinition, Generated, Index, KeyPart, Literal, TableDefinition, TableName,
};
pub use key_value::KeyValue;
pub(crate) use selected::quoted;
pub(crate) use text::decode as decode_text;
pub use text::to_utf8;
pub use transform::RowTransform;
