#!/usr/bin/env bash
# Stage 3, language: one code per Gaussian and level, all levels in one pass over frozen Gaussians.
# Usage: scripts/3b_train_language.sh <scene folder> <model folder> [flags of train.py --include_feature]
set -euo pipefail
usage='usage: scripts/3b_train_language.sh <scene folder> <model folder> [flags]'
if [ $# -lt 2 ]; then echo "$usage" >&2; exit 2; fi
python train.py -s "$1" -m "$2" --include_feature "${@:3}"
