#!/usr/bin/env bash
# Stage 1: photographs to language features, written into the scene folder.
# Usage: scripts/1_preprocess.sh <scene folder> [flags of preprocess.py]
#   FEATURES=sam_clip (default, LangSplat), dino (DinoSplat), mini or mini_dense (bundled, no download)
set -euo pipefail
python preprocess.py -s "${1:?usage: scripts/1_preprocess.sh <scene folder> [flags]}" --features "${FEATURES:-sam_clip}" "${@:2}"
