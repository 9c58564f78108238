//! What stands before the routes: a request that was answered before is answered here, from memory.
//!
//! Finding a route, calling a handler and passing the middleware cost more than the rest of a hit. Invariant: **the same
//! answer**, by the same functions; what is not known is handed to the routes as it came.

use std::future::{Ready, ready};
use std::time::Instant;

use actix_http::{HttpMessage as _, Request, Response};
use actix_service::{IntoServiceFactory, Service, ServiceFactory};
use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::dev::{AppConfig, ServiceResponse, forward_ready};
use actix_web::{Error, web};
use futures_util::TryFutureExt as _;
use futures_util::future::{Either, LocalBoxFuture, MapOk};

use super::connections::Connection;
use super::{State, image, reply};

/// Makes a [`Front`] for each thread that serves.
pub struct FrontFactory<F> {
    routes: F,
    state: Option<web::Data<State>>,
}

/// Puts the front before `routes`, an app with the middleware; `state` where those are the routes of [`super::public`].
pub fn front<A, F>(routes: A, state: Option<&web::Data<State>>) -> FrontFactory<F>
where
    A: IntoServiceFactory<F, Request>,
    F: ServiceFactory<Request>,
{
    FrontFactory { routes: routes.into_factory(), state: state.cloned() }
}

impl<F> ServiceFactory<Request> for FrontFactory<F>
where
    F: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<BoxBody>, Error = Error>,
    F::Future: 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Config = AppConfig;
    type Service = Front<F::Service>;
    type InitError = F::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, config: AppConfig) -> Self::Future {
        let (routes, state) = (self.routes.new_service(config), self.state.clone());
        Box::pin(async move { Ok(Front { routes: routes.await?, state }) })
    }
}

/// See the module's text.
pub struct Front<S> {
    routes: S,
    state: Option<web::Data<State>>,
}

/// What the routes answer, as the server sends it.
type Sent = fn(ServiceResponse<BoxBody>) -> Response<BoxBody>;

impl<S> Service<Request> for Front<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Future = Either<Ready<Result<Self::Response, Error>>, MapOk<S::Future, Sent>>;

    forward_ready!(routes);

    fn call(&self, request: Request) -> Self::Future {
        let started = Instant::now();
        let connection = request.conn_data::<Connection>();
        if let Some(state) = self.state.as_deref()
            && let Some((mut response, reply)) = image::known(request.head(), state)
        {
            if let Some(connection) = connection {
                connection.touch(started);
                response = response.map_body(|_, body| connection.follow(body));
            }
            let size = response.body().size();
            reply::conclude(&reply, (response.head_mut(), size), request.head(), Some(state), started);
            return Either::Left(ready(Ok(response.into())));
        }
        if let Some(busy) = connection.map(|connection| connection.begin(started)) {
            // Goes with the request, which is there until its answer is.
            request.extensions_mut().insert(busy);
        }
        Either::Right(self.routes.call(request).map_ok(Response::from as Sent))
    }
}
