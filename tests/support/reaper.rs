//! Stops what was started and removes its files, however this process ends.
//!
//! A test process can end by a panic, a signal, SIGKILL or its runner's time limit. Beside it runs
//! one small shell that reads a pipe: which process ids are ours, which directories. When the pipe
//! closes, this process is gone; the shell kills those that are left and removes the directories.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// Reads `start PID`, `end PID`, `make DIR`, `remove DIR` until the pipe closes.
///
/// A session of its own and deaf to the terminal's signals, so that it outlives a Ctrl-C. A process
/// is killed only while its command line still names a directory of ours: ids are used again.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
processes=' '
directories=''
while read -r verb value; do
    case "$verb" in
    start) processes="$processes$value " ;;
    end) processes="${processes%% $value *} ${processes#* $value }" ;;
    make) directories="$directories
$value" ;;
    remove) rm -rf "$value" ;;
    esac
done
for process in $processes; do
    if tr '\0' ' ' <"/proc/$process/cmdline" 2>/dev/null | grep -q /rejoin-; then
        kill -KILL "$process" 2>/dev/null
    fi
done
sleep 0.2
printf '%s\n' "$directories" | while read -r directory; do
    [ -z "$directory" ] || rm -rf "$directory"
done
"#;

fn tell(verb: &str, value: &str) {
    static SHELL: OnceLock<Mutex<Child>> = OnceLock::new();
    let shell = SHELL.get_or_init(|| {
        let child = Command::new("setsid")
            .args(["sh", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("setsid and sh are there");
        Mutex::new(child)
    });
    let mut shell = shell
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let pipe = shell.stdin.as_mut().expect("the pipe is ours");
    writeln!(pipe, "{verb} {value}").expect("the reaper reads");
}

/// From now on this process is killed when we are gone.
pub fn started(process: u32) {
    tell("start", &process.to_string());
}

/// This process has ended and was waited for: its id may belong to somebody else.
pub fn ended(process: u32) {
    tell("end", &process.to_string());
}

/// A directory that goes when this value or this process goes.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Where it is; short enough for a Unix socket inside.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        tell("remove", &self.0.to_string_lossy());
    }
}

/// A new empty directory under the system's temporary directory.
pub fn directory() -> Directory {
    directory_in(&std::env::temp_dir())
}

/// A new empty directory under `parent`.
pub fn directory_in(parent: &Path) -> Directory {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = parent.join(format!("rejoin-{}-{count}", std::process::id()));
    tell("make", &path.to_string_lossy());
    // One of an earlier process with our id, whose reaper was killed too.
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Directory(path)
}
