//! Whether the gate lives: it is asked from time to time.

use std::time::{Duration, Instant};

/// How often it is asked whether it lives, and how long it may stay silent.
const ASK_EVERY: Duration = Duration::from_secs(5);
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Whether the gate answers the question whether it lives: the first of them is what it is told to
/// serve.
pub(super) struct Liveness {
    /// When it was asked, if it has not answered since.
    unanswered: Option<Instant>,
    heard: Instant,
    /// When we last looked.
    looked: Instant,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Wait,
    Ask,
    GiveUp,
}

impl Liveness {
    pub(super) fn asked(now: Instant) -> Self {
        Self {
            unanswered: Some(now),
            heard: now,
            looked: now,
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.unanswered = None;
        self.heard = now;
    }

    pub(super) fn next(&mut self, now: Instant) -> Next {
        // We stood still ourselves, and the gate perhaps with us (a container that is paused): it
        // has all its time again.
        let stood_still = now - std::mem::replace(&mut self.looked, now) > ASK_EVERY;
        match &mut self.unanswered {
            Some(asked) if stood_still => *asked = now,
            Some(asked) if now - *asked > LONGEST_SILENCE => return Next::GiveUp,
            Some(_) => {}
            None if now - self.heard > ASK_EVERY => {
                self.unanswered = Some(now);
                return Next::Ask;
            }
            None => {}
        }
        Next::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_given_up_when_it_answers_no_more_and_not_when_we_stood_still() {
        let mut now = Instant::now();
        let mut liveness = Liveness::asked(now);
        let mut in_turn = |liveness: &mut Liveness, seconds| {
            now += Duration::from_secs(seconds);
            (now, liveness.next(now))
        };
        let (answered, next) = in_turn(&mut liveness, 2);
        assert_eq!(next, Next::Wait);
        liveness.heard(answered);
        assert_eq!(in_turn(&mut liveness, 5).1, Next::Wait);
        assert_eq!(in_turn(&mut liveness, 1).1, Next::Ask);
        // Paused for an hour, and both of us go on.
        assert_eq!(in_turn(&mut liveness, 3600).1, Next::Wait);
        let silent = (1..).take_while(|_| in_turn(&mut liveness, 1).1 == Next::Wait);
        assert_eq!(silent.count() as u64, LONGEST_SILENCE.as_secs());
    }
}
