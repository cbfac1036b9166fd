//! One way to a registry for everybody: so many requests at once, and none while it is to be left alone.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::breaker::{Breaker, Pass, Refusal};
use super::outcome::{Observe, Outcome};
use crate::registry::client::RegistryError;

pub(super) struct Gate {
    host: String,
    permits: Semaphore,
    breaker: Mutex<Breaker>,
    observe: Observe,
}

/// Why nothing came.
#[derive(Debug)]
pub(super) enum Failure {
    /// The registry was not asked.
    Refused(Refusal),
    /// It was.
    Registry(RegistryError),
}

/// A pass that is given back, also where nobody waits for the answer any more.
struct Admitted<'a> {
    gate: &'a Gate,
    pass: Pass,
    is_settled: bool,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.gate.breaker.lock().given_up(&self.pass);
        }
    }
}

impl Gate {
    pub(super) fn new(host: &str, max_in_flight: u8, observe: Observe) -> Self {
        Self {
            host: host.to_owned(),
            permits: Semaphore::new(usize::from(max_in_flight.max(1))),
            breaker: Mutex::default(),
            observe,
        }
    }

    /// Waits for its turn and asks. Nothing is dialled before the future that asks is polled.
    pub(super) async fn ask<T>(&self, asking: impl Future<Output = Result<T, RegistryError>>) -> Result<T, Failure> {
        // In front of the queue as well: while a registry is left alone, nobody waits for a turn.
        let turn = match self.refused() {
            Some(refusal) => Err(refusal),
            None => self.permits.acquire().await.map_err(|_| Refusal::Open(Duration::ZERO)),
        };
        let admitted = turn.and_then(|permit| Ok((permit, self.admit()?)));
        let (_permit, mut admitted) = admitted.map_err(|refusal| {
            (self.observe)(&self.host, Outcome::Open);
            Failure::Refused(refusal)
        })?;
        let answer = asking.await;
        let outcome = answer.as_ref().map_or_else(Outcome::of, |_| Outcome::Ok);
        admitted.settle(answer.as_ref().err());
        (self.observe)(&self.host, outcome);
        answer.map_err(Failure::Registry)
    }

    /// Whether it would not be asked now.
    fn refused(&self) -> Option<Refusal> {
        let mut breaker = self.breaker.lock();
        match breaker.admit(Instant::now()) {
            Ok(pass) => {
                breaker.given_up(&pass);
                None
            }
            Err(refusal) => Some(refusal),
        }
    }

    fn admit(&self) -> Result<Admitted<'_>, Refusal> {
        let pass = self.breaker.lock().admit(Instant::now())?;
        Ok(Admitted { gate: self, pass, is_settled: false })
    }
}

impl Admitted<'_> {
    fn settle(&mut self, error: Option<&RegistryError>) {
        let (now, mut breaker) = (Instant::now(), self.gate.breaker.lock());
        match error {
            Some(RegistryError::Unavailable { .. }) => breaker.failed(&self.pass, now),
            Some(RegistryError::TooManyRequests { retry_after, .. }) => {
                breaker.paused(&self.pass, retry_after.map(Duration::from_secs), now);
            }
            _ => breaker.answered(&self.pass),
        }
        self.is_settled = true;
    }
}
