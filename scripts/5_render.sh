#!/usr/bin/env bash
# Stage 4: pictures of every view, and a flight along the cameras as video.
# Usage: scripts/5_render.sh <scene folder> [model folder, default output/<scene>] [flags of render.py]
set -euo pipefail
scene=${1:?usage: scripts/5_render.sh <scene folder> [model folder] [flags of render.py]}
shift
model=output/$(basename "$scene")
if [[ $# -gt 0 && $1 != -* ]]; then
  model=$1
  shift
fi
exec "${PYTHON:-python}" "$(dirname "$0")/../render.py" -s "$scene" -m "$model" --video "$@"
