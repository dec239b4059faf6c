#!/usr/bin/env bash
# Stage 1: photographs to language features, written into the scene folder.
# Usage: scripts/1_preprocess.sh <scene folder> [flags of preprocess.py]
# FEATURES chooses the extractor: sam_clip (default), dino, mini, mini_dense.
set -euo pipefail
scene=${1:?usage: scripts/1_preprocess.sh <scene folder> [flags of preprocess.py]}
shift
exec "${PYTHON:-python}" "$(dirname "$0")/../preprocess.py" -s "$scene" --features "${FEATURES:-sam_clip}" "$@"
