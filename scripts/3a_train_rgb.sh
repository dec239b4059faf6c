#!/usr/bin/env bash
# Stage 3, RGB: photographs to Gaussians, with every 8th photograph held out to measure them on.
# Usage: scripts/3a_train_rgb.sh <scene folder> <model folder> [flags of train.py]
#   without a GPU: --preset fast
set -euo pipefail
usage='usage: scripts/3a_train_rgb.sh <scene folder> <model folder> [flags]'
python train.py -s "${1:?$usage}" -m "${2:?$usage}" --eval "${@:3}"
