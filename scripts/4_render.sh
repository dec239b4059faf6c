#!/usr/bin/env bash
# Stage 4: pictures of every view, and a flight along the cameras as video.
# Usage: scripts/4_render.sh <scene folder> <model folder> [flags of render.py]
set -euo pipefail
usage='usage: scripts/4_render.sh <scene folder> <model folder> [flags]'
python render.py -s "${1:?$usage}" -m "${2:?$usage}" --video "${@:3}"
