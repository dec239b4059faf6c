#!/usr/bin/env bash
# Stage 0: photographs or a video to a scene folder with undistorted photographs and cameras.
# Usage: scripts/0_convert.sh <folder of photographs, or video> <scene folder to make> [flags of convert.py]
set -euo pipefail
usage='usage: scripts/0_convert.sh <folder of photographs, or video> <scene folder to make> [flags]'
if [ $# -lt 2 ]; then echo "$usage" >&2; exit 2; fi
python convert.py -s "$1" -o "$2" "${@:3}"
