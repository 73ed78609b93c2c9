//! The command line, as others script against it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::settings::{CloneOptions, DonorOptions, SettingsOptions};
use crate::journal::SyncRelayLog;
use crate::target::store::parallel_workers;

#[derive(Debug, Parser)]
#[command(
    name = "rejoin",
    version,
    about = "Bring a store up to date with a MySQL replication group, and keep it there",
    after_help = "Examples:\n  \
        rejoin recover --group mysql://recovery:secret@db1:3306,db2:3306 --store replica\n  \
        rejoin dump --store replica --table shop.orders\n\n\
        Exit codes: 0 done, 2 usage, 3 configuration or login, 4 no donor left, \
        5 target or applier, or a difference,\n  6 clone needed or errant transactions, 130 interrupted, \
        1 anything else"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Recover a store from a group; exits when it is ONLINE
    Recover(Box<Recover>),
    /// Show what recover would do and why, member by member; changes nothing
    Plan(Plan),
    /// Compare a store with a member of the group at one GTID set, row by row; changes nothing
    Verify(Verify),
    /// Print a store's rows in primary key order, as `mysql -BN` prints them
    Dump(Dump),
    /// Show what a store holds
    Status(Status),
    /// Serve binary logs as a donor to any joiner, MySQL servers included
    Donate(Donate),
    /// Show the events of binary logs and relay logs
    Inspect(Inspect),
    /// Run a whole group on loopback in this process: a load, a join, a donor killed in mid-transfer,
    /// ONLINE, every row compared; takes less than a minute and leaves nothing behind
    Demo(Demo),
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Print one JSON object a line on stdout
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Recover {
    #[command(flatten)]
    pub(super) group: Group,
    /// The directory of the store; it is created where it does not exist
    #[arg(long, value_name = "DIR")]
    pub(super) store: PathBuf,
    /// Stay after ONLINE and keep applying, until SIGINT or SIGTERM
    #[arg(long)]
    pub(super) follow: bool,
    /// Print one JSON object a line on stdout
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) settings: SettingsOptions,
    /// Bytes that the rows of all tables may take in memory; no bound without it
    #[arg(long, value_name = "BYTES")]
    pub(super) store_memory: Option<u64>,
    /// Threads that change rows where many transactions wait, each those of tables of its own; with 1 all
    /// happens in order on one thread
    #[arg(long, value_name = "N", default_value_t = parallel_workers() as u16,
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) replica_parallel_workers: u16,
    /// Bytes of received transactions that wait in memory; more waits in relay logs
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20)]
    pub(super) cache_bytes: usize,
    /// When the relay log waits for the disk: never (it takes only what does not fit in memory), each
    /// (transaction), after N transactions, or after Nms
    #[arg(long, value_name = "WHEN", default_value = "never", value_parser = sync_relay_log)]
    pub(super) sync_relay_log: SyncRelayLog,
    /// Compare every row with a member before the store is called ONLINE; exit code 5 where one differs
    #[arg(long)]
    pub(super) verify: bool,
    #[command(flatten)]
    pub(super) verbosity: Verbosity,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    pub(super) group: Group,
    /// The directory of the store
    #[arg(long, value_name = "DIR")]
    pub(super) store: PathBuf,
    /// Print one JSON object for each difference and each table, and one summary
    #[arg(long)]
    pub(super) json: bool,
    /// Rows that are compared at a time
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub(super) chunk_rows: usize,
    /// Bytes of rows to read from the member each second at most
    #[arg(long, value_name = "BYTES")]
    pub(super) max_rate: Option<u64>,
    /// Keep the position in this file; where it exists already, go on from there
    #[arg(long, value_name = "FILE")]
    pub(super) resume: Option<PathBuf>,
    #[command(flatten)]
    pub(super) verbosity: Verbosity,
}

fn sync_relay_log(text: &str) -> Result<SyncRelayLog, String> {
    let number = |digits: &str| digits.parse::<u32>();
    match text {
        "never" | "0" => Ok(SyncRelayLog::Never),
        "each" | "1" => Ok(SyncRelayLog::Each),
        _ => match text.strip_suffix("ms") {
            Some(digits) => number(digits)
                .map(|number| SyncRelayLog::Interval(Duration::from_millis(number.into()))),
            None => number(text).map(SyncRelayLog::Transactions),
        }
        .map_err(|_| "never, each, a number of transactions, or a number with ms".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(super) struct Group {
    /// The group: mysql://user:password@host:port[,host:port...]/?ssl-mode=...
    /// (without a password in it, REJOIN_PASSWORD of the environment is used)
    #[arg(long = "group", value_name = "URL")]
    pub(super) url: String,
    /// The user of the recovery channel, where it is not the URL's; its password is
    /// REJOIN_DONOR_PASSWORD of the environment
    #[arg(long, value_name = "NAME")]
    pub(super) donor_user: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Plan {
    #[command(flatten)]
    pub(super) group: Group,
    /// The directory of the store; one that does not exist counts as empty
    #[arg(long, value_name = "DIR")]
    pub(super) store: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) clone: CloneOptions,
    #[command(flatten)]
    pub(super) donors: DonorOptions,
}

#[derive(Debug, Args)]
pub(super) struct Verbosity {
    /// Say less on stderr: only warnings and errors
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Say more on stderr; twice for everything
    #[arg(long, short, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
}

#[derive(Debug, Args)]
#[group(id = "source", required = true, multiple = false, args = ["store", "binlog_dir"])]
pub(super) struct Donate {
    /// Serve the binary log of the store in this directory
    #[arg(long, value_name = "DIR")]
    pub(super) store: Option<PathBuf>,
    /// Serve the binary logs in this directory, with their .index file: a data directory of mysqld
    #[arg(long, value_name = "DIR")]
    pub(super) binlog_dir: Option<PathBuf>,
    /// Where to listen; port 0 leaves the port to the system
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) listen: String,
    /// The user that replicas log in as
    #[arg(long, value_name = "NAME")]
    pub(super) user: String,
    /// A file with the password of that user
    #[arg(long, value_name = "FILE")]
    pub(super) password_file: PathBuf,
    /// The certificate and its chain; without it one is made, as mysqld makes its own
    #[arg(long, value_name = "PEM", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,
    /// The certificate's key
    #[arg(long, value_name = "PEM", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// Bytes a second for all replicas together
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) max_rate: Option<u64>,
    #[command(flatten)]
    pub(super) verbosity: Verbosity,
}

#[derive(Debug, Args)]
pub(super) struct Dump {
    /// The directory of the store
    #[arg(long, value_name = "DIR")]
    pub(super) store: PathBuf,
    /// Only this table; without it every table, each behind a line `-- DB.TABLE`
    #[arg(long, value_name = "DB.TABLE")]
    pub(super) table: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// The directory of the store
    #[arg(long, value_name = "DIR")]
    pub(super) store: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Print one JSON object an event, and one with totals at the end
    #[arg(long)]
    pub(super) json: bool,
    /// With --json, the values of all rows too (text always has them)
    #[arg(long)]
    pub(super) rows: bool,
    /// Only transactions of this GTID set
    #[arg(long, value_name = "SET")]
    pub(super) include_gtids: Option<String>,
    /// Not the transactions of this GTID set
    #[arg(long, value_name = "SET")]
    pub(super) exclude_gtids: Option<String>,
    /// From the first transaction of this time on: 'YYYY-MM-DD hh:mm:ss' in UTC
    #[arg(long, value_name = "TIME")]
    pub(super) start_datetime: Option<String>,
    /// Up to the first transaction of this time, without it
    #[arg(long, value_name = "TIME")]
    pub(super) stop_datetime: Option<String>,
    /// Only transactions that touch this table, and of their rows only this table's; can be given
    /// several times
    #[arg(long, value_name = "DB.TABLE")]
    pub(super) table: Vec<String>,
    /// Read the row events of servers before 5.6 as well, which is an error otherwise, as in
    /// mysqlbinlog
    #[arg(long)]
    pub(super) v1_rows: bool,
    /// Binary logs or relay logs; - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,
}
