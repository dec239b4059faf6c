#!/usr/bin/env bash
# Stage 3, language: one code per Gaussian and level, all levels in one pass over frozen Gaussians.
# Usage: scripts/4_train_language.sh <scene folder> [model folder, default output/<scene>] [flags of train.py --include_feature]
set -euo pipefail
scene=${1:?usage: scripts/4_train_language.sh <scene folder> [model folder] [flags of train.py --include_feature]}
shift
model=output/$(basename "$scene")
if [[ $# -gt 0 && $1 != -* ]]; then
  model=$1
  shift
fi
exec "${PYTHON:-python}" "$(dirname "$0")/../train.py" -s "$scene" -m "$model" --include_feature "$@"
