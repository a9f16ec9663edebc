//! The profiles an operator can order by ICCID or by type.

use serde::{Deserialize, Serialize};

use crate::profile::Profile;
use crate::rsp::status::StatusCode;
use crate::smdp::order::{OrderId, OrderRequest, Orders};

/// A profile that waits for an order over ES2+.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StockedProfile {
    /// The profile.
    pub profile: Profile,
    /// The kind of profile, by which an operator orders when it does not matter which one.
    pub profile_type: String,
    /// The only functionRequesterIdentifier that may order it; `None` lets any.
    pub operator: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Item {
    #[serde(flatten)]
    stocked: StockedProfile,
    /// The order it is taken by.
    order: Option<OrderId>,
    /// Cancelled for good.
    unavailable: bool,
}

impl Item {
    fn is_free(&self) -> bool {
        self.order.is_none() && !self.unavailable
    }

    fn is_for(&self, requester: &str) -> bool {
        let operator = self.stocked.operator.as_deref();
        operator.is_none_or(|operator| operator == requester)
    }

    fn has_iccid(&self, iccid: &str) -> bool {
        self.stocked.profile.metadata.iccid.to_string() == iccid
    }
}

/// What an operator wants to have ordered.
#[derive(Debug)]
pub(super) enum Wanted<'a> {
    Iccid(&'a str),
    ProfileType(&'a str),
}

/// All profiles that can be ordered over ES2+.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(in crate::smdp) struct Stock(Vec<Item>);

impl Stock {
    /// Adds a profile; one with the same ICCID that was not ordered yet is replaced.
    pub(in crate::smdp) fn add(&mut self, stocked: StockedProfile) {
        let iccid = stocked.profile.metadata.iccid.to_string();
        match self.0.iter_mut().find(|item| item.has_iccid(&iccid)) {
            Some(item) if item.is_free() => item.stocked = stocked,
            Some(_) => {}
            None => self.0.push(Item {
                stocked,
                order: None,
                unavailable: false,
            }),
        }
    }

    /// The type of a profile, when it is in stock.
    pub(in crate::smdp) fn profile_type(&self, iccid: &str) -> Option<&str> {
        let item = self.0.iter().find(|item| item.has_iccid(iccid))?;
        Some(&item.stocked.profile_type)
    }

    /// Whether there is such a profile, ordered or not.
    pub(super) fn knows(&self, iccid: &str) -> bool {
        self.0.iter().any(|item| item.has_iccid(iccid))
    }

    /// Takes a profile out of the stock and orders it: its ICCID.
    pub(super) fn order(
        &mut self,
        orders: &mut Orders,
        requester: &str,
        wanted: &Wanted<'_>,
        eid: Option<&str>,
    ) -> Result<String, StatusCode> {
        let item = match wanted {
            Wanted::Iccid(iccid) => self.by_iccid(requester, iccid),
            Wanted::ProfileType(name) => self.by_type(requester, name),
        }?;
        let request = OrderRequest {
            eid: eid.map(str::to_owned),
            released: false,
            ..OrderRequest::with_matching_id(item.stocked.profile.clone(), "")
        };
        item.order = Some(orders.create(request));
        Ok(item.stocked.profile.metadata.iccid.to_string())
    }

    /// Puts a profile back, or takes it out of use.
    pub(super) fn cancelled(&mut self, order: OrderId, available: bool) {
        if let Some(item) = self.0.iter_mut().find(|item| item.order == Some(order)) {
            item.order = None;
            item.unavailable = !available;
        }
    }

    fn by_iccid(&mut self, requester: &str, iccid: &str) -> Result<&mut Item, StatusCode> {
        let mut items = self.0.iter_mut();
        let item = items
            .find(|item| item.has_iccid(iccid))
            .ok_or(StatusCode::ICCID_UNKNOWN)?;
        if !item.is_for(requester) {
            return Err(StatusCode::ICCID_NOT_ALLOWED);
        }
        if !item.is_free() {
            return Err(StatusCode::ICCID_IN_USE);
        }
        Ok(item)
    }

    fn by_type(&mut self, requester: &str, name: &str) -> Result<&mut Item, StatusCode> {
        let of_type = |item: &&Item| item.stocked.profile_type == name;
        let mut refused = StatusCode::PROFILE_TYPE_UNKNOWN;
        for item in self.0.iter().filter(of_type) {
            if item.is_for(requester) {
                refused = StatusCode::PROFILE_TYPE_EXHAUSTED;
                break;
            }
            refused = StatusCode::PROFILE_TYPE_NOT_ALLOWED;
        }
        self.0
            .iter_mut()
            .find(|item| {
                item.stocked.profile_type == name && item.is_for(requester) && item.is_free()
            })
            .ok_or(refused)
    }
}
