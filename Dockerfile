# docker build -t norefs .
# docker run --rm -it --device /dev/fuse --cap-add SYS_ADMIN --security-opt apparmor=unconfined norefs
#
# With a source directory:
# docker run --rm -it --device /dev/fuse --cap-add SYS_ADMIN --security-opt apparmor=unconfined \
#     -v "$PWD:/source:ro" norefs run --from /source -- find . -ls

FROM rust:1-bookworm AS build
WORKDIR /norefs
COPY . .
RUN cargo build --release --locked --bin norefs

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends fuse3 \
    && rm -rf /var/lib/apt/lists/* \
    && sed -i 's/^#user_allow_other/user_allow_other/' /etc/fuse.conf
COPY --from=build /norefs/target/release/norefs /usr/local/bin/norefs
ENTRYPOINT ["norefs"]
CMD ["run"]
