//! The black-box suite: spawns the built binary, talks to it over real sockets, and judges it by the written
//! contracts alone (API, Next.js, threats). Law: nothing of the crate is imported here; pictures are judged by
//! format, size and colour, never by bytes. One binary, one module per concern; every module starts its own service.

mod admin;
mod caching;
mod corpus;
mod decoding;
mod fetching;
mod guard;
mod harness;
mod image_route;
mod load;
mod manifest;
mod next_serving;
mod next_validation;
mod origin_tests;
mod parameters;
mod placeholder;
mod privacy;
mod signature;
