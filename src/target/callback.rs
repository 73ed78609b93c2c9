//! A target that calls the host for each transaction.

use std::fmt;

use super::changes::{Change, Filter};
use super::{GroupCommit, Target};
use crate::Result;
use crate::gtid::GtidSet;
use crate::transaction::{Batch, Transaction};

/// Hands each transaction to a function, with its changes of the tables and columns that are wanted.
///
/// The function is called once for every transaction, also where nothing in it is wanted: its GTID is
/// executed with it. What the function has done has to be durable when it returns, GTID included, and
/// the host gives the set of them when it starts the next time.
///
/// ```
/// use rejoin::gtid::GtidSet;
/// use rejoin::target::schema::TableName;
/// use rejoin::target::{CallbackTarget, Change, Filter};
///
/// let orders = Filter::default().table(TableName::new("shop", "orders"));
/// let mut rows = 0;
/// let target = CallbackTarget::new(GtidSet::new(), orders, move |transaction, changes| {
///     let changed = changes.iter().filter(|change| matches!(change, Change::Row(_)));
///     rows += changed.count();
///     println!("{}: {rows} rows of orders have changed", transaction.gtid());
///     Ok(())
/// });
/// # drop(target);
/// ```
pub struct CallbackTarget<F> {
    executed: GtidSet,
    filter: Filter,
    call: F,
}

impl<F> fmt::Debug for CallbackTarget<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackTarget")
            .field("executed", &self.executed)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

impl<F> CallbackTarget<F>
where
    F: FnMut(&Transaction<'_>, &[Change<'_>]) -> Result<()> + Send,
{
    /// A target that has `executed` this much already.
    pub fn new(executed: GtidSet, filter: Filter, call: F) -> Self {
        Self {
            executed,
            filter,
            call,
        }
    }
}

impl<F> Target for CallbackTarget<F>
where
    F: FnMut(&Transaction<'_>, &[Change<'_>]) -> Result<()> + Send,
{
    fn gtid_executed(&self) -> GtidSet {
        self.executed.clone()
    }

    fn apply(&mut self, batch: &Batch) -> Result<()> {
        for transaction in batch.iter() {
            let changes = self.filter.changes(&transaction);
            changes
                .and_then(|changes| (self.call)(&transaction, &changes))
                .map_err(|error| error.at_gtid(*transaction.gtid()))?;
            self.executed.insert(transaction.gtid());
        }
        Ok(())
    }

    /// Nothing is shared between transactions here: they come as soon as they are there.
    fn group_commit(&self) -> GroupCommit {
        GroupCommit {
            transactions: 1,
            ..GroupCommit::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::binlog::Value;
    use crate::sample::{CREATE_TABLE, Change as Made, Item, Source};
    use crate::target::schema::TableName;
    use crate::{Error, ErrorKind};

    fn batch() -> Batch {
        let mut source = Source::new();
        source.statement(CREATE_TABLE);
        source.rows(&[Made::Insert(Item::new(1, "one"))]);
        source.rows(&[
            Made::Update(Item::new(1, "one"), Item::new(2, "two")),
            Made::Delete(Item::new(2, "two")),
            Made::InsertDefaults,
        ]);
        source.take()
    }

    fn seen(filter: Filter) -> Vec<Vec<String>> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        let mut target = CallbackTarget::new(GtidSet::new(), filter, move |_, changes| {
            let shown = changes.iter().map(|change| match change {
                Change::Statement { text, .. } => String::from_utf8_lossy(&text[..12]).into_owned(),
                Change::Row(row) => {
                    let ids = |values: &Option<Vec<(usize, Value<'_>)>>| match values.as_deref() {
                        Some([(0, Value::Int(id)), ..]) => id.to_string(),
                        Some(_) => "?".to_owned(),
                        None => "-".to_owned(),
                    };
                    format!("{} to {}", ids(&row.before), ids(&row.after))
                }
            });
            told.lock().unwrap().push(shown.collect());
            Ok(())
        });
        let batch = batch();
        target.apply(&batch).unwrap();
        assert_eq!(target.gtid_executed(), batch.gtids());
        let seen = seen.lock().unwrap();
        seen.clone()
    }

    #[test]
    fn each_transaction_is_told_once_with_what_is_wanted_of_it() {
        let all = [
            vec!["CREATE TABLE"],
            vec!["- to 1"],
            vec!["1 to 2", "2 to -", "- to ?"],
        ];
        assert_eq!(seen(Filter::default()), all);
        let items = TableName::new("shop", "items");
        assert_eq!(seen(Filter::default().table(items)), all);
        let others = Filter::default().table(TableName::new("shop", "others"));
        assert_eq!(seen(others), [vec!["CREATE TABLE"], vec![], vec![]]);
    }

    #[test]
    fn an_error_of_the_host_stops_in_front_of_its_transaction() {
        let mut calls = 0;
        let mut target = CallbackTarget::new(GtidSet::new(), Filter::default(), |_, _| {
            calls += 1;
            match calls {
                2 => Err(Error::new(ErrorKind::Transient, "busy")),
                _ => Ok(()),
            }
        });
        let batch = batch();
        let error = target.apply(&batch).unwrap_err();
        assert_eq!(error.gtid(), batch.get(1).map(|second| second.gtid()));
        assert_eq!(target.gtid_executed().count(), 1);
    }

    #[test]
    fn a_column_without_a_name_in_the_log_is_said_to_be_so() {
        let items = TableName::new("shop", "items");
        let filter = Filter::default().columns(items, ["id"]);
        let batch = batch();
        let second = batch.get(1).unwrap();
        let error = filter.changes(&second).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
        assert!(error.remedy_text().unwrap().contains("binlog_row_metadata"));
    }
}
