#!/usr/bin/env bash
# Stage 2: compress a scene's features to a few channels and write the codes of every image.
# Usage: scripts/2_train_autoencoder.sh <scene folder> [model folder, default output/<scene>] [flags of train_autoencoder.py]
set -euo pipefail
scene=${1:?usage: scripts/2_train_autoencoder.sh <scene folder> [model folder] [flags of train_autoencoder.py]}
shift
model=output/$(basename "$scene")
if [[ $# -gt 0 && $1 != -* ]]; then
  model=$1
  shift
fi
exec "${PYTHON:-python}" "$(dirname "$0")/../train_autoencoder.py" -s "$scene" -m "$model" "$@"
