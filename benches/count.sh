#!/usr/bin/env bash
# Counts the instructions of one request and its answer, and of one datagram of data, with callgrind: the difference of two
# runs of different length, so that setting up does not count. The block functions of the hashes are listed apart: on
# machines that have them in hardware they cost next to nothing, and callgrind sees the software ones.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v valgrind >/dev/null; then
    echo "SKIPPED: valgrind is not installed"
    exit 0
fi
bench=$(cargo bench --bench instructions --no-run --message-format=json 2>/dev/null |
    grep -o '"executable":"[^"]*instructions-[^"]*"' | tail -1 | cut -d'"' -f4)
dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT

# Prints the instructions of $2 rounds of $1 with $3 sockets on each side: all, and those of the block functions.
count() {
    valgrind --tool=callgrind --callgrind-out-file="$dir/$2" "$bench" "$1" "$2" "$3" >/dev/null 2>&1
    callgrind_annotate --auto=no --threshold=100 --inclusive=no "$dir/$2" | tr -d ',' | awk '
        /PROGRAM TOTALS/ { all = $1 }
        /sha1.*compress|sha2.*compress|sha1_block|sha256_block/ { blocks += $1 }
        END { print all, blocks + 0 }'
}

few=1000
many=3000
# Prints what one round of $1 with $2 sockets on each side costs, $3 datagrams each.
report() {
    read -r all_few blocks_few < <(count "$1" $few "$2")
    read -r all_many blocks_many < <(count "$1" $many "$2")
    awk -v n=$(((many - few) * $3)) -v all=$((all_many - all_few)) -v blocks=$((blocks_many - blocks_few)) \
        -v what="$1" -v pairs="$2x$2" 'BEGIN {
        printf "%-11s %5s pairs: %6.0f instructions", what, pairs, all / n
        if (blocks > 0) printf ", %.0f of them block functions, %.0f without", blocks / n, (all - blocks) / n
        printf "\n"
    }'
    if [[ ${top:-} == --top ]]; then
        callgrind_annotate --auto=no --threshold=95 --inclusive=no "$dir/$many" | sed -n '/Ir/,$p' | head -40
    fi
}

top=${1:-}
# Setting up hundreds of pairs under callgrind takes minutes.
for sockets in 1 3 10; do
    report request $sockets 1
done
for what in copy send route current receive stream-send stream pieces relay-send relay-receive; do
    report $what 1 1
done
report batch 1 10
report segments 1 10
for what in send route receive stray; do
    report $what 10 1
done
