//! `rejoin donate` as a process, and real replicas of it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::reaper::{self, Directory};
use super::server::{RECOVERY_PASSWORD, RECOVERY_USER, Server, wait_until};

/// A running `rejoin donate`.
#[derive(Debug)]
pub struct Donating {
    pub port: u16,
    child: Child,
    messages: Option<JoinHandle<String>>,
    _directory: Directory,
}

impl Donating {
    /// Serves the binary logs in a directory on a port that the system chooses.
    pub fn binlog_dir(directory: &Path) -> Donating {
        Donating::start("--binlog-dir", directory, 0, &[])
    }

    /// Serves `directory`, which `option` names, on `port`.
    pub fn start(option: &str, directory: &Path, port: u16, more: &[&str]) -> Donating {
        let files = reaper::directory();
        let password = files.path().join("password");
        fs::write(&password, format!("{RECOVERY_PASSWORD}\n")).expect("a file can be written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_rejoin"))
            .args(["donate", option])
            .arg(directory)
            .arg(format!("--listen=127.0.0.1:{port}"))
            .arg(format!("--user={RECOVERY_USER}"))
            .arg("--password-file")
            .arg(&password)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rejoin starts");
        reaper::started(child.id());
        let mut stderr = child.stderr.take().expect("it is piped");
        let messages = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        stdout.read_line(&mut line).expect("its output can be read");
        let port = line
            .trim()
            .strip_prefix("listening on 127.0.0.1:")
            .and_then(|port| port.parse().ok());
        let Some(port) = port else {
            let _ = child.kill();
            panic!(
                "rejoin donate: {line}{}",
                messages.join().unwrap_or_default()
            );
        };
        Donating {
            port,
            child,
            messages: Some(messages),
            _directory: files,
        }
    }

    /// SIGTERM: ends cleanly, soon, whoever waits for what; gives what it has logged.
    pub fn stop(mut self) -> String {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -TERM {}", self.child.id())])
            .status();
        assert!(sent.expect("sh is there").success());
        let mut code = None;
        wait_until("rejoin donate ends", Duration::from_secs(30), || {
            code = self.child.try_wait().expect("its state can be asked");
            code.is_some()
        });
        assert!(code.is_some_and(|code| code.success()), "{code:?}");
        reaper::ended(self.child.id());
        let messages = self.messages.take().map(JoinHandle::join);
        messages.expect("asked once").unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.messages.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            reaper::ended(self.child.id());
        }
    }

    /// Memory that it has in use, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("it runs, on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB"));
        kilobytes
            .and_then(|number| number.trim().parse::<u64>().ok())
            .expect("VmRSS is a number")
            << 10
    }
}

impl Drop for Donating {
    fn drop(&mut self) {
        self.end();
    }
}

/// A server to be a replica. On a busy machine one worker is faster than several that wait for each
/// other.
pub fn quick_replica() -> Server {
    Server::standalone(&[
        "--innodb-flush-log-at-trx-commit=0",
        "--replica-parallel-workers=1",
    ])
}

/// Makes `server` a replica of the source on `port`, as MySQL's manual says, and starts it.
pub fn replicate(server: &Server, port: u16) {
    server.sql(&format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port},
            SOURCE_USER='{RECOVERY_USER}', SOURCE_PASSWORD='{RECOVERY_PASSWORD}',
            SOURCE_AUTO_POSITION=1, SOURCE_SSL=1, SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=1000;
         START REPLICA"
    ));
}

/// Waits until the replica has executed all of `gtids`.
pub fn wait_for_gtids(replica: &Server, gtids: &str, patience: Duration) {
    wait_until("the replica has everything", patience, || {
        let errors = replica.sql(
            "SELECT CONCAT(IFNULL(c.last_error_number, 0), ' ', IFNULL(c.last_error_message, '')),
                    IFNULL((SELECT GROUP_CONCAT(last_error_message)
                            FROM performance_schema.replication_applier_status_by_worker
                            WHERE last_error_number > 0), '')
             FROM performance_schema.replication_connection_status c WHERE channel_name = ''",
        );
        // While the donor is restarted the replica cannot connect: 2003, 2013.
        let fatal =
            errors.contains("13114") || errors.contains("1236") || errors.contains("Worker");
        assert!(!fatal, "the replica has stopped: {errors}");
        replica.sql(&format!("SELECT GTID_SUBSET('{gtids}', @@gtid_executed)")) == "1"
    });
}
