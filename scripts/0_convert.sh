#!/usr/bin/env bash
# Stage 0: photographs or a video to a scene folder with undistorted photographs and cameras.
# Usage: scripts/0_convert.sh <folder of photographs, or video> <scene folder to make> [flags of convert.py]
set -euo pipefail
usage='usage: scripts/0_convert.sh <folder of photographs, or video> <scene folder to make> [flags]'
python convert.py -s "${1:?$usage}" -o "${2:?$usage}" "${@:3}"
