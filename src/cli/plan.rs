//! `rejoin plan`: what recover would do and why, member by member. Changes nothing, anywhere.

use std::io::Write;

use serde_json::{Value, json};

use super::arguments::Plan as Options;
use super::{group, json};
use crate::group::mysql::{Survey, Visit};
use crate::group::{Cut, GroupMember};
use crate::gtid::GtidSet;
use crate::recovery::{DonorPolicy, Method, Plan, Settings, may_serve};
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
                None => writeln!(out, "usable")?,
                Some(reason) => writeln!(out, "not usable: {reason}")?,
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
        match self.plan.method {
            Method::Nothing | Method::Clone => Ok(()),
            Method::Impossible => Err(Error::new(ErrorKind::CloneNeeded, self.plan.reason.clone())
                .remedy("start again from a backup that is newer than what is purged")),
            Method::BinaryLog if members.any(|member| self.obstacle(member).is_none()) => Ok(()),
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
