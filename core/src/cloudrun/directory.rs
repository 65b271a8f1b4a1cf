//! The directory: from what an app typed to a service's URL on Cloud Run.

use super::place::Place;
use super::urls::Service;
use crate::names::{Directory, Grammar, Kind, Name, Refusal, Route, Target, is_project_number};
use crate::net::BoxFuture;
use std::sync::{Arc, PoisonError, RwLock};

/// Hosts kept with their answer; an app that calls more pays for the look-up.
const KEPT: usize = 1024;

/// What the user permits and prefers.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Names that lead where the user says.
    pub routes: Vec<Route>,
    /// The only names that may be called; empty: all.
    pub allow: Vec<String>,
    /// Whether every project may be called.
    pub any_project: bool,
    /// Other projects that may be called.
    pub projects: Vec<String>,
    /// The hash of the older URLs.
    pub hash: Option<String>,
    /// Whether names without a route are services: true on Cloud Run.
    pub by_grammar: bool,
}

impl Rules {
    /// The route of a name, with or without the zone on either side.
    fn route(&self, host: &str, grammar: &Grammar) -> Option<&Route> {
        let bare = grammar.bare(host);
        self.routes.iter().find(|route| grammar.bare(route.name()) == bare)
    }

    fn permit_project(&self, host: &str, named: Option<&str>, own: &str) -> Result<(), Refusal> {
        let Some(project) = named.filter(|project| *project != own) else { return Ok(()) };
        if !is_project_number(project) {
            return Err(Refusal::Name {
                host: host.to_owned(),
                rule: format!(
                    "{project:?} is a project's id, and URLs are made of its number; find it with: \
                     gcloud projects describe {project} --format='value(projectNumber)'"
                ),
            });
        }
        if self.any_project || self.projects.iter().any(|known| known == project) {
            return Ok(());
        }
        Err(Refusal::Project { host: host.to_owned(), project: project.to_owned() })
    }
}

/// The directory of Cloud Run.
pub struct CloudRunDirectory {
    grammar: Grammar,
    place: Arc<Place>,
    book: RwLock<Book>,
}

/// The rules in force, and the answers they have given.
struct Book {
    rules: Arc<Rules>,
    /// Sorted by host: among the few that an app calls, one is found sooner than
    /// it would be hashed.
    kept: Vec<(String, Arc<Target>)>,
}

impl Book {
    /// The place of a host's answer, or where it belongs.
    fn place(&self, host: &str) -> Result<usize, usize> {
        self.kept.binary_search_by(|(kept, _)| kept.as_str().cmp(host))
    }
}

impl CloudRunDirectory {
    /// A directory over a grammar, the user's rules and our place.
    pub fn new(grammar: Grammar, rules: Rules, place: Arc<Place>) -> CloudRunDirectory {
        let book = Book { rules: Arc::new(rules), kept: Vec::new() };
        CloudRunDirectory { grammar, place, book: RwLock::new(book) }
    }

    /// Puts other routes and another list of allowed names in force; requests
    /// under way go on as they began.
    #[cfg(feature = "cli")]
    pub fn replace(&self, routes: Vec<Route>, allow: Vec<String>) {
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        let rules = Rules { routes, allow, ..Rules::clone(&book.rules) };
        *book = Book { rules: Arc::new(rules), kept: Vec::new() };
    }

    fn rules(&self) -> Arc<Rules> {
        self.book.read().unwrap_or_else(PoisonError::into_inner).rules.clone()
    }

    /// What `name` is in DNS: lower case, without the final dot.
    pub fn kind(&self, name: &str) -> Kind {
        let book = self.book.read().unwrap_or_else(PoisonError::into_inner);
        if book.rules.route(name, &self.grammar).is_some() {
            return Kind::Service;
        }
        match self.grammar.kind(name) {
            Kind::Service if !book.rules.by_grammar => Kind::NotOurs,
            kind => kind,
        }
    }

    fn find(&self, host: &str, rules: &Rules) -> Result<Arc<Target>, Refusal> {
        let shown = crate::names::normal(host);
        if let Some(route) = rules.route(&shown, &self.grammar) {
            self.permit(&shown, None, rules)?;
            return Ok(route.target().clone());
        }
        if self.grammar.is_reserved(&shown) {
            return Err(Refusal::Reserved { host: shown });
        }
        if !rules.by_grammar {
            let rule = "outside Cloud Run only names with a --route lead anywhere".to_owned();
            return Err(Refusal::Name { host: shown, rule });
        }
        let refuse = |rule: String| Refusal::Name { host: shown.clone(), rule };
        let name = self.grammar.parse(host).map_err(refuse)?;
        let (region, project) = self
            .place
            .both()
            .map_err(|missing| Refusal::Unsettled { host: shown.clone(), missing })?;
        self.permit(&shown, Some((&name, &region, &project)), rules)?;
        rules.permit_project(&shown, name.project.as_deref(), &project)?;
        let ours = name.project.as_deref().is_none_or(|named| named == project);
        let service = Service {
            tag: name.tag.as_deref(),
            name: &name.service,
            region: name.region.as_deref().unwrap_or(&region),
            project: name.project.as_deref().unwrap_or(&project),
            // A hash belongs to one project.
            hash: rules.hash.as_deref().filter(|_| ours),
        };
        service.target(&shown).map(Arc::new).map_err(refuse)
    }

    /// Keeps what `rules` have found, unless they are no longer in force.
    fn keep(&self, host: &str, target: &Arc<Target>, rules: &Arc<Rules>) {
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        if book.kept.len() < KEPT
            && Arc::ptr_eq(&book.rules, rules)
            && let Err(at) = book.place(host)
        {
            book.kept.insert(at, (host.to_owned(), target.clone()));
        }
    }

    /// The list of names that may be called. An entry without a tag stands for
    /// every tag of its service.
    fn permit(
        &self,
        host: &str,
        named: Option<(&Name, &str, &str)>,
        rules: &Rules,
    ) -> Result<(), Refusal> {
        let allow = &rules.allow;
        let allowed = allow.is_empty()
            || allow.iter().any(|entry| entry == host)
            || named.is_some_and(|(name, region, project)| {
                let of = |part: &Option<String>, own: &str| {
                    part.clone().unwrap_or_else(|| own.to_owned())
                };
                allow.iter().filter_map(|entry| self.grammar.parse(entry).ok()).any(|entry| {
                    entry.service == name.service
                        && of(&entry.region, region) == of(&name.region, region)
                        && of(&entry.project, project) == of(&name.project, project)
                        && (entry.tag.is_none() || entry.tag == name.tag)
                })
            });
        if allowed { Ok(()) } else { Err(Refusal::NotAllowed { host: host.to_owned() }) }
    }
}

impl Directory for CloudRunDirectory {
    fn target(&self, host: &str) -> Result<Arc<Target>, Refusal> {
        let book = self.book.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, target)) = book.place(host).ok().and_then(|at| book.kept.get(at)) {
            return Ok(target.clone());
        }
        drop(book);
        let rules = self.rules();
        let target = self.find(host, &rules)?;
        self.keep(host, &target, &rules);
        Ok(target)
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.place.settled())
    }
}

#[cfg(test)]
mod tests {
    use super::super::RESERVED;
    use super::*;

    fn directory(rules: Rules) -> CloudRunDirectory {
        let place = Place::new(Some("us-central1".into()), Some("123".into()));
        CloudRunDirectory::new(Grammar::new("run.internal", RESERVED), rules, place)
    }

    fn on_platform() -> Rules {
        Rules { by_grammar: true, ..Rules::default() }
    }

    fn host(directory: &CloudRunDirectory, typed: &str) -> String {
        directory.target(typed).map_or_else(|error| format!("{error:?}"), |t| t.host.clone())
    }

    #[test]
    fn names_lead_to_the_urls_of_our_place() {
        let directory = directory(on_platform());
        for (typed, expected) in [
            ("hello", "hello-123.us-central1.run.app"),
            ("Hello:80", "hello-123.us-central1.run.app"),
            ("hello.us-east1", "hello-123.us-east1.run.app"),
            ("hello.us-east1.run.internal", "hello-123.us-east1.run.app"),
            ("green---hello", "green---hello-123.us-central1.run.app"),
            ("hello.us-east1.123", "hello-123.us-east1.run.app"),
        ] {
            assert_eq!(host(&directory, typed), expected, "{typed}");
        }
        for typed in ["hello..", ".hello", "hello.us-east1.."] {
            assert!(matches!(directory.target(typed), Err(Refusal::Name { .. })), "{typed}");
        }
        assert!(Arc::ptr_eq(
            &directory.target("hello").unwrap(),
            &directory.target("hello").unwrap()
        ));
    }

    #[test]
    fn a_route_is_for_a_name_with_and_without_the_zone() {
        let route = |text: &str| vec![text.parse::<Route>().unwrap()];
        for name in ["hello", "hello.run.internal"] {
            let routes = route(&format!("{name}=https://lb.example:443"));
            let directory = directory(Rules { routes, ..on_platform() });
            for typed in ["hello", "HELLO.run.internal:80"] {
                let target = directory.target(typed).unwrap();
                assert_eq!((target.host.as_str(), target.port), ("lb.example", 443), "{typed}");
                assert_eq!(target.audience.as_deref(), Some("https://lb.example"));
            }
            assert_eq!(directory.kind("hello.run.internal"), Kind::Service);
        }
    }

    #[test]
    fn another_project_must_be_allowed() {
        let typed = "hello.us-east1.456.run.internal";
        let refused = directory(on_platform()).target(typed).unwrap_err();
        assert!(refused.to_string().contains("--allow-project 456"), "{refused}");
        let listed = Rules { projects: vec!["456".into()], ..on_platform() };
        assert_eq!(host(&directory(listed), typed), "hello-456.us-east1.run.app");
        let any = Rules { any_project: true, hash: Some("abc".into()), ..on_platform() };
        assert_eq!(host(&directory(any), typed), "hello-456.us-east1.run.app");
        let id = directory(on_platform()).target("hello.us-east1.my-project").unwrap_err();
        assert!(id.to_string().contains("gcloud projects describe my-project"), "{id}");
    }

    #[test]
    fn a_list_of_allowed_names_is_exhaustive() {
        let rules = Rules { allow: vec!["hello".into(), "api.us-east1".into()], ..on_platform() };
        let directory = directory(rules);
        for yes in ["hello", "green---hello", "hello.us-central1.run.internal", "api.us-east1"] {
            assert!(directory.target(yes).is_ok(), "{yes}");
        }
        for no in ["api", "hello.us-east1", "other"] {
            let error = directory.target(no).unwrap_err();
            assert!(matches!(error, Refusal::NotAllowed { .. }), "{no}: {error}");
        }
        let allow = vec!["green---hello".into(), "billing".into()];
        let routes = ["billing", "orders"];
        let routes = routes.map(|name| format!("{name}=https://{name}.example").parse().unwrap());
        let rules = Rules { allow, routes: routes.into(), ..on_platform() };
        let directory = self::directory(rules);
        assert!(directory.target("green---hello").is_ok() && directory.target("billing").is_ok());
        for no in ["hello", "blue---hello", "orders"] {
            let error = directory.target(no).unwrap_err();
            assert!(matches!(error, Refusal::NotAllowed { .. }), "{no}: {error}");
        }
    }

    #[test]
    fn routes_win_and_are_all_there_is_elsewhere() {
        let route = "hello=http://localhost:9000".parse().unwrap();
        let directory = directory(Rules { routes: vec![route], ..Rules::default() });
        assert_eq!(host(&directory, "hello"), "localhost");
        assert!(directory.target("other").unwrap_err().to_string().contains("--route"));
        assert_eq!(directory.kind("hello"), Kind::Service);
        assert_eq!(directory.kind("other.us-east1"), Kind::NotOurs);
    }

    #[test]
    fn rules_can_be_replaced_and_the_old_answers_go_with_them() {
        let directory = directory(on_platform());
        assert_eq!(host(&directory, "hello"), "hello-123.us-central1.run.app");
        let route = "hello=http://localhost:9000".parse().unwrap();
        directory.replace(vec![route], vec!["hello".into()]);
        assert_eq!(host(&directory, "hello"), "localhost");
        assert!(matches!(directory.target("other"), Err(Refusal::NotAllowed { .. })));
        directory.replace(Vec::new(), Vec::new());
        assert_eq!(host(&directory, "hello"), "hello-123.us-central1.run.app");
        assert!(directory.target("other").is_ok());
    }

    #[test]
    fn what_was_found_by_rules_that_were_replaced_meanwhile_is_not_kept() {
        let directory = directory(on_platform());
        let rules = directory.rules();
        let found = directory.find("hello", &rules).unwrap();
        directory.replace(Vec::new(), vec!["other".into()]);
        directory.keep("hello", &found, &rules);
        assert!(matches!(directory.target("hello"), Err(Refusal::NotAllowed { .. })));
    }

    #[test]
    fn an_unknown_place_is_told_and_settles() {
        let place = Place::new(None, None);
        let grammar = Grammar::new("run.internal", RESERVED);
        let directory = CloudRunDirectory::new(grammar, on_platform(), place);
        assert!(matches!(directory.target("hello"), Err(Refusal::Unsettled { .. })));
        assert!(matches!(directory.target("metadata"), Err(Refusal::Reserved { .. })));
    }
}
