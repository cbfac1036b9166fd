//! When a registry is left alone: after failures in a row, and while it asks for a pause. Instants come from outside.

use std::time::{Duration, Instant};

/// Failures in a row after which a registry is left alone.
const FAILURES: u32 = 5;
/// How long at first; each time it fails again, twice as long.
const FIRST: Duration = Duration::from_secs(5);
/// How long at most, whatever the registry asks for.
const LONGEST: Duration = Duration::from_secs(300);
/// How long at least, and while nobody knows better.
const SHORTEST: Duration = Duration::from_secs(1);

/// Whether a registry may be asked.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open: Option<Open>,
    /// Somebody is finding out whether it answers again.
    probing: bool,
    paused: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    times: u32,
    until: Instant,
}

/// Leave to ask once; given back with what became of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pass {
    probe: bool,
}

/// Why it may not be asked now, and how long not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It failed too often.
    Open(Duration),
    /// It asked for a pause.
    Paused(Duration),
}

impl Breaker {
    pub(super) fn admit(&mut self, now: Instant) -> Result<Pass, Refusal> {
        if let Some(left) = self.paused.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
        {
            return Err(Refusal::Paused(left));
        }
        self.paused = None;
        let Some(open) = self.open else { return Ok(Pass { probe: false }) };
        let left = open.until.saturating_duration_since(now);
        if self.probing || !left.is_zero() {
            return Err(Refusal::Open(left.max(SHORTEST)));
        }
        self.probing = true;
        Ok(Pass { probe: true })
    }

    /// It answered, whatever it said.
    pub(super) fn answered(&mut self, pass: &Pass) {
        self.given_up(pass);
        self.failures = 0;
        self.open = None;
    }

    /// It answered that it wants a pause.
    pub(super) fn paused(&mut self, pass: &Pass, pause: Option<Duration>, now: Instant) {
        self.answered(pass);
        let until = now + pause.unwrap_or(FIRST).clamp(SHORTEST, LONGEST);
        self.paused = self.paused.max(Some(until));
    }

    /// It did not answer, or said nothing.
    pub(super) fn failed(&mut self, pass: &Pass, now: Instant) {
        self.given_up(pass);
        let times = match self.open {
            Some(open) if pass.probe => open.times.saturating_add(1),
            // Asked before it was left alone.
            Some(_) => return,
            None => {
                self.failures = self.failures.saturating_add(1);
                if self.failures < FAILURES {
                    return;
                }
                1
            }
        };
        let wait = FIRST.saturating_mul(1 << (times - 1).min(16)).min(LONGEST);
        self.open = Some(Open { times, until: now + wait });
    }

    /// Nobody waited for what would become of it.
    pub(super) const fn given_up(&mut self, pass: &Pass) {
        if pass.probe {
            self.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fail(breaker: &mut Breaker, now: Instant) {
        let pass = breaker.admit(now).unwrap();
        breaker.failed(&pass, now);
    }

    #[test]
    fn it_opens_for_longer_each_time_and_lets_one_through() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURES {
            fail(&mut breaker, now);
        }
        for wait in [5, 10, 20, 40, 80, 160, 300, 300, 300] {
            assert_eq!(breaker.admit(now), Err(Refusal::Open(seconds(wait))));
            now += Duration::from_millis(wait * 1000 - 1);
            assert_eq!(breaker.admit(now), Err(Refusal::Open(SHORTEST)));
            now += Duration::from_millis(1);
            let probe = breaker.admit(now).unwrap();
            assert_eq!(breaker.admit(now), Err(Refusal::Open(SHORTEST)), "one at a time");
            breaker.failed(&probe, now);
        }
        now += LONGEST;
        let probe = breaker.admit(now).unwrap();
        breaker.answered(&probe);
        for _ in 1..FAILURES {
            fail(&mut breaker, now);
        }
        let pass = breaker.admit(now).unwrap();
        breaker.answered(&pass);
        for _ in 0..FAILURES {
            fail(&mut breaker, now);
        }
        assert_eq!(breaker.admit(now), Err(Refusal::Open(seconds(5))), "what was long ago does not count");
    }

    #[test]
    fn what_was_asked_before_it_opened_does_not_count_again() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let passes: Vec<Pass> = (0..20).map(|_| breaker.admit(now).unwrap()).collect();
        for pass in &passes {
            breaker.failed(pass, now);
        }
        assert_eq!(breaker.admit(now), Err(Refusal::Open(seconds(5))));
        breaker.answered(&passes[0]);
        assert!(breaker.admit(now).is_ok(), "an answer is an answer");
    }

    #[test]
    fn a_probe_nobody_waited_for_is_made_again() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURES {
            fail(&mut breaker, now);
        }
        let later = now + seconds(5);
        let probe = breaker.admit(later).unwrap();
        breaker.given_up(&probe);
        assert!(breaker.admit(later).is_ok());
    }

    #[test]
    fn a_pause_holds_and_has_an_end() {
        for (asked, want) in [(Some(17), 17), (Some(0), 1), (Some(86400), 300), (None, 5)] {
            let (mut breaker, now) = (Breaker::default(), Instant::now());
            let (one, other) = (breaker.admit(now).unwrap(), breaker.admit(now).unwrap());
            breaker.paused(&one, asked.map(seconds), now);
            breaker.paused(&other, Some(seconds(1)), now);
            assert_eq!(breaker.admit(now), Err(Refusal::Paused(seconds(want))));
            assert!(breaker.admit(now + seconds(want)).is_ok());
        }
    }
}
