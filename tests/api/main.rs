//! The black-box suite: spawns the built binary, talks to it over real sockets, and judges it by the written
//! contracts alone (API, Next.js, threats). Law: nothing of the crate is imported here; pictures are judged by
//! format, size and colour, never by bytes. One binary, one module per concern; every module starts its own service.

#![expect(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "the harness shows the service's log on failure, reads where the corpus is, and waits for processes"
)]

mod access;
mod admin;
mod answers;
mod caching;
mod clients;
mod corpus;
mod counts;
mod decoding;
mod development;
mod draining;
mod fetching;
mod fixtures;
mod formats;
mod guard;
mod harness;
mod image_route;
mod isolation;
mod load;
mod manifest;
mod metadata;
mod next_serving;
mod next_validation;
mod origin_tests;
mod parameters;
mod placeholder;
mod placeholders;
mod privacy;
mod purge;
mod quality;
mod refine;
mod refusals;
mod reload;
mod replicas;
mod secrets;
mod sharing;
mod signature;
mod stores;
mod storm;
