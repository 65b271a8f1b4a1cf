//! Pauses of random length, so that instances that failed together do not ask
//! together again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// A length between nothing and `most` ("full jitter"). The randomness is that
/// of the standard library's hash keys: good enough to spread, no secret.
pub fn jittered(most: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let fraction = (random >> 32) as u32;
    most / 1024 * (fraction % 1024) + most / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_and_stay_below_their_bound() {
        let most = Duration::from_secs(10);
        let pauses: Vec<Duration> = (0..64).map(|_| jittered(most)).collect();
        assert!(pauses.iter().all(|pause| *pause <= most && !pause.is_zero()));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
