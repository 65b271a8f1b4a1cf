//! Targets, byte for byte, whichever versions meet.

use super::http1_apps::{CLOSE, ask};
use super::world::{World, get, hear, say};
use crate::net::Tcp;
use crate::proxy::Upstream;
use bytes::Bytes;
use h2::server::SendResponse;
use http::Response;

#[test]
fn a_target_arrives_as_it_was_sent() {
    let long = format!("/a?{}", "q=%zz;".repeat(8 * 1024 / 6));
    for upstream in [Upstream::Http1, Upstream::Http2] {
        let world = World::new(upstream);
        let (heard, hears) = async_channel::unbounded();
        let tell = heard.clone();
        world.listen("hello", false, move |mut tcp: Tcp| {
            let tell = tell.clone();
            async move {
                loop {
                    let head = hear(&mut tcp, "\r\n\r\n").await;
                    let target = head.split(' ').nth(1).unwrap().to_owned();
                    tell.send(target).await.unwrap();
                    say(&mut tcp, "HTTP/1.1 204 No Content\r\n\r\n").await;
                }
            }
        });
        if upstream == Upstream::Http2 {
            world.service("hello", move |request, mut respond: SendResponse<Bytes>| {
                let heard = heard.clone();
                async move {
                    heard.send(request.uri().path_and_query().unwrap().to_string()).await.unwrap();
                    let done = Response::builder().status(204).body(()).unwrap();
                    respond.send_response(done, true).unwrap();
                }
            });
        }
        for target in ["//a", "/a/../b", "/%2F", "/%zz", "/?", "/;a;b=c?d;e", "/?a?b", &long] {
            world.run(ask(&world, &format!("GET {target} HTTP/1.1\r\n{CLOSE}")));
            assert_eq!(world.run(hears.recv()).unwrap(), *target, "{upstream:?} from HTTP/1.1");
            let url = format!("http://hello{target}");
            world.run(ask(&world, &format!("GET {url} HTTP/1.1\r\n{CLOSE}")));
            assert_eq!(world.run(hears.recv()).unwrap(), *target, "{upstream:?} from a URL");
            world.run(world.ask(get(&url), None));
            assert_eq!(world.run(hears.recv()).unwrap(), *target, "{upstream:?} from HTTP/2");
        }
    }
}
