//! What the operator's API does on this server.

use super::sims::{SimError, SimUpdate};
use super::store::State;
use super::{Calls, Reservation, ReservationFault, ReservationRequest, Sim, Smdp};
use crate::profile::{Iccid, Profile};
use crate::rsp::random;

impl Smdp {
    /// Reserves a fresh profile of our own, as a customer of the operator would.
    ///
    /// The reservation becomes available by itself; must be called in a tokio runtime.
    pub fn reserve(&self, request: ReservationRequest) -> Reservation {
        let number = u32::from_be_bytes(random());
        let profile = Profile::builder(Iccid::nth(number))
            .size(self.0.config.reserved_profile_size)
            .build();
        self.reserve_profile(request, profile)
    }

    /// Reserves the given profile.
    ///
    /// The reservation becomes available by itself; must be called in a tokio runtime.
    pub fn reserve_profile(&self, request: ReservationRequest, profile: Profile) -> Reservation {
        let now = self.now();
        let reservation = self.update(|state| {
            let State {
                orders,
                reservations,
                reservation_faults,
                ..
            } = state;
            let fault = reservation_faults.next_reservation();
            reservations.create(orders, request, profile, fault, now)
        });
        tracing::info!(sid = reservation.sid, "profile reserved");
        let (smdp, sid) = (self.clone(), reservation.sid.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(smdp.0.config.reservation_step).await;
                let prepare =
                    |state: &mut State| state.reservations.prepare(&mut state.orders, &sid);
                if !smdp.update(prepare) {
                    break;
                }
            }
        });
        reservation
    }

    /// One reservation as it is now.
    pub fn reservation(&self, sid: &str) -> Option<Reservation> {
        self.state().reservations.get(sid).cloned()
    }

    /// All reservations as they are now, the oldest first.
    pub fn reservations(&self) -> Vec<Reservation> {
        self.state().reservations.all().to_vec()
    }

    /// One Sim as it is now, by its SID or unique name.
    pub fn sim(&self, name: &str) -> Option<Sim> {
        self.state().sims.get(name).cloned()
    }

    /// Plans a fault of the reservation API.
    pub fn set_reservation_fault(&self, calls: Calls, fault: ReservationFault) {
        self.update(|state| state.reservation_faults.plan(calls, fault));
    }

    /// Forgets all faults planned of the reservation API.
    pub fn clear_reservation_faults(&self) {
        self.update(|state| state.reservation_faults.clear());
    }

    /// Changes a Sim; what takes a while is done later, in the tokio runtime of the caller.
    pub(super) fn update_sim(&self, name: &str, update: SimUpdate) -> Result<Sim, SimError> {
        let now = self.now();
        let (sim, is_scheduled) = self.update(|state| state.sims.update(name, update, now))?;
        if is_scheduled {
            let (smdp, sid) = (self.clone(), sim.sid.clone());
            tokio::spawn(async move {
                tokio::time::sleep(smdp.config().reservation_step).await;
                smdp.finish_sim(&sid);
            });
        }
        Ok(sim)
    }

    fn finish_sim(&self, sid: &str) {
        let now = self.now();
        let Some((sim, callback)) = self.update(|state| state.sims.finish(sid, now)) else {
            return;
        };
        tracing::info!(sid, status = %sim.status, "Sim");
        if let Some(callback) = callback {
            let fields = sim.callback_fields(&self.config().account_sid);
            self.0.courier.send(sid, callback.call(&fields));
        }
    }
}

#[cfg(test)]
mod tests;
