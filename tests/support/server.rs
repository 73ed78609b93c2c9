//! One mysqld on free loopback ports: start, SQL, kill, freeze, restart.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::prefix;
use super::reaper::{self, Directory};

/// The user of the recovery channel on every server of these tests.
pub const RECOVERY_USER: &str = "recovery";
/// Its password.
pub const RECOVERY_PASSWORD: &str = "Recover-1t";

/// Run once in every fresh data directory: the recovery user, with what MySQL's manual gives it
/// (binary log and clone) and the reading of the group's tables; `RESET` leaves no GTID behind.
const USERS: &str = "
SET sql_log_bin = 0;
CREATE USER recovery@'%' IDENTIFIED BY 'Recover-1t';
GRANT REPLICATION SLAVE, BACKUP_ADMIN, CLONE_ADMIN, CONNECTION_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO recovery@'%';
GRANT SELECT ON *.* TO recovery@'%';
RESET BINARY LOGS AND GTIDS;
";

/// Small, quick to start, and not waiting for the disk: every commit reaches the kernel, so that a
/// killed server has lost nothing, and only a crash of the machine could lose it.
const OPTIONS: &[&str] = &[
    "--mysqlx=OFF",
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--secure-file-priv=NULL",
    "--default-time-zone=+00:00",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--log-bin=binlog",
    "--relay-log=relay",
    "--report-host=127.0.0.1",
    "--plugin-load-add=group_replication.so",
    "--plugin-load-add=mysql_clone.so",
    "--innodb-buffer-pool-size=192M",
    "--innodb-redo-log-capacity=64M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-flush-method=fsync",
    "--innodb-doublewrite=OFF",
    "--innodb-log-writer-threads=OFF",
    "--innodb-fast-shutdown=1",
    "--sync-binlog=0",
];

/// How long a server may take to start or stop on a machine that others load.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running (or killed, or frozen) mysqld. Dropping it kills it and removes its files.
#[derive(Debug)]
pub struct Server {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    data: PathBuf,
    options: Vec<String>,
    process: Mutex<Option<Child>>,
    frozen: AtomicBool,
    directory: Directory,
}

impl Server {
    /// A single server with further command line options, started from an empty data directory.
    pub fn standalone(options: &[&str]) -> Server {
        Server::from_template(&initialised(), options)
    }

    /// A server on a copy of a prepared data directory.
    pub fn from_template(template: &Path, options: &[&str]) -> Server {
        let server = Server::prepare(options);
        prefix::copy(template, &server.data);
        server.launch();
        server
    }

    /// Everything but the data directory and the process.
    fn prepare(options: &[&str]) -> Server {
        let directory = reaper::directory();
        let port = free_port();
        Server {
            port,
            data: directory.path().join("data"),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            process: Mutex::new(None),
            frozen: AtomicBool::new(false),
            directory,
        }
    }

    /// The socket for `root`, who has no password there.
    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn command(&self) -> Command {
        let prefix = prefix::mysql().expect("scenarios run only where MySQL is there");
        let directory = self.directory.path();
        let path = |option: &str, value: &Path| {
            let mut argument = OsString::from(option);
            argument.push(value);
            argument
        };
        let mut command = Command::new(prefix.join("bin/mysqld"));
        command
            .arg("--no-defaults")
            .arg(path("--basedir=", &prefix.join("usr")))
            .arg(path("--lc-messages-dir=", &prefix.join("usr/share/mysql")))
            .arg(path(
                "--character-sets-dir=",
                &prefix.join("usr/share/mysql/charsets"),
            ))
            .arg(path("--plugin-dir=", &prefix.join("usr/lib/mysql/plugin")))
            .arg(path("--datadir=", &self.data))
            .arg(path("--socket=", &self.socket()))
            .arg(path("--pid-file=", &directory.join("pid")))
            .arg(path("--log-error=", &directory.join("error.log")))
            .arg(format!("--port={}", self.port))
            .arg(format!("--server-id={}", self.port))
            .arg(format!("--user={}", user()))
            .args(OPTIONS)
            .args(&self.options)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Starts the process and waits until it answers.
    pub fn launch(&self) {
        self.spawn();
        self.wait_ready();
    }

    /// Starts the process without waiting.
    pub fn spawn(&self) {
        let _ = fs::remove_file(self.socket());
        let child = self.command().spawn().expect("mysqld can be started");
        reaper::started(child.id());
        let before = self.process.lock().unwrap().replace(child);
        assert!(before.is_none(), "it ran already");
    }

    /// Waits until the server answers SQL.
    pub fn wait_ready(&self) {
        wait_until("mysqld answers", PATIENCE, || {
            let mut process = self.process.lock().unwrap();
            let child = process.as_mut().expect("it was started");
            if let Some(status) = child.try_wait().expect("its state can be asked") {
                panic!("mysqld ended with {status}:\n{}", self.error_log_tail());
            }
            UnixStream::connect(self.socket()).is_ok()
        });
        wait_until("mysqld accepts SQL", PATIENCE, || {
            self.try_sql("SELECT 1").is_ok()
        });
    }

    /// The process id while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.lock().unwrap().as_ref().map(Child::id)
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&self) {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
            reaper::ended(child.id());
            self.frozen.store(false, Ordering::Relaxed);
        }
    }

    /// SIGSTOP: connections stay open and nothing answers, as when a machine hangs.
    pub fn stop_process(&self) {
        self.signal("STOP");
        self.frozen.store(true, Ordering::Relaxed);
    }

    /// SIGCONT: the end of [`stop_process`](Self::stop_process).
    pub fn cont(&self) {
        self.signal("CONT");
        self.frozen.store(false, Ordering::Relaxed);
    }

    /// Whether [`stop_process`](Self::stop_process) holds it.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Relaxed)
    }

    fn signal(&self, name: &str) {
        let process = self.process_id().expect("it runs");
        // The shell's own kill: procps is not on every machine.
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {process}")])
            .status();
        assert!(
            sent.expect("sh is there").success(),
            "SIG{name} to {process}"
        );
    }

    /// A clean shutdown.
    pub fn shutdown(&self) {
        self.sql("SHUTDOWN");
        let mut process = self.process.lock().unwrap();
        let mut child = process.take().expect("it runs");
        wait_until("mysqld shuts down", PATIENCE, || {
            child.try_wait().is_ok_and(|end| end.is_some())
        });
        reaper::ended(child.id());
    }

    /// Kills it where it still runs and starts it again on its data.
    pub fn restart(&self) {
        self.kill();
        self.launch();
    }

    /// Runs statements as root and gives what `mysql -BN` prints, without the last line's end.
    ///
    /// # Panics
    /// With the server's message where a statement fails.
    pub fn sql(&self, statements: &str) -> String {
        let output = self.sql_bytes(statements).unwrap_or_else(|message| {
            let start: String = statements.trim().chars().take(200).collect();
            panic!("port {}: {message} in: {start}", self.port)
        });
        String::from_utf8(output)
            .expect("text was asked for")
            .trim_end_matches('\n')
            .to_owned()
    }

    /// As [`sql`](Self::sql), with the failure as a value.
    pub fn try_sql(&self, statements: &str) -> Result<String, String> {
        let output = self.sql_bytes(statements)?;
        Ok(String::from_utf8_lossy(&output)
            .trim_end_matches('\n')
            .to_owned())
    }

    /// What `mysql -BN` prints, to the byte.
    pub fn sql_bytes(&self, statements: &str) -> Result<Vec<u8>, String> {
        let mut child = self
            .client(&["-BN"])
            .spawn()
            .expect("the mysql client starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        let text = statements.to_owned();
        // Beside the reading of the answer: either pipe may fill up.
        let feeder = thread::spawn(move || {
            let _ = stdin.write_all(text.as_bytes());
        });
        let output = child.wait_with_output().expect("the mysql client ends");
        let _ = feeder.join();
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// A client that stays connected, for questions that cannot wait for a connection each time.
    pub fn session(&self) -> Session {
        let mut child = self
            .client(&["-BN", "--unbuffered"])
            .spawn()
            .expect("the mysql client starts");
        let questions = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Session {
            child,
            questions,
            answers,
        }
    }

    /// A `mysql` client as root with piped input and output.
    pub fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(prefix::program("mysql"));
        command
            .args([
                "--no-defaults",
                "--user=root",
                "--default-character-set=utf8mb4",
                "--max-allowed-packet=1G",
            ])
            .arg(format!("--socket={}", self.socket().display()))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Its `server_uuid`.
    pub fn uuid(&self) -> String {
        self.sql("SELECT @@server_uuid")
    }

    /// Its `gtid_executed`, on one line.
    pub fn executed(&self) -> String {
        self.sql("SELECT REPLACE(@@gtid_executed, '\\n', '')")
    }

    /// The files of its binary log, oldest first.
    pub fn binary_logs(&self) -> Vec<PathBuf> {
        let names = self.sql("SHOW BINARY LOGS");
        names
            .lines()
            .filter_map(|line| line.split('\t').next())
            .map(|name| self.data.join(name))
            .collect()
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The URL for `rejoin --group` with this server alone.
    pub fn url(&self) -> String {
        url(&[self.port])
    }

    /// The whole error log.
    pub fn error_log(&self) -> String {
        fs::read_to_string(self.directory.path().join("error.log")).unwrap_or_default()
    }

    fn error_log_tail(&self) -> String {
        let log = self.error_log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

/// A client that stays connected as root.
#[derive(Debug)]
pub struct Session {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Session {
    /// Asks a question whose answer is one row of one number.
    pub fn number(&mut self, question: &str) -> u64 {
        writeln!(self.questions, "{question};").expect("the client reads");
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .expect("the client answers");
        answer
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{question}: {answer:?}"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(process) = self.process.get_mut()
            && let Some(mut child) = process.take()
        {
            let _ = child.kill();
            let _ = child.wait();
            reaper::ended(child.id());
        }
        if thread::panicking() {
            eprintln!(
                "end of the error log of port {}:\n{}",
                self.port,
                self.error_log_tail()
            );
        }
    }
}

/// The URL for `rejoin --group` with these ports as seeds.
pub fn url(ports: &[u16]) -> String {
    url_as(RECOVERY_USER, RECOVERY_PASSWORD, ports)
}

/// The same as another user.
pub fn url_as(user: &str, password: &str, ports: &[u16]) -> String {
    let seeds: Vec<String> = ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    format!("mysql://{user}:{password}@{}/", seeds.join(","))
}

/// An initialised data directory with the recovery user, certificates and an empty GTID set.
pub fn initialised() -> PathBuf {
    let recipe: Vec<&str> = OPTIONS.iter().copied().chain([USERS]).collect();
    prefix::template("empty", &recipe, |data| {
        prepared_by(data, |server| {
            let done = server
                .command()
                // Plugins are not loaded while it initialises, and no binary log is to begin.
                .args(["--initialize-insecure", "--skip-log-bin"])
                .status()
                .expect("mysqld can be started");
            assert!(
                done.success(),
                "mysqld --initialize-insecure:\n{}",
                server.error_log_tail()
            );
            server.launch();
            server.sql(USERS);
        });
    })
}

/// Fills the template directory `data` by a server of its own, which is shut down at the end.
pub fn prepared_by(data: &Path, prepare: impl FnOnce(&Server)) {
    let mut server = Server::prepare(&[]);
    server.data = data.to_owned();
    prepare(&server);
    server.shutdown();
}

/// A loopback port that nobody listens on, below those that the kernel hands out to clients.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// mysqld refuses to run as root unless it is told to.
fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("id is there");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Asks `condition` again and again until it holds.
///
/// # Panics
/// After `patience`, naming `what` was waited for.
pub fn wait_until(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !condition() {
        assert!(
            Instant::now() < end,
            "waited {} s in vain: {what}",
            patience.as_secs()
        );
        thread::sleep(Duration::from_millis(50));
    }
}
