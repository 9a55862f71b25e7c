#!/usr/bin/env bash
# Builds the base images under their official names on a machine that cannot pull them, and leaves alone what is there.
#
#   deploy/base-images.sh PATH_OF_NATS_SERVER
#
# debian:bookworm-slim comes from debootstrap, through the package mirror that this machine is configured for.
# nats:VERSION is laid out as the official image is (one static binary, no shell), around the given nats-server.
set -euo pipefail

nats_server=$(command -v "${1:?usage: deploy/base-images.sh PATH_OF_NATS_SERVER}")
compose_file=$(dirname "$0")/../docker-compose.yml
suite=bookworm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() { echo "base-images: $*" >&2; exit 1; }

present() { docker image inspect "$1" >/dev/null 2>&1 && echo "$1 is there already"; }

need_debootstrap() {
    command -v debootstrap >/dev/null && return
    [ "$(id -u)" = 0 ] || die "debootstrap is missing: install it, or run this as root"
    apt-get update --quiet --quiet
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends debootstrap >/dev/null
}

# Nothing where the machine's own mirror does not carry the suite: debootstrap then uses the one it knows.
mirror() { apt-get indextargets --format '$(REPO_URI)' "Release: $suite" 'Created-By: Packages' | head -n 1; }

debian() {
    local name=debian:$suite-slim root=$work/debian
    present "$name" && return
    [ "$(id -u)" = 0 ] || die "$name is made by debootstrap, which needs root"
    need_debootstrap
    echo "building $name"
    # shellcheck disable=SC2046 # no mirror is no argument
    debootstrap --variant=minbase "$suite" "$root" $(mirror) >"$work/log" 2>&1 || die "debootstrap failed: $(tail -n 5 "$work/log")"
    # What the official slim image leaves out too.
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/* \
        "$root"/usr/share/{doc,info,man,locale}/* "$root"/var/log/*.log
    tar -C "$root" -c . | docker import --change 'CMD ["bash"]' - "$name" >/dev/null
}

nats() {
    local version
    version=$("$nats_server" --version | sed -n 's/^nats-server: v//p')
    [ -n "$version" ] || die "$nats_server does not say its version"
    grep --quiet "image: nats:$version\$" "$compose_file" || die "docker-compose.yml does not use nats:$version, the version of $nats_server"
    present "nats:$version" && return
    echo "building nats:$version"
    install -D -m 0755 "$nats_server" "$work/nats/nats-server"
    printf 'listen: 0.0.0.0:4222\nhttp: 0.0.0.0:8222\n' >"$work/nats/nats-server.conf"
    cat >"$work/nats/Dockerfile" <<'DOCKERFILE'
FROM scratch
COPY nats-server nats-server.conf /
EXPOSE 4222 6222 8222
ENV PATH=/:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENTRYPOINT ["/nats-server"]
CMD ["--config", "nats-server.conf"]
DOCKERFILE
    docker build --quiet --tag "nats:$version" "$work/nats" >/dev/null
}

debian
nats
