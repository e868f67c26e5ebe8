# A small image: the program, the certificate authorities of the web, and nothing
# else. There is no shell in it; `docker exec NODE tollgate members` and the other
# commands work, because the program is also its own client.
#
#   docker build -t tollgate .
#
# The image that the program is built in is a variable, so that a mirror or a
# local one may stand for it.
ARG BUILD_IMAGE=golang:1.26

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
# The modules change rarely: they are a layer of their own.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=docker
RUN CGO_ENABLED=0 go build -trimpath -pgo bench/node.pgo \
      -ldflags "-s -w -X tollgate/node/cli.Version=${VERSION}" -o /out/tollgate . \
    && mkdir -p /out/data /out/tmp && chmod 1777 /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/tollgate /usr/local/bin/tollgate
COPY --from=build /out/tmp /tmp
# A new volume takes over who owns this folder, so no start as root is needed.
COPY --from=build --chown=65532:65532 /out/data /data
ENV PATH=/usr/local/bin TOLLGATE_DATA_DIR=/data
USER 65532:65532
WORKDIR /data
VOLUME /data
# The API; other nodes: streams over TCP and gossip over UDP.
EXPOSE 4000 7946/tcp 7946/udp
# Whether the node may take traffic, in one word: it asks where PORT or
# TOLLGATE_LISTEN say that the node listens (another place: set TOLLGATE_ADDR). A
# witness takes none: run it with --no-healthcheck.
HEALTHCHECK --interval=5s --timeout=6s --start-period=60s --retries=3 CMD ["tollgate", "status", "--ready"]
# SIGTERM starts the drain. Give it time: docker stop -t 150.
STOPSIGNAL SIGTERM
ENTRYPOINT ["tollgate"]
CMD ["serve"]
