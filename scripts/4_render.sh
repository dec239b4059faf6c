#!/usr/bin/env bash
# Stage 4: images of every view, and a video along the cameras.
# Usage: scripts/4_render.sh <scene folder> <model folder> [flags of render.py]
set -euo pipefail
usage='usage: scripts/4_render.sh <scene folder> <model folder> [flags]'
if [ $# -lt 2 ]; then echo "$usage" >&2; exit 2; fi
python render.py -s "$1" -m "$2" --video "${@:3}"
