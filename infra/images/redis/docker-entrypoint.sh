#!/bin/sh
# As the official image: root hands /data to uid 999 and drops to it.
set -eu
if [ "${1#-}" != "$1" ]; then set -- redis-server "$@"; fi
if [ "$1" = redis-server ]; then
    # A container must listen beyond its own loopback; the published port is on 127.0.0.1 alone.
    set -- "$@" --protected-mode no --dir /data
    if [ "$(id -u)" = 0 ]; then
        find . \! -user redis -exec chown redis:redis '{}' +
        exec setpriv --reuid=redis --regid=redis --init-groups "$@"
    fi
fi
exec "$@"
