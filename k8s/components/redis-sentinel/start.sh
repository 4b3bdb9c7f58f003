#!/bin/sh
# usage: start.sh redis|sentinel. Begins one of the two servers of a pod.
#
# HOSTS: how the pods are called, with %s for the number. ME: the number of this one. REPLICAS: how many there are.
# CONFIG: where the configuration files are. DATA: what is kept. RUN: in memory. PASSWORD_FILE: the password of all.
set -eu
umask 077
REPLICAS=${REPLICAS:-3} CONFIG=${CONFIG:-/etc/redis} DATA=${DATA:-/data} RUN=${RUN:-/run/redis}
PASSWORD=$(cat "${PASSWORD_FILE:-/run/secrets/tandemd/redis-password}")
ME=${ME:-${HOSTNAME##*-}}
NAME=tandemd
export REDISCLI_AUTH="$PASSWORD"

host() {
    # shellcheck disable=SC2059
    printf "$HOSTS" "$1"
}

# Who is master: as a sentinel of another pod says, else as ours knew last, else the first pod: then it is the first start.
master() {
    number=0
    while [ "$number" -lt "$REPLICAS" ]; do
        if [ "$number" != "$ME" ]; then
            found=$(timeout 2 redis-cli -h "$(host "$number")" -p 26379 --raw sentinel get-master-addr-by-name "$NAME" 2>/dev/null |
                head -n 1) || found=
            case $found in
                '' | *' '*) ;; # no answer, or an error
                *) printf '%s' "$found" && return ;;
            esac
        fi
        number=$((number + 1))
    done
    kept=$(sed -n "s/^sentinel monitor $NAME \([^ ]*\) .*/\1/p" "$DATA/sentinel/sentinel.conf" 2>/dev/null) || kept=
    printf '%s' "${kept:-$(host 0)}"
}

me=$(host "$ME")
case $1 in
    redis)
        mkdir -p "$DATA/redis"
        master=$(master)
        {
            cat "$CONFIG/redis.conf"
            printf 'bind %s\n' "${BIND:-*}"
            printf 'dir %s\nrequirepass %s\nmasterauth %s\n' "$DATA/redis" "$PASSWORD" "$PASSWORD"
            printf 'replica-announce-ip %s\n' "$me"
            [ "$master" = "$me" ] || printf 'replicaof %s 6379\n' "$master"
        } >"$RUN/redis.conf"
        exec redis-server "$RUN/redis.conf"
        ;;
    sentinel)
        mkdir -p "$DATA/sentinel"
        file=$DATA/sentinel/sentinel.conf
        if [ ! -s "$file" ]; then
            {
                cat "$CONFIG/sentinel.conf"
                printf 'sentinel monitor %s %s 6379 %s\n' "$NAME" "$(master)" "$((REPLICAS / 2 + 1))"
                printf 'sentinel down-after-milliseconds %s 3000\n' "$NAME"
                printf 'sentinel failover-timeout %s 15000\n' "$NAME"
            } >"$file.new"
            mv "$file.new" "$file"
        fi
        # The password and the names may be others than the last time.
        sed '/^requirepass \|^sentinel auth-pass \|^sentinel sentinel-pass \|^sentinel announce-ip \|^port \|^dir \|^bind /d' \
            "$file" >"$file.new"
        {
            printf 'bind %s\n' "${BIND:-*}"
            printf 'port 26379\ndir %s\nrequirepass %s\n' "$DATA/sentinel" "$PASSWORD"
            printf 'sentinel sentinel-pass %s\nsentinel auth-pass %s %s\n' "$PASSWORD" "$NAME" "$PASSWORD"
            printf 'sentinel announce-ip %s\n' "$me"
        } >>"$file.new"
        mv "$file.new" "$file"
        exec redis-server "$file" --sentinel
        ;;
esac
