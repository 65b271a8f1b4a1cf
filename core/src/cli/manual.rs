//! The manual page, `docs/runsd.1`, made from the table of settings; committed
//! and compared by a test, as the other documents are.
//!
//! It owns the page's words and its roff; it does no I/O of its own, and only
//! tests call it: the page is a file of the package, not of the program.

use super::args::CONFIG_HELP;
use crate::settings::{Form, SETTINGS, Scope, Setting, documents};
use std::fmt::Write;

/// When the words below, which are not the table's, were last changed.
const DATE: &str = "2026-11-25";

const BEFORE_OPTIONS: &str = r#"
.SH NAME
runsd \- reach Cloud Run services by name, authenticated
.SH SYNOPSIS
.B runsd
.RI [ OPTIONS ]
.B \-\-
.I COMMAND
.RI [ ARGS ...]
.br
.B runsd
.RI [ OPTIONS ]
.B serve
.br
.B runsd
.RI [ OPTIONS ]
.B explain
.I NAME
.RB [ \-\-json ]
.br
.B runsd
.RI [ OPTIONS ]
.B doctor
.RI [ NAME ]
.RB [ \-\-json ]
.br
.B runsd completions
.BR bash | zsh | fish
.SH DESCRIPTION
.B runsd
starts
.I COMMAND
so that its requests to
.B http://hello
reach the Cloud Run service
.IR hello :
over TLS, with an identity token of the instance's service account.
It answers DNS for such names, adds the token in a proxy, both on loopback, and
cares for
.I COMMAND
as an init process does.
On Cloud Run nothing needs to be set.
Elsewhere, where nothing is configured,
.I COMMAND
runs as if it had been started directly.
.PP
A name is
.RI [ TAG \-\-\-] SERVICE [. REGION [. PROJECT ]][ .run.internal ],
always with
.B http://
and port 80.
Every other host, scheme and port is reached as before.
.PP
Four words in the place of
.I COMMAND
are tasks of runsd's own; behind
.B \-\-
they are programs like any other.
.TP
.B serve
Serve without a
.IR COMMAND ,
as a sidecar, until SIGTERM; SIGHUP makes it read the routes and the allowed
names again.
.TP
.BI explain\  NAME
Follow a name from what an app types to the URL, the audience, the address, the
connection and the token.
.TP
.BI doctor\  [NAME]
Look at what stands in the way here, and what to do about it; with a
.I NAME
call that service.
.TP
.BI completions\  SHELL
Print a completion script.
.SH OPTIONS
A flag beats the environment variable beside it, which beats the key of the same
name in the file, which beats what is detected.
"#;

const AFTER_OPTIONS: &str = r#"
.SH EXIT STATUS
That of
.IR COMMAND ;
128+\fIN\fR if signal
.I N
ended it; 126 if it cannot be executed and 127 if it is not found;
2 for a mistake in the options; 70 if runsd itself fails.
.B explain
and
.B doctor
exit with 1 if something failed.
.SH ENVIRONMENT
The variables of the options above, and:
.TP
.B CLOUD_RUN_ID_TOKEN
A token to send instead of the metadata server's, for trying things out.
.TP
.BR CLOUD_RUN_PROJECT_HASH ,\  GCE_METADATA_HOST
Stand for
.B \-\-project\-hash
and
.B \-\-metadata\-host
where nothing else says them.
.TP
.BR SSL_CERT_FILE ,\  SSL_CERT_DIR
Certificates to trust instead of the system's.
.TP
.BR K_SERVICE ,\  CLOUD_RUN_JOB ,\  CLOUD_RUN_WORKER_POOL
Set by Cloud Run; by them runsd knows that it is there.
.TP
.B PORT
The app's own port; where it is 80, runsd runs in proxy mode.
.SH FILES
.TP
.I /etc/resolv.conf
Rewritten in place while
.I COMMAND
runs, and restored afterwards.
.SH SIGNALS
Every signal is forwarded to
.IR COMMAND ,
which decides when to end; names and the proxy serve until it has.
.SH EXAMPLES
The entrypoint of a container:
.PP
.EX
ENTRYPOINT ["/runsd", "\-\-", "/app"]
.EE
.PP
On a laptop, with the name
.B orders
leading to a program on this machine:
.PP
.EX
runsd \-\-route orders=http://localhost:9000 \-\- ./checkout
.EE
.PP
Why does a call fail?
.PP
.EX
runsd doctor orders
.EE
.SH SEE ALSO
.BR resolv.conf (5),
.BR tini (1)
.PP
.UR https://github.com/runsd/runsd/tree/main/docs
The book
.UE
"#;

/// Text in roff: a dash is a minus, and nothing at a line's start is a request.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('…', "...");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn entry(page: &mut String, setting: &Setting) {
    let flag = roff(&setting.flag());
    let tag = match setting.form {
        Form::Flag => format!(".B \\-\\-{flag}"),
        Form::Value(name) => format!(".BI \\-\\-{flag}\\  {}", roff(name)),
        Form::List { value, .. } => {
            format!(".BI \\-\\-{flag}\\  {} \\fR...", roff(value).replace(' ', "\\ "))
        }
    };
    let _ = writeln!(page, ".TP\n{tag}\n{}.", roff(setting.help));
    let _ = writeln!(page, "Default: {}.", roff(setting.default));
    let _ = writeln!(page, ".br\n.B {}", roff(&setting.variable()));
}

fn page() -> String {
    let version = crate::VERSION;
    let mut page = String::from(
        ".\\\" Written by the test `manual` from the table of settings; do not edit.\n",
    );
    let _ = write!(page, ".TH RUNSD 1 {DATE} \"runsd {version}\" \"User Commands\"");
    page.push_str(BEFORE_OPTIONS);
    for (scope, title) in
        [(Scope::Engine, "The engine"), (Scope::Process, "The process of COMMAND")]
    {
        let _ = writeln!(page, ".SS {title}");
        for setting in SETTINGS.iter().filter(|setting| setting.scope == scope) {
            entry(&mut page, setting);
        }
    }
    let _ =
        writeln!(page, ".SS Others\n.TP\n.BI \\-\\-config\\  FILE.json\n{}.", roff(CONFIG_HELP));
    page.push_str(".br\n.B RUNSD_CONFIG\n");
    for (flag, help) in [("help", "Print help"), ("version", "Print the version")] {
        let _ = writeln!(page, ".TP\n.B \\-\\-{flag}\n{help}.");
    }
    page.push_str(AFTER_OPTIONS.trim_start());
    page
}

#[test]
fn the_manual_says_what_the_table_says() {
    documents::committed("runsd.1", &page());
}

#[test]
fn every_option_is_in_the_manual() {
    let page = page();
    for setting in SETTINGS {
        assert!(page.contains(&format!("\\-\\-{}", roff(&setting.flag()))), "{}", setting.key);
        assert!(page.contains(&format!(".B {}", roff(&setting.variable()))), "{}", setting.key);
    }
    assert_eq!(roff(".so \\f-"), "\\&.so \\ef\\-");
}
