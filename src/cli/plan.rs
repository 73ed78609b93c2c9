//! `rejoin plan`: what recover would do and why, member by member. Changes nothing, anywhere.

use std::io::Write;

use serde_json::{Value, json};

use super::arguments::Plan as Options;
use super::{group, json};
use crate::group::mysql::{Survey, Visit};
use crate::group::{Cut, GroupMember};
use crate::gtid::GtidSet;
use crate::recovery::{DonorPolicy, Method, Plan, Settings, can_be_cloned, may_serve};
use crate::target::store::Store;
use crate::{Error, ErrorKind, Result};

pub(super) fn run(options: &Options) -> Result<()> {
    let result = plan(options);
    if let (true, Err(error)) = (options.json, &result) {
        json::error(error);
    }
    result
}

fn plan(options: &Options) -> Result<()> {
    let own = if options.store.exists() {
        Store::open_read_only(&options.store)?
            .gtid_executed()
            .clone()
    } else {
        GtidSet::new()
    };
    let survey = group::connect(&options.group)?.survey()?;
    let settings = Settings {
        clone_threshold: options.clone.clone_threshold,
        donor_policy: options.donors.policy(),
        ..Settings::default()
    };
    settings.validate()?;
    let cut = Cut::Gtids(survey.cut.clone());
    let plan = Plan::new(&own, &survey.view, &cut, &settings, true);
    let report = Report {
        own: &own,
        plan: &plan,
        survey: &survey,
        policy: &settings.donor_policy,
    };
    if options.json {
        json::print("plan", report.as_json());
    } else {
        let mut out = std::io::stdout().lock();
        report.write(&mut out).map_err(|error| {
            Error::new(
                ErrorKind::TargetIo,
                format!("cannot write to stdout: {error}"),
            )
        })?;
    }
    report.verdict()
}

struct Report<'a> {
    own: &'a GtidSet,
    plan: &'a Plan,
    survey: &'a Survey,
    policy: &'a DonorPolicy,
}

impl Report<'_> {
    fn visit(&self, member: &GroupMember) -> Option<&Visit> {
        let mut visits = self.survey.visits.iter();
        visits.find(|visit| visit.uuid == member.uuid)
    }

    /// Why the member could not be the donor of what is missing, in the order in which recovery would
    /// find out; `None` if it could.
    fn obstacle(&self, member: &GroupMember) -> Option<String> {
        let Some(visit) = self.visit(member) else {
            return Some(format!("it is {}", member.state));
        };
        if !may_serve(member.version) {
            return Some("its version is newer than ours".into());
        }
        if self.policy.excludes(member) {
            return Some("it is excluded".into());
        }
        if let Err(error) = &visit.outcome {
            return Some(error.to_string());
        }
        let purged = member.purged.as_ref()?.intersect(&self.plan.missing);
        (!purged.is_empty())
            .then(|| format!("{} of the missing transactions are purged", purged.count()))
    }

    /// Why the member could not be cloned; `None` if it could.
    fn clone_obstacle(&self, member: &GroupMember) -> Option<String> {
        let Some(visit) = self.visit(member) else {
            return Some(format!("it is {}", member.state));
        };
        if !can_be_cloned(member) {
            return Some("its version is older than 8.4.0".into());
        }
        let error = visit.outcome.as_ref().err().filter(|error| {
            // Who may not replicate may clone all the same.
            error.kind() != ErrorKind::Privilege
        });
        let error = error.or(visit.no_clone.as_ref());
        error.map(ToString::to_string)
    }

    /// About how many bytes the missing transactions take in a donor's binary logs.
    fn bytes(&self) -> Option<u64> {
        let missing = self.plan.missing.count();
        let mut measured = self.survey.visits.iter().filter_map(|visit| visit.logs);
        measured.next().map(|logs| logs.estimate(missing))
    }

    fn as_json(&self) -> Value {
        let members: Vec<Value> = self
            .survey
            .view
            .members
            .iter()
            .map(|member| {
                let obstacle = self.obstacle(member);
                let clone_obstacle = self.clone_obstacle(member);
                json!({
                    "host": member.address.host,
                    "port": member.address.port,
                    "uuid": member.uuid.to_string(),
                    "state": member.state.to_string(),
                    "primary": member.primary,
                    "version": member.version.map(|version| version.to_string()),
                    "executed": member.executed.as_ref().map(ToString::to_string),
                    "purged": member.purged.as_ref().map(ToString::to_string),
                    "usable": obstacle.is_none(),
                    "reason": obstacle,
                    "can_be_cloned": clone_obstacle.is_none(),
                    "clone_reason": clone_obstacle,
                })
            })
            .collect();
        json!({
            "method": self.plan.method.name(),
            "reason": self.plan.reason,
            "own": self.own.to_string(),
            "missing": self.plan.missing.count(),
            "missing_gtid_set": self.plan.missing.to_string(),
            "errant": self.plan.errant.count(),
            "errant_gtid_set": self.plan.errant.to_string(),
            "bytes": self.bytes(),
            "members": members,
        })
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "executed here: {}", or_nothing(self.own))?;
        writeln!(out, "missing:       {}", or_nothing(&self.plan.missing))?;
        if !self.plan.errant.is_empty() {
            writeln!(out, "errant:        {}", self.plan.errant)?;
        }
        write!(
            out,
            "to fetch:      {} transactions",
            self.plan.missing.count()
        )?;
        match self.bytes() {
            Some(bytes) => writeln!(out, ", about {:.1} MB", bytes as f64 / 1e6)?,
            None => writeln!(out)?,
        }
        let (method, reason) = (self.plan.method.name(), &self.plan.reason);
        writeln!(out, "method:        {method} ({reason})")?;
        for member in &self.survey.view.members {
            let role = if member.primary { ", primary" } else { "" };
            let version = member
                .version
                .map_or_else(|| "unknown version".into(), |version| version.to_string());
            write!(
                out,
                "  {} {}{role}, {version}: ",
                member.address, member.state
            )?;
            match self.obstacle(member) {
                None => write!(out, "usable")?,
                Some(reason) => write!(out, "not usable: {reason}")?,
            }
            match self.clone_obstacle(member) {
                Some(reason) if self.plan.method == Method::Clone => {
                    writeln!(out, "; cannot be cloned: {reason}")?;
                }
                _ => writeln!(out)?,
            }
        }
        Ok(())
    }

    /// The error with which recover would end as things stand.
    fn verdict(&self) -> Result<()> {
        if !self.plan.errant.is_empty() {
            return Err(Error::new(
                ErrorKind::Errant,
                format!(
                    "the store has transactions that the group does not know: {}",
                    self.plan.errant
                ),
            )
            .remedy(
                "recover into an empty store, or execute these transactions in the group if they \
                 are wanted",
            ));
        }
        let mut members = self.survey.view.members.iter();
        let can_fetch = members
            .clone()
            .any(|member| self.obstacle(member).is_none());
        match self.plan.method {
            Method::Nothing => Ok(()),
            // Where every clone fails, recovery falls back to binary logs.
            Method::Clone
                if can_fetch || members.any(|member| self.clone_obstacle(member).is_none()) =>
            {
                Ok(())
            }
            Method::Clone => Err(Error::new(
                ErrorKind::CloneNeeded,
                "a clone is needed, and no member could be cloned as things stand",
            )
            .remedy("see the reason given for each member")),
            Method::Impossible => Err(Error::new(ErrorKind::CloneNeeded, self.plan.reason.clone())
                .remedy("start again from a backup that is newer than what is purged")),
            Method::BinaryLog if can_fetch => Ok(()),
            Method::BinaryLog => Err(Error::new(
                ErrorKind::NoDonor,
                "no member could be the donor as things stand",
            )
            .remedy("see the reason given for each member")),
        }
    }
}

fn or_nothing(set: &GtidSet) -> String {
    if set.is_empty() {
        "nothing".into()
    } else {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::{MemberState, View};
    use crate::gtid::Uuid;
    use crate::net::{Endpoint, ServerVersion};
    use crate::recovery::Selector;

    fn gtids(text: &str) -> GtidSet {
        format!("aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:{text}")
            .parse()
            .unwrap()
    }

    fn member(number: u8, version: &str) -> GroupMember {
        let address = Endpoint::new(format!("db{number}"), 3306);
        GroupMember {
            uuid: Uuid([number; 16]),
            recovery_endpoints: vec![address.clone()],
            address,
            state: MemberState::Online,
            primary: number == 1,
            version: Some(ServerVersion::parse(version)),
            executed: Some(gtids("1-100")),
            purged: Some(GtidSet::new()),
        }
    }

    fn visit(member: &GroupMember, outcome: Result<Endpoint>, may_clone: bool) -> Visit {
        let denied = || Error::new(ErrorKind::Privilege, "RELOAD is needed");
        Visit {
            uuid: member.uuid,
            outcome,
            no_clone: (!may_clone).then(denied),
            logs: None,
        }
    }

    /// What is told of the members, each with its visit if it had one, and the verdict.
    fn report(
        members: Vec<(GroupMember, Option<Visit>)>,
        clone_threshold: u64,
        policy: &DonorPolicy,
    ) -> (Value, String, Result<()>) {
        let own = gtids("1-40");
        let cut = gtids("1-100");
        let (members, visits): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        let survey = Survey {
            view: View { members },
            cut: cut.clone(),
            visits: visits.into_iter().flatten().collect(),
        };
        let settings = Settings {
            clone_threshold,
            ..Settings::default()
        };
        let plan = Plan::new(&own, &survey.view, &Cut::Gtids(cut), &settings, true);
        let report = Report {
            own: &own,
            plan: &plan,
            survey: &survey,
            policy,
        };
        let mut text = Vec::new();
        report.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        (report.as_json(), text, report.verdict())
    }

    fn good(member: &GroupMember) -> Option<Visit> {
        Some(visit(member, Ok(member.address.clone()), true))
    }

    #[test]
    fn each_obstacle_is_named() {
        let fine = member(2, "9.7.4");
        let mut recovering = member(3, "9.7.4");
        recovering.state = MemberState::Recovering;
        let newer = member(4, "9.8.0");
        let mut purged = member(5, "9.7.4");
        purged.purged = Some(gtids("1-50"));
        let shut = member(6, "8.4.5");
        let denied = Error::new(ErrorKind::Authentication, "Access denied");
        let members = vec![
            (member(1, "9.7.4"), good(&member(1, "9.7.4"))),
            (fine.clone(), good(&fine)),
            (recovering, None),
            (newer.clone(), good(&newer)),
            (purged.clone(), good(&purged)),
            (shut.clone(), Some(visit(&shut, Err(denied), true))),
        ];
        let policy = DonorPolicy {
            exclude: vec![Selector::Primary],
            ..DonorPolicy::default()
        };
        let (json, text, verdict) = report(members, 1000, &policy);
        let reasons: Vec<_> = json["members"]
            .as_array()
            .unwrap()
            .iter()
            .map(|member| member["reason"].as_str().unwrap_or("usable"))
            .collect();
        assert_eq!(
            reasons,
            [
                "it is excluded",
                "usable",
                "it is RECOVERING",
                "its version is newer than ours",
                "10 of the missing transactions are purged",
                "Access denied",
            ]
        );
        assert_eq!(json["method"], "binlog");
        assert_eq!(json["missing"], 60);
        assert!(text.contains("  db6:3306 ONLINE, 8.4.5: not usable: Access denied\n"));
        assert!(text.contains("  db1:3306 ONLINE, primary, 9.7.4: not usable: it is excluded\n"));
        verdict.unwrap();
    }

    #[test]
    fn a_clone_needs_a_member_that_can_be_cloned() {
        let purged = |number, version: &str| {
            let mut purged = member(number, version);
            purged.purged = Some(gtids("1-50"));
            purged
        };
        let (first, old) = (purged(1, "9.7.4"), purged(2, "8.3.0"));
        let no_clone = |member: &GroupMember| visit(member, Ok(member.address.clone()), false);
        let members = vec![
            (first.clone(), Some(no_clone(&first))),
            (old.clone(), good(&old)),
        ];
        let policy = DonorPolicy::default();
        let (json, text, verdict) = report(members, 1000, &policy);
        assert_eq!(json["method"], "clone");
        assert_eq!(json["members"][0]["clone_reason"], "RELOAD is needed");
        assert_eq!(json["members"][1]["can_be_cloned"], false);
        assert!(text.contains("; cannot be cloned: its version is older than 8.4.0\n"));
        assert_eq!(verdict.unwrap_err().kind(), ErrorKind::CloneNeeded);

        // Who may not replicate may still clone.
        let denied = Error::new(ErrorKind::Privilege, "the user may not replicate");
        let members = vec![(first.clone(), Some(visit(&first, Err(denied), true)))];
        report(members, 1000, &policy).2.unwrap();
        // A clone that is only preferred is not needed.
        let whole = member(3, "9.7.4");
        let members = vec![(whole.clone(), Some(no_clone(&whole)))];
        let (json, _, verdict) = report(members, 50, &policy);
        assert_eq!(json["method"], "clone");
        verdict.unwrap();
    }
}
