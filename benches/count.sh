#!/usr/bin/env bash
# Counts the instructions of one request and its answer with callgrind: the difference of two runs of different length,
# so that setting up does not count. The block functions of the hashes are listed apart: on machines that have them in
# hardware they cost next to nothing, and callgrind sees the software ones.
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

# Prints the instructions of $1 rounds with $2 sockets on each side: all, and those of the block functions.
count() {
    valgrind --tool=callgrind --callgrind-out-file="$dir/$1" "$bench" "$1" "$2" >/dev/null 2>&1
    callgrind_annotate --auto=no --threshold=100 --inclusive=no "$dir/$1" | tr -d ',' | awk '
        /PROGRAM TOTALS/ { all = $1 }
        /sha1.*compress|sha2.*compress|sha1_block|sha256_block/ { blocks += $1 }
        END { print all, blocks + 0 }'
}
few=1000
many=3000
# Setting up hundreds of pairs under callgrind takes minutes.
for sockets in 1 3 10; do
    read -r all_few blocks_few < <(count $few $sockets)
    read -r all_many blocks_many < <(count $many $sockets)
    awk -v n=$((many - few)) -v all=$((all_many - all_few)) -v blocks=$((blocks_many - blocks_few)) \
        -v pairs="${sockets}x$sockets" 'BEGIN {
        printf "instructions per request and answer, %s pairs: %.0f in all, %.0f of them block functions, %.0f without\n",
            pairs, all / n, blocks / n, (all - blocks) / n
    }'
    if [[ ${1:-} == --top ]]; then
        callgrind_annotate --auto=no --threshold=95 --inclusive=no "$dir/$many" | sed -n '/Ir/,$p' | head -40
    fi
done
