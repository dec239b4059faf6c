#!/usr/bin/env bash
# Stage 3, language: one code per Gaussian and level, all levels in one pass over frozen Gaussians.
# Usage: scripts/3b_train_language.sh <scene folder> <model folder> [flags of train.py --include_feature]
set -euo pipefail
usage='usage: scripts/3b_train_language.sh <scene folder> <model folder> [flags]'
python train.py -s "${1:?$usage}" -m "${2:?$usage}" --include_feature "${@:3}"
