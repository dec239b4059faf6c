#!/usr/bin/env bash
# Stage 2: compress a scene's features to a few channels and write the codes of every image.
# Usage: scripts/2_train_autoencoder.sh <scene folder> <model folder> [flags of train_autoencoder.py]
set -euo pipefail
usage='usage: scripts/2_train_autoencoder.sh <scene folder> <model folder> [flags]'
if [ $# -lt 2 ]; then echo "$usage" >&2; exit 2; fi
python train_autoencoder.py -s "$1" -m "$2" "${@:3}"
