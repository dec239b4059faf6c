#!/usr/bin/env bash
# Stage 5: text queries on a trained scene. Answers, images and report.html go to <model folder>/eval/<field>.
# Usage: scripts/5_eval_query.sh <scene folder> <model folder> "phrase" ["phrase" ...]
#   scripts/5_eval_query.sh data/kitchen output/kitchen "red mug" "wooden spoon"
set -euo pipefail
usage='usage: scripts/5_eval_query.sh <scene folder> <model folder> "phrase" ["phrase" ...]'
if [ $# -lt 3 ]; then echo "$usage" >&2; exit 2; fi
phrases=("${@:3}")  # a space is put before a leading dash below, since the dash would begin a flag
python eval_query.py -s "$1" -m "$2" --text "${phrases[@]/#-/ -}"
