#!/bin/sh
# Writes WordNet's glosses as plain text, one a line, one file per part of speech: noun.txt verb.txt adj.txt adv.txt.
# From the Debian package wordnet-base; the same bytes on every run.
#
#   examples/wordnet_glosses.sh [FOLDER]        default: build/data/wordnet
#
# Expected: 82115 noun.txt, 13767 verb.txt, 18156 adj.txt, 3621 adv.txt lines, 117659 in all.
set -eu
source=/usr/share/wordnet
target=${1:-build/data/wordnet}
if [ ! -r "$source/data.noun" ]; then
  echo "wordnet_glosses.sh: $source/data.noun is missing; install the package wordnet-base" >&2
  exit 1
fi
mkdir -p "$target"
for part in noun verb adj adv; do
  # An entry's gloss stands behind the first bar; the licence's lines start with blanks.
  LC_ALL=C awk '/^[0-9]/ { gloss = substr($0, index($0, "| ") + 2); sub(/ +$/, "", gloss); print gloss }' \
    "$source/data.$part" > "$target/$part.txt.new"
  mv "$target/$part.txt.new" "$target/$part.txt"
done
