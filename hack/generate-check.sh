#!/bin/sh
# Fails, and shows the difference, when a generated file is not what `make generate` writes.
set -eu
root=$(git rev-parse --show-toplevel)
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
cd "$root"
git ls-files -z --cached --others --exclude-standard -- . ':!e2e' ':!bench' | tar --null --ignore-failed-read -cf - -T - 2>/dev/null | tar -xf - -C "$fresh"
find "$fresh"/api -name 'zz_generated.*' -delete
rm -f "$fresh"/config/rbac/role.yaml "$fresh"/dist/*.yaml
"$root"/hack/generate.sh "$fresh"
stale=0
for part in api config dist bundle; do
	diff -ruN "$part" "$fresh/$part" || stale=1
done
if [ $stale = 1 ]; then
	echo "Generated files are stale: run make generate and commit the result." >&2
	exit 1
fi
