//! The documents hold: every block of code in them is run, or says why not;
//! every link leads somewhere; every message that they explain is one that
//! runsd prints; and what is installed from here installs.

mod book;
mod console;
mod examples;
mod links;
mod messages;
mod package;
mod page;
mod roots;
mod words;
