//! The `rejoin` binary under test: started, watched through its JSON lines, killed, waited for.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::reaper;

/// The longest that any run of these tests may take; a hang is a failure, not a stuck CI.
const PATIENCE: Duration = Duration::from_secs(300);

/// A `rejoin` command line, JSON asked for.
pub fn command(subcommand: &str, store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin"));
    command
        .arg(subcommand)
        .arg("--store")
        .arg(store)
        .stdin(Stdio::null());
    command
}

/// `rejoin recover --json` against a group, ready for further arguments.
pub fn recover(url: &str, store: &Path) -> Command {
    let mut command = command("recover", store);
    command.args(["--group", url, "--json"]);
    command
}

/// What `rejoin dump` prints of one table.
pub fn dump(store: &Path, table: &str) -> Vec<u8> {
    let output = command("dump", store)
        .args(["--table", table])
        .output()
        .expect("rejoin starts");
    assert!(
        output.status.success(),
        "rejoin dump --table {table}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// The executed GTID set that `rejoin status` reports.
pub fn executed(store: &Path) -> String {
    let output = command("status", store)
        .arg("--json")
        .output()
        .expect("rejoin starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "rejoin status: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let status: Value = serde_json::from_str(text.trim()).expect("one JSON object");
    status["gtid_executed"]
        .as_str()
        .expect("status names gtid_executed")
        .to_owned()
}

/// A run that has ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub events: Vec<Value>,
    pub stderr: String,
    pub took: Duration,
}

impl Outcome {
    /// The events of one kind.
    pub fn events(&self, kind: &str) -> Vec<&Value> {
        self.events
            .iter()
            .filter(|event| event["event"] == kind)
            .collect()
    }

    /// The last event, which is `online` or `error`.
    pub fn last(&self) -> &Value {
        self.events.last().unwrap_or(&Value::Null)
    }

    /// Checks that the member was declared ONLINE and gives that event.
    pub fn expect_online(&self) -> &Value {
        assert_eq!(self.code, Some(0), "{}", self.story());
        assert_eq!(self.last()["event"], "online", "{}", self.story());
        self.last()
    }

    /// Checks that it ended with this exit code, an `error` event, and one clear message.
    pub fn expect_error(&self, code: i32) -> &Value {
        assert_eq!(self.code, Some(code), "{}", self.story());
        assert_eq!(self.last()["event"], "error", "{}", self.story());
        let message = self.last()["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{}", self.story());
        // Log lines may precede it; what a person reads last is the message, said once.
        assert!(
            self.stderr.contains(message),
            "stderr has not the message: {}",
            self.story()
        );
        let told = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("error:"))
            .count();
        assert_eq!(told, 1, "one line says the error: {}", self.story());
        self.last()
    }

    /// Everything, for the message of a failed check.
    pub fn story(&self) -> String {
        let kept: Vec<String> = self
            .events
            .iter()
            .filter(|event| event["event"] != "progress")
            .map(Value::to_string)
            .collect();
        format!(
            "exit code {:?}\n{}\nstderr:\n{}",
            self.code,
            kept.join("\n"),
            self.stderr
        )
    }
}

/// A run under way.
#[derive(Debug)]
pub struct Running {
    child: Child,
    started: Instant,
    events: Arc<Mutex<Vec<Value>>>,
    /// How many of them [`wait_for`](Running::wait_for) has looked at.
    seen: usize,
    readers: Vec<JoinHandle<String>>,
}

impl Running {
    /// Starts the command and collects what it says.
    pub fn start(command: &mut Command) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rejoin starts");
        reaper::started(child.id());
        let events = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take().expect("it is piped");
        let mut stderr = child.stderr.take().expect("it is piped");
        let collected = Arc::clone(&events);
        let lines = thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                // A killed run may leave half a line behind.
                if let Ok(event) = serde_json::from_str(&line) {
                    collected.lock().unwrap().push(event);
                }
            }
            String::new()
        });
        let messages = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Running {
            child,
            started: Instant::now(),
            events,
            seen: 0,
            readers: vec![lines, messages],
        }
    }

    /// The events until now.
    pub fn events(&self) -> Vec<Value> {
        self.events.lock().unwrap().clone()
    }

    /// Waits for an event for which `wanted` gives something; nothing where the run ends before.
    /// Each event is shown once, over all calls.
    pub fn wait_for<T>(&mut self, mut wanted: impl FnMut(&Value) -> Option<T>) -> Option<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            let ended = self
                .child
                .try_wait()
                .expect("its state can be asked")
                .is_some();
            let events = self.events();
            while self.seen < events.len() {
                let event = &events[self.seen];
                self.seen += 1;
                if let Some(found) = wanted(event) {
                    return Some(found);
                }
            }
            if ended {
                return None;
            }
            assert!(
                Instant::now() < end,
                "waited in vain for an event; had {events:?}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("its state can be asked")
            .is_none()
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -INT {}", self.child.id())])
            .status();
        assert!(sent.expect("sh is there").success());
    }

    /// SIGKILL after `delay`, unless it ends by itself before.
    pub fn kill_after(mut self, delay: Duration) -> Outcome {
        let end = Instant::now() + delay;
        while Instant::now() < end && self.child.try_wait().is_ok_and(|status| status.is_none()) {
            thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        self.wait()
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Outcome {
        let mut status: Option<ExitStatus> = None;
        let mut hung = false;
        let end = Instant::now() + PATIENCE;
        while status.is_none() {
            status = self.child.try_wait().expect("its state can be asked");
            if status.is_none() && !hung && Instant::now() > end {
                hung = true;
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(2));
        }
        reaper::ended(self.child.id());
        let took = self.started.elapsed();
        let stderr = self
            .readers
            .drain(..)
            .map(|reader| reader.join().unwrap_or_default())
            .collect();
        let outcome = Outcome {
            code: status.and_then(|status| status.code()),
            events: std::mem::take(&mut self.events.lock().unwrap()),
            stderr,
            took,
        };
        assert!(!hung, "rejoin hung: {}", outcome.story());
        outcome
    }
}

/// Runs the command to its end.
pub fn run(command: &mut Command) -> Outcome {
    Running::start(command).wait()
}
