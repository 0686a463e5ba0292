#!/bin/sh
# restore_command of a copy: $1 the wanted file, $2 where it goes. First hit wins: the archive, every
# generation of it; then what was salvaged from the stopped server. 1 means "not there" and nothing else;
# 126 stops the copy, because a file that cannot be read must not end recovery early.
name=$1
to=$2
give() {
    [ -r "$1" ] || { echo "dr: $1 cannot be read" >&2; exit 126; }
    cp "$1" "$to.dr" && mv "$to.dr" "$to" || { echo "dr: $1 cannot be copied" >&2; exit 126; }
    exit 0
}
[ -r /archive ] && [ -x /archive ] || { echo "dr: the archive cannot be read" >&2; exit 126; }
found=
for directory in /archive/*/; do
    file="$directory$name"
    [ -L "${directory%/}" ] && continue
    [ -e "$file" ] || [ -L "$file" ] || continue
    # A link may lead anywhere, and a pipe never ends.
    [ -f "$file" ] && [ ! -L "$file" ] || { echo "dr: $file is no plain file" >&2; exit 126; }
    if [ -n "$found" ]; then
        cmp -s "$found" "$file" || { echo "dr: $found and $file differ" >&2; exit 126; }
    fi
    found=$file
done
[ -n "$found" ] && give "$found"
[ -e /sock/salvage-open ] && [ -e "/sock/salvaged/$name" ] && give "/sock/salvaged/$name"
exit 1
