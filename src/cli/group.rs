//! The group that the arguments name, with passwords from the environment.

use super::arguments::Group;
use crate::Result;
use crate::group::MySqlGroup;
use crate::net::Url;

/// The members that are named, and the login.
pub(super) fn url(options: &Group) -> Result<Url> {
    let mut url: Url = options.url.parse()?;
    if let (true, Ok(password)) = (
        url.options.password.is_empty(),
        std::env::var("REJOIN_PASSWORD"),
    ) {
        url.options.password = password.into();
    }
    Ok(url)
}

pub(super) fn connect(options: &Group) -> Result<MySqlGroup> {
    let url = url(options)?;
    let group = MySqlGroup::with_options(url.endpoints, url.options)?;
    let Some(user) = &options.donor_user else {
        return Ok(group);
    };
    let password = std::env::var("REJOIN_DONOR_PASSWORD").unwrap_or_default();
    Ok(group.donor_login(|mut login| {
        login.user.clone_from(user);
        login.password = password.into();
        login
    }))
}
