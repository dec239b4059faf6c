#!/usr/bin/env bash
# Stage 3, RGB: photographs to Gaussians, every 8th held out to measure them.
# Usage: scripts/3_train_rgb.sh <scene folder> [model folder, default output/<scene>] [flags of train.py]
set -euo pipefail
scene=${1:?usage: scripts/3_train_rgb.sh <scene folder> [model folder] [flags of train.py]}
shift
model=output/$(basename "$scene")
if [[ $# -gt 0 && $1 != -* ]]; then
  model=$1
  shift
fi
exec "${PYTHON:-python}" "$(dirname "$0")/../train.py" -s "$scene" -m "$model" --eval "$@"
