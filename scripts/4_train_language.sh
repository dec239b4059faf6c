#!/usr/bin/env bash
# Stage 3, language: one code per Gaussian and level, all levels in one pass.
#   scripts/4_train_language.sh <scene> [options of train.py --include_feature, e.g. --preset fast or --feature_level 2]
set -euo pipefail
python train.py -s "$1" --include_feature "${@:2}"
