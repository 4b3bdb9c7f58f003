#!/bin/sh
# Before this pod goes: if its Redis is master, the sentinels choose another one now instead of missing it first. Then Redis
# ends here, because it may ignore the signal that Kubernetes sends once.
set -u
REPLICAS=${REPLICAS:-3}
ME=${ME:-${HOSTNAME##*-}}
REDISCLI_AUTH=$(cat "${PASSWORD_FILE:-/run/secrets/tandemd/redis-password}")
export REDISCLI_AUTH

host() {
    # shellcheck disable=SC2059
    printf "$HOSTS" "$1"
}

is_master() {
    [ "$(timeout 2 redis-cli -h "${BIND:-127.0.0.1}" -p 6379 --raw role | head -n 1)" = master ]
}

number=0
while is_master && [ "$number" -lt "$REPLICAS" ]; do
    if [ "$number" != "$ME" ]; then
        timeout 2 redis-cli -h "$(host "$number")" -p 26379 sentinel failover tandemd | grep -q OK && break
    fi
    number=$((number + 1))
done
seconds=0
while is_master && [ "$seconds" -lt 10 ]; do
    sleep 1
    seconds=$((seconds + 1))
done

# While Redis writes its first AOF, as after a full resynchronisation, it refuses to end, and stays when SIGTERM comes. So it is
# asked again until it has gone. The grace period is longer than all of this: at most 16 s above, and these.
end=$(($(date +%s) + 35))
while timeout 2 redis-cli -h "${BIND:-127.0.0.1}" -p 6379 ping >/dev/null 2>&1 && [ "$(date +%s)" -lt "$end" ]; do
    timeout 12 redis-cli -h "${BIND:-127.0.0.1}" -p 6379 shutdown >/dev/null 2>&1
    sleep 0.5
done
