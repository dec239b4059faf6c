#!/usr/bin/env bash
# Stage 3, RGB: photographs to Gaussians, with every 8th photograph held out to measure them on.
# Usage: scripts/3a_train_rgb.sh <scene folder> <model folder> [flags of train.py]
#   without a GPU: --preset fast
set -euo pipefail
usage='usage: scripts/3a_train_rgb.sh <scene folder> <model folder> [flags]'
if [ $# -lt 2 ]; then echo "$usage" >&2; exit 2; fi
python train.py -s "$1" -m "$2" --eval "${@:3}"
