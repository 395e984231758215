#!/bin/sh
# Prints the table of figures in README.md. Run it in the folder of the package.
# Each figure is the best of many short rounds, so that other work on the machine
# hits all operations alike.
set -e
binary=$(mktemp)
trap 'rm -f "$binary"' EXIT
go test -c -o "$binary" .
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
	"$binary" -test.run '^$' -test.bench . -test.benchtime 60ms
done | awk '
	/^Benchmark/ {
		name = $1; sub(/^Benchmark/, "", name); sub(/-[0-9]+$/, "", name)
		if (!(name in best)) order[++n] = name
		if (!(name in best) || $3 + 0 < best[name]) best[name] = $3 + 0
		for (i = 4; i < NF; i++) if ($(i + 1) == "allocs/op") allocs[name] = $i
	}
	/^cpu:/ { sub(/^cpu: /, ""); cpu = $0 }
	END {
		print "CPU: " cpu ".\n"
		print "| operation | ns | allocations | ratio |\n|---|---|---|---|"
		for (i = 1; i <= n; i++) {
			name = order[i]
			ratio = ""
			if (name ~ /\/base-/) { base = best[name]; split(name, part, "/base-"); group = part[1] }
			else if (group != "" && index(name, group "/") == 1) ratio = sprintf("%.2f", best[name] / base)
			printf "| %s | %.0f | %s | %s |\n", name, best[name], allocs[name], ratio
		}
	}'
