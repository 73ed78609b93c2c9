//! The only sockets of the crate: connections to MySQL servers, and from clients.
//!
//! ```text
//! Url / Endpoint + ConnectOptions -> Connection (TCP, TLS, login; text queries)
//!                                       -> BinlogStream (the recovery channel: events)
//! a listener's socket + ServerTls -> Accepted (the other side: packets of a client)
//! Closer: ends any of them from any thread
//! ```
//!
//! What the bytes mean is [`wire`](crate::wire)'s; here are addresses, timeouts, TLS, and the order
//! of statements in which a replica opens its stream. Every error names the server as `host:port`.

mod accepted;
mod binlog_stream;
mod closer;
mod connection;
mod endpoint;
mod options;
mod rows;
mod tls;
mod transport;
mod url;

pub use crate::wire::compression::Compression;
pub use crate::wire::login::{Secret, ServerInfo, ServerVersion};
pub use accepted::{Accepted, Input};
pub use binlog_stream::{BinlogStream, DumpRequest};
pub use closer::Closer;
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use options::{ConnectOptions, SslMode, TlsVersions};
pub use rows::Rows;
pub use tls::ServerTls;
pub use url::Url;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
