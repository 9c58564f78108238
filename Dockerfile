# syntax=docker/dockerfile:1
# Three stages: dependencies (cached until Cargo.lock changes), the program, and a small image that runs it as nobody.

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ make cmake nasm perl \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Dependencies first: this layer is built again only when the manifest or the lock file changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
 && for bench in $(sed -n 's/^name = "\(bench_[a-z_]*\)"$/\1/p' Cargo.toml); do echo 'fn main() {}' > "benches/$bench.rs"; done \
 && cargo build --release --locked --bin pixgate \
 && rm -rf src benches
COPY src src
COPY benches benches
COPY fixtures/images fixtures/images
# The stubs above are newer than the sources in a fresh checkout; touching makes cargo look again.
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin pixgate

FROM debian:bookworm-slim
# ca-certificates for https origins; fonts for text in SVG, where SVG is allowed.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates fonts-dejavu-core \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin pixgate \
 && install -d -o 10001 -g 10001 /data
COPY --from=build /src/target/release/pixgate /usr/local/bin/pixgate
USER 10001:10001
# Where sqlite:pixgate.db, the default of metadata.url, lies; the root file system can be read-only.
VOLUME /data
WORKDIR /data
# The admin listener stays on loopback inside the container: publishing it needs PIXGATE_SERVER_ADMIN_LISTEN and a token.
ENV PIXGATE_SERVER_LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["pixgate", "health"]
ENTRYPOINT ["pixgate"]
CMD ["serve"]
