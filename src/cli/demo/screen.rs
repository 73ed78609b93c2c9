//! What the demo shows: a live screen on a terminal, lines elsewhere, JSON for machines.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use console::style as colored;
use indicatif::{
    HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState,
    ProgressStyle,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::Error;
use crate::cli::json;
use crate::engine::{CloneState, Event, Status};
use crate::recovery::{Method, Phase};

/// How often progress is a line, where there is no screen.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// At least one a second, whatever the machine does.
const JSON_INTERVAL: Duration = Duration::from_millis(500);

/// Where it is shown.
pub(super) enum Screen {
    Live(Live),
    Lines(Pace),
    Json(Pace),
}

/// The last time that progress was told.
#[derive(Default)]
pub(super) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    fn is_due(&self, interval: Duration) -> bool {
        let mut last = self.0.lock();
        let is_due = last.is_none_or(|at| at.elapsed() >= interval);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// A member as the screen shows it.
pub(super) struct Shown<'a> {
    pub(super) name: &'a str,
    pub(super) port: u16,
    pub(super) state: &'static str,
    /// `None` of one that is gone.
    pub(super) status: Option<&'a Status>,
    /// The donor's name, while there is one.
    pub(super) donor: Option<String>,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        if json {
            Self::Json(Pace::default())
        } else if std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
            Self::Live(Live::new())
        } else {
            Self::Lines(Pace::default())
        }
    }

    /// An act begins.
    pub(super) fn act(&self, number: usize, title: &str) {
        match self {
            Self::Live(live) => {
                live.print(&format!(
                    "\n{}",
                    colored(format!("{number}. {title}")).bold()
                ));
            }
            Self::Lines(_) => line(&format!("{number}. {title}")),
            Self::Json(_) => json::print("act", json!({ "number": number, "title": title })),
        }
    }

    /// Something has happened: a line for people, an event for machines.
    pub(super) fn tell(&self, text: &str, event: &str, body: Value) {
        match self {
            Self::Live(live) => live.print(&format!("   {text}")),
            Self::Lines(_) => line(&format!("   {text}")),
            Self::Json(_) => json::print(event, body),
        }
    }

    /// A step of the recovery of `member`; `name_of` tells which member listens on a port.
    pub(super) fn recovery(
        &self,
        member: &str,
        event: &Event,
        status: &Status,
        name_of: impl Fn(u16) -> String,
    ) {
        let text = match event {
            Event::Planned(plan) => format!(
                "{member} lacks {} transactions: {}",
                HumanCount(plan.missing.count()),
                match plan.method {
                    Method::Nothing => "nothing to be done",
                    Method::BinaryLog => "they are fetched from a donor's binary log",
                    Method::Clone => "a donor's data is cloned",
                    Method::Impossible => "nobody has them",
                }
            ),
            Event::Clone {
                donor,
                progress,
                state,
            } => {
                let donor = name_of(donor.address.port);
                match state {
                    CloneState::Complete => format!(
                        "{member} has all of {donor}: {} rows, {}",
                        HumanCount(progress.rows),
                        HumanBytes(progress.bytes)
                    ),
                    CloneState::Failed { message, .. } => {
                        format!("{member} cannot clone {donor}: {message}")
                    }
                    CloneState::Copying => format!("{member} clones {donor}"),
                }
            }
            Event::Donor { attempt, of, donor } => format!(
                "{member} asks donor {} (attempt {attempt} of {of})",
                name_of(donor.address.port)
            ),
            Event::Failover(record) => {
                let why = record.end.as_ref().map_or("", |end| &end.message);
                format!(
                    "{member} has lost donor {} after {} transactions: {why}",
                    name_of(record.donor.address.port),
                    HumanCount(record.applied)
                )
            }
            Event::Sleep(time) => format!(
                "{member} has tried all donors and sleeps {} s",
                time.as_secs()
            ),
            Event::CatchUp => {
                format!("{member} is in phase 2: it applies what the group did meanwhile")
            }
            Event::Online {
                transactions,
                elapsed,
                attempts,
                ..
            } => format!(
                "{member} is ONLINE after {:.1} s: {} transactions applied, {attempts} attempts",
                elapsed.as_secs_f64(),
                HumanCount(*transactions)
            ),
        };
        // How far it is, is shown with the progress.
        let goes_on = matches!(
            event,
            Event::Clone { state: CloneState::Copying, progress, .. } if progress.rows > 0
        );
        match (self, json::describe(event, &status.attempt_records)) {
            (Self::Json(_), Some((name, mut body))) => {
                body["member"] = json!(member);
                json::print(name, body);
            }
            (Self::Json(_), None) => {}
            _ if goes_on => {}
            _ => self.tell(&text, "", Value::Null),
        }
    }

    /// How all members stand, and the load.
    pub(super) fn show(&self, members: &[Shown<'_>], written: u64, rate: u64) {
        match self {
            Self::Live(live) => live.show(members, written, rate),
            Self::Lines(pace) => {
                let Some(joiner) = joiner(members) else {
                    return;
                };
                if pace.is_due(LINE_INTERVAL) {
                    line(&format!("   {}: {}", joiner.name, progress_of(joiner)));
                }
            }
            Self::Json(pace) => {
                let joiner = joiner(members);
                if let Some((joiner, status)) = joiner.and_then(|j| Some((j, j.status?)))
                    && pace.is_due(JSON_INTERVAL)
                {
                    let mut body = json::measures(status);
                    body["member"] = json!(joiner.name);
                    body["load"] = json!({ "transactions": written, "rate": rate });
                    json::print("progress", body);
                }
            }
        }
    }

    /// The end, which is the last line.
    pub(super) fn end(&self, result: Result<(String, Value), &Error>) {
        if let Self::Live(live) = self {
            live.clear();
        }
        match (self, result) {
            (Self::Json(_), Ok((_, body))) => json::print("verified", body),
            (Self::Json(_), Err(error)) => json::error(error),
            (Self::Live(_), Ok((text, _))) => line(&format!("\n{}", colored(text).green().bold())),
            (Self::Lines(_), Ok((text, _))) => line(&text),
            // The caller says it on stderr.
            (Self::Live(_) | Self::Lines(_), Err(_)) => {}
        }
    }
}

/// The member that is on its way.
fn joiner<'a, 'b>(members: &'a [Shown<'b>]) -> Option<&'a Shown<'b>> {
    members.iter().find(|member| {
        let phase = member.status.map(|status| status.phase);
        member.state == RECOVERING && phase != Some(Phase::Joining)
    })
}

pub(super) const RECOVERING: &str = "RECOVERING";
pub(super) const ONLINE: &str = "ONLINE";
pub(super) const KILLED: &str = "KILLED";

/// Phase, donor, rate and time left.
fn progress_of(member: &Shown<'_>) -> String {
    let Some(status) = member.status else {
        return String::new();
    };
    let mut text = match status.phase {
        Phase::RelayLog => "applies its relay log".to_owned(),
        Phase::Joining => "joins".to_owned(),
        Phase::Cloning => {
            let from = member.donor.as_deref().unwrap_or("a donor");
            let clone = status.clone.unwrap_or_default();
            let (rows, bytes) = (HumanCount(clone.rows), HumanBytes(clone.bytes));
            return format!("cloned from {from}, {rows} rows, {bytes}");
        }
        Phase::Sleeping => "sleeps".to_owned(),
        Phase::Transfer => match &member.donor {
            Some(donor) => format!("phase 1 from {donor}"),
            None => "phase 1".to_owned(),
        },
        Phase::CatchUp => "phase 2".to_owned(),
        Phase::Online | Phase::Ended => String::new(),
    };
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        ", {}/{}, {}/s",
        HumanCount(status.transactions),
        HumanCount(status.transactions + status.missing + status.queued),
        HumanCount(status.rate),
    );
    if let Some(time) = status.eta {
        let _ = write!(text, ", {} s left", time.as_secs());
    }
    if status.queued > 0 {
        let _ = write!(text, ", {} queued", HumanCount(status.queued));
    }
    text
}

/// What stays on the terminal is printed above; below it, a line for each member and the load.
pub(super) struct Live {
    all: MultiProgress,
    rows: Mutex<Vec<(String, &'static str, ProgressBar)>>,
    load: ProgressBar,
}

impl Live {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let load = all.add(ProgressBar::new_spinner());
        load.set_style(style("\n   {prefix:<4.bold}  {msg}"));
        load.set_prefix("load");
        Self {
            all,
            rows: Mutex::default(),
            load,
        }
    }

    fn print(&self, text: &str) {
        // A terminal that is gone sees nothing.
        let _ = self.all.println(text);
    }

    fn show(&self, members: &[Shown<'_>], written: u64, rate: u64) {
        let mut rows = self.rows.lock();
        for member in members {
            let index = rows.iter().position(|(name, ..)| name == member.name);
            let index = index.unwrap_or_else(|| {
                let bar = self.all.insert(rows.len(), ProgressBar::new(1));
                bar.set_prefix(member.name.to_owned());
                rows.push((member.name.to_owned(), "", bar));
                rows.len() - 1
            });
            let Some((_, state, bar)) = rows.get_mut(index) else {
                continue;
            };
            if *state != member.state {
                *state = member.state;
                bar.set_style(row(member.state));
            }
            if member.state == RECOVERING {
                bar.set_message(progress_of(member));
                if let Some(status) = member.status {
                    let all = status.transactions + status.missing + status.queued;
                    bar.set_length(all.max(1));
                    bar.set_position(status.transactions);
                }
            } else if let Some(status) = member.status {
                let executed = HumanCount(status.gtid_executed.count());
                let port = member.port;
                bar.set_message(format!("127.0.0.1:{port:<5}  {executed} transactions"));
            } else {
                bar.set_message(format!("127.0.0.1:{}", member.port));
            }
            bar.tick();
        }
        self.load.set_message(format!(
            "{} transactions, {}/s",
            HumanCount(written),
            HumanCount(rate)
        ));
        self.load.tick();
    }

    fn clear(&self) {
        for (_, _, bar) in &*self.rows.lock() {
            bar.finish_and_clear();
        }
        self.load.finish_and_clear();
        // As above.
        let _ = self.all.clear();
    }
}

/// The line of a member in this state.
fn row(state: &'static str) -> ProgressStyle {
    let template = match state {
        ONLINE => "   {prefix:<4.bold}  {state:<10.green}  {msg}",
        KILLED => "   {prefix:<4.dim}  {state:<10.red}  {msg:.dim}",
        _ => "   {prefix:<4.bold}  {state:<10.yellow}  {bar:14.yellow/dim} {wide_msg}",
    };
    let name = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
        // What cannot be drawn now is drawn the next time.
        let _ = out.write_str(state);
    };
    style(template)
        .progress_chars("━╸─")
        .with_key("state", name)
}

fn style(template: &str) -> ProgressStyle {
    // A wrong template is a defect that anybody sees, and no reason to stop.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // A reader that went away ends the lines, not the demo.
    let _ = writeln!(stdout, "{text}");
    let _ = stdout.flush();
}
