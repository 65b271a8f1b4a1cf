//! Where we are: region and project number, from settings or the metadata
//! server, which may be slow to answer or fail for a while.

use super::metadata::{Fault, Metadata};
use crate::net::{Clock, Tasks};
use crate::telemetry::Log;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The first pause after a failure; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// What to do about most troubles.
const THIS_PASSES: &str = "on Cloud Run this passes, elsewhere set --region and --project";

/// Region and project number, each as soon as it is known.
pub struct Place {
    known: Mutex<Known>,
    settling: async_channel::Sender<()>,
    settled: async_channel::Receiver<()>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    region: Option<String>,
    project: Option<String>,
    trouble: Option<String>,
}

impl Place {
    /// A place of which this much is known from settings.
    pub fn new(region: Option<String>, project: Option<String>) -> Arc<Place> {
        let (settling, settled) = async_channel::bounded(1);
        let known = Mutex::new(Known { region, project, trouble: None });
        let place = Place { known, settling, settled };
        place.update(|_| {});
        Arc::new(place)
    }

    /// Asks for what is missing, both at once, until it is known.
    pub fn look_up(self: &Arc<Place>, metadata: &Metadata, tasks: &Tasks, clock: &Arc<dyn Clock>) {
        let known = self.known();
        if known.region.is_none() {
            let (place, metadata, clock) = (self.clone(), metadata.clone(), clock.clone());
            let log = tasks.log().clone();
            tasks.spawn("region look-up", async move {
                let region = place.ask("region", &log, &*clock, || metadata.region()).await;
                place.update(|known| known.region = Some(region));
            });
        }
        if known.project.is_none() {
            let (place, metadata, clock) = (self.clone(), metadata.clone(), clock.clone());
            let log = tasks.log().clone();
            tasks.spawn("project look-up", async move {
                let ask = || metadata.project_number();
                let project = place.ask("project number", &log, &*clock, ask).await;
                place.update(|known| known.project = Some(project));
            });
        }
    }

    async fn ask<F: Future<Output = Result<String, Fault>>>(
        &self,
        what: &str,
        log: &Log,
        clock: &dyn Clock,
        question: impl Fn() -> F,
    ) -> String {
        let mut pause = FIRST_PAUSE;
        loop {
            match question().await {
                Ok(answer) if is_label(&answer) => return answer,
                Ok(answer) => self.trouble(format!(
                    "the metadata server's {what}, {answer:?}, is not one; {THIS_PASSES}"
                )),
                Err(fault) if fault.is_final() => {
                    self.trouble(format!(
                        "no {what}: {fault}; --region and --project may say it instead"
                    ));
                }
                Err(fault) => self.trouble(format!("no {what}: {fault}; {THIS_PASSES}")),
            }
            log.debug("cloudrun", format_args!("{what} not known yet; asking again"));
            clock.sleep(crate::auth::jittered(pause)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        if known.region.is_some() && known.project.is_some() {
            self.settling.close();
        }
    }

    fn trouble(&self, cause: String) {
        self.update(|known| known.trouble = Some(cause));
    }

    /// The region, if it is known.
    pub fn region(&self) -> Option<String> {
        self.known().region
    }

    /// Region and project number, each if it is known.
    pub fn told(&self) -> (Option<String>, Option<String>) {
        let Known { region, project, .. } = self.known();
        (region, project)
    }

    /// Region and project number, if both are known.
    ///
    /// # Errors
    /// What is missing, as half a sentence.
    pub fn both(&self) -> Result<(String, String), String> {
        match self.known() {
            Known { region: Some(region), project: Some(project), .. } => Ok((region, project)),
            Known { trouble: Some(trouble), .. } => Err(trouble),
            _ => Err("the metadata server has not said yet where we are".to_owned()),
        }
    }

    /// Ends when both are known.
    pub async fn settled(&self) {
        let _ = self.settled.recv().await;
    }
}

/// What may go into a host name.
fn is_label(text: &str) -> bool {
    let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= 40 && text.bytes().all(sound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::BoxFuture;
    use std::time::{Instant, SystemTime};

    #[test]
    fn settings_settle_a_place_at_once() {
        let place = Place::new(Some("us-east1".into()), Some("1".into()));
        crate::net::block_on(place.settled());
        assert_eq!(place.both().unwrap(), ("us-east1".to_owned(), "1".to_owned()));
    }

    #[test]
    fn what_is_missing_is_said_with_its_cause() {
        let place = Place::new(None, Some("1".into()));
        assert!(place.both().unwrap_err().contains("not said yet"));
        place.trouble("no region: it is on fire".into());
        assert!(place.both().unwrap_err().contains("on fire"));
        place.update(|known| known.region = Some("us-east1".into()));
        assert!(place.both().is_ok());
    }

    /// A clock that waits for nobody.
    struct AtOnce;

    impl Clock for AtOnce {
        fn now(&self) -> Instant {
            Instant::now()
        }

        fn wall(&self) -> SystemTime {
            SystemTime::now()
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(async {})
        }
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        for (fault, passes) in [
            (Fault::Unreachable("why".into()), true),
            (Fault::Passing("why".into()), true),
            (Fault::Refused("why".into()), false),
            (Fault::OtherProtocol("why".into()), false),
        ] {
            let (place, fault) = (Place::new(None, Some("1".into())), Mutex::new(Some(fault)));
            let question = || {
                let fault = fault.lock().unwrap().take();
                async { fault.map_or(Ok("us-east1".to_owned()), Err) }
            };
            let log = Log::discard();
            let region = crate::net::block_on(place.ask("region", &log, &AtOnce, question));
            assert_eq!(region, "us-east1", "it goes on asking");
            let told = place.both().unwrap_err();
            assert!(told.starts_with("no region: why; ") && told.contains("--region"), "{told}");
            assert_eq!(told.contains("this passes"), passes, "{told}");
        }
    }

    #[test]
    fn nothing_unchecked_goes_into_a_host_name() {
        assert!(is_label("us-central1") && is_label("123"));
        for bad in ["", "a.b", "a/b", "<html>", "A", "a b"] {
            assert!(!is_label(bad), "{bad}");
        }
    }
}
