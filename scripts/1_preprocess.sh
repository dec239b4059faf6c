#!/usr/bin/env bash
# Stage 1: photographs to language features, written into the scene folder.
# Usage: scripts/1_preprocess.sh <scene folder> [flags of preprocess.py]
#   FEATURES=sam_clip (default, LangSplat), dino (DinoSplat), mini or mini_dense (bundled, no download)
set -euo pipefail
usage='usage: scripts/1_preprocess.sh <scene folder> [flags]'
if [ $# -lt 1 ]; then echo "$usage" >&2; exit 2; fi
python preprocess.py -s "$1" --features "${FEATURES:-sam_clip}" "${@:2}"
