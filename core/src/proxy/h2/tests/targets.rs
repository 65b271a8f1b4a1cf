//! Targets, byte for byte, whichever versions meet.

use super::http1_apps::{CLOSE, ask};
use super::world::{World, get};
use crate::proxy::Upstream;

#[test]
fn a_target_arrives_as_it_was_sent() {
    let long = format!("/a?{}", "q=%zz;".repeat(8 * 1024 / 6));
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let world = World::new(upstream);
        let hears = world.hears("hello", upstream);
        let arrived = || {
            let head = world.run(hears.recv()).unwrap();
            head.split(' ').nth(1).unwrap().to_owned()
        };
        for target in ["//a", "/a/../b", "/%2F", "/%zz", "/?", "/;a;b=c?d;e", "/?a?b", &long] {
            world.run(ask(&world, &format!("GET {target} HTTP/1.1\r\n{CLOSE}")));
            assert_eq!(arrived(), *target, "{upstream:?} from HTTP/1.1");
            let url = format!("http://hello{target}");
            world.run(ask(&world, &format!("GET {url} HTTP/1.1\r\n{CLOSE}")));
            assert_eq!(arrived(), *target, "{upstream:?} from a URL");
            world.run(world.ask(get(&url), None));
            assert_eq!(arrived(), *target, "{upstream:?} from HTTP/2");
        }
    }
}
