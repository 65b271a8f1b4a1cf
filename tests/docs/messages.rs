//! The messages that pages explain are those that runsd prints: each piece of
//! one between two `...` stands in the sources.

use crate::page::{blocks, files, read};

/// All that the product can say: its sources, with broken strings joined.
fn sources() -> String {
    let mut all = String::new();
    for path in files("core/src", ".rs") {
        let text = read(&path).replace("\\\"", "\"");
        let mut joins = false;
        for line in text.lines() {
            all.push_str(if joins { line.trim_start() } else { line });
            joins = line.ends_with('\\');
            if joins {
                all.pop();
            } else {
                all.push('\n');
            }
        }
    }
    all
}

/// The pieces of a message that no source has.
fn unknown<'a>(message: &'a str, sources: &str) -> Vec<&'a str> {
    let pieces = message.lines().flat_map(|line| line.split("...")).map(str::trim);
    pieces.filter(|piece| !sources.contains(piece)).collect()
}

#[test]
fn every_message_is_one_that_runsd_prints() {
    let sources = sources();
    let mut judged = 0;
    for page in files("docs", ".md") {
        for block in blocks(&page, &read(&page)) {
            if block.comment.as_deref() == Some("message") {
                let gone = unknown(&block.text, &sources);
                assert!(gone.is_empty(), "{}: nothing prints {gone:?}", block.place());
                judged += 1;
            }
        }
    }
    assert!(judged >= 10, "{judged} messages");
    assert_eq!(unknown("is in project ... which is theirs", &sources), ["which is theirs"]);
    let joined = "which is not our own; if its services are to receive this service's identity";
    assert!(unknown(joined, &sources).is_empty());
}
