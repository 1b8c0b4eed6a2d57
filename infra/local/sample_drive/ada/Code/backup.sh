#!/bin/sh
# Copies the order book to the boat. Runs from cron at ten past two, when the ovens are off and the line is quiet.
set -eu

from=${1:-/srv/bakery/orders.db}
to=${2:-harrier.local:/var/backups/bakery}
stamp=$(date +%Y-%m-%d)

if [ ! -s "$from" ]; then
    echo "the order book is empty, so nothing is copied over the good one" >&2
    exit 1
fi

gzip -9 -c "$from" > "/tmp/orders-$stamp.gz"
scp -q "/tmp/orders-$stamp.gz" "$to/"
rm -f "/tmp/orders-$stamp.gz"

# Keep a fortnight of copies and the first of every month.
ssh "${to%%:*}" "find ${to#*:} -name 'orders-*.gz' -mtime +14 ! -name '*-01.gz' -delete"
