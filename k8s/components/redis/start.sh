#!/bin/sh
# Redis reads no password from a file, so that its configuration is put together here, in memory.
set -eu
umask 077
{
    cat /etc/redis/redis.conf
    printf 'requirepass %s\n' "$(cat /run/secrets/tandemd/redis-password)"
} >/run/redis/redis.conf
exec redis-server /run/redis/redis.conf
