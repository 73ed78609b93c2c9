//! Watches the membership: one look a second at some member that answers.

use std::time::{Duration, Instant};

use log::{info, warn};

use super::{Inner, members};
use crate::group::{Feed, View};
use crate::{Error, ErrorKind};

const INTERVAL: Duration = Duration::from_secs(1);
/// After this long without any member that answers, the group counts as unreachable.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells `feed` of every change, until the group is left.
pub(super) fn run(inner: &Inner, feed: &Feed) {
    let mut shown = inner.state.lock().view.clone();
    let mut answered = Instant::now();
    let mut warned = false;
    while !inner.has_left() {
        match inner.any_member() {
            Ok((mut member, mut view)) => {
                answered = Instant::now();
                if std::mem::take(&mut warned) {
                    info!("the group can be reached again");
                }
                // The same member is asked for as long as it answers.
                loop {
                    if differs(&shown, &view) {
                        shown = view.clone();
                        inner.state.lock().view = view.clone();
                        members::read_sets(inner, &mut view);
                        feed.view_changed(view);
                    }
                    inner.pause(INTERVAL);
                    if inner.has_left() {
                        return;
                    }
                    match members::read_view(&mut member.0) {
                        Ok(next) => {
                            answered = Instant::now();
                            view = next;
                        }
                        Err(error) => {
                            info!("looking at the group through another member: {error}");
                            break;
                        }
                    }
                }
            }
            Err(error) => {
                if answered.elapsed() > PATIENCE {
                    feed.unreachable(Error::new(
                        ErrorKind::GroupUnavailable,
                        format!(
                            "no member of the group could be reached for {} s: {error}",
                            PATIENCE.as_secs()
                        ),
                    ));
                    answered = Instant::now();
                } else if !std::mem::replace(&mut warned, true) {
                    warn!("no member of the group can be reached: {error}");
                }
                inner.pause(INTERVAL);
            }
        }
    }
}

/// Whether anything but the members' sets, which a view does not carry at first, has changed.
fn differs(shown: &View, view: &View) -> bool {
    let identity = |view: &View| -> Vec<_> {
        view.members
            .iter()
            .map(|member| {
                (
                    member.uuid,
                    member.address.clone(),
                    member.state,
                    member.primary,
                )
            })
            .collect()
    };
    identity(shown) != identity(view)
}
