#!/usr/bin/env bash
# Stage 2: compress a scene's features to a few channels and write the codes of every image.
#   scripts/2_train_autoencoder.sh <scene> [options of train_autoencoder.py, e.g. --method pca --code_width 16]
set -euo pipefail
python train_autoencoder.py -s "$1" "${@:2}"
