//! MySQL as unpacked by `tests/mysql/fetch`, and data directories that are prepared once.
//!
//! Preparing (initialising, certificates, users, a loaded workload) takes seconds to half a minute;
//! copying takes a moment. So each kind of data directory is made once per machine, kept beside the
//! unpacked MySQL, and copied for every server that starts from it.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::reaper;

/// Where MySQL was unpacked, or the one line that says why it cannot be had.
pub fn mysql() -> Result<&'static Path, String> {
    static PREFIX: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PREFIX
        .get_or_init(|| {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mysql/fetch");
            let output = Command::new(script)
                .output()
                .map_err(|error| format!("MySQL 9.7 cannot be had: {script}: {error}"))?;
            if output.status.success() {
                let path = String::from_utf8_lossy(&output.stdout);
                Ok(PathBuf::from(path.trim()))
            } else {
                let reason = String::from_utf8_lossy(&output.stderr);
                let line = reason
                    .trim()
                    .lines()
                    .next_back()
                    .unwrap_or("no reason given");
                Err(format!(
                    "MySQL 9.7 cannot be had ({line}); REJOIN_SKIP_MYSQL=1 skips these tests"
                ))
            }
        })
        .as_deref()
        .map_err(Clone::clone)
}

/// A program of the unpacked MySQL.
pub fn program(name: &str) -> PathBuf {
    mysql()
        .expect("scenarios run only where MySQL is there")
        .join("bin")
        .join(name)
}

/// The data directory `name`, made by `prepare` where it is not there yet.
///
/// `recipe` is everything that decides the content; another recipe makes another directory.
/// `prepare` gets an empty directory and leaves a cleanly shut down data directory in it. Two
/// processes that prepare at once both do the work; the one that ends later throws its own away.
pub fn template(name: &str, recipe: &[&str], prepare: impl FnOnce(&Path)) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let prefix = mysql().expect("scenarios run only where MySQL is there");
    let mut templates = prefix.as_os_str().to_owned();
    templates.push("-data");
    let templates = PathBuf::from(templates);
    let finished = templates.join(format!("{name}-{:016x}", hasher.finish()));
    if !finished.exists() {
        fs::create_dir_all(&templates).expect("the cache directory is writable");
        let unfinished = reaper::directory_in(&templates);
        let data = unfinished.path().join("data");
        prepare(&data);
        // Each server that starts from it draws an identity of its own.
        fs::remove_file(data.join("auto.cnf")).expect("a started server has left its identity");
        if let Err(error) = fs::rename(&data, &finished) {
            assert!(finished.exists(), "{}: {error}", finished.display());
        }
    }
    finished
}

/// Copies a prepared data directory.
pub fn copy(template: &Path, to: &Path) {
    let copied = Command::new("cp")
        .args(["-a", "--reflink=auto", "--sparse=auto"])
        .args([template, to])
        .status()
        .expect("cp is there");
    assert!(
        copied.success(),
        "copying {} to {}",
        template.display(),
        to.display()
    );
}
