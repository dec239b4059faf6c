#!/usr/bin/env bash
# Trains one benchmark scene once per seed: features, codes, Gaussians, language field. A second run continues.
# Usage: scripts/train_seeds.sh <scene folder> <folder for seed_0/, seed_1/, ...> [options of RGB training]
#   METHOD=autoencoder (default, as published), pca, or codebook, which is lifted instead of trained
#   FEATURES=sam_clip (default), dino, or mini (bundled, for generated scenes); SEEDS="0 1 2" (default 0)
#   PRESET=fast trains in minutes without a GPU; ITERATIONS=100 shortens both trainings, for a quick try
set -euo pipefail
usage='usage: scripts/train_seeds.sh <scene folder> <folder for seed_0/, seed_1/, ...> [options of RGB training]'
if [ $# -lt 2 ]; then echo "$usage" >&2; exit 2; fi
scene=$1 output=$2 features=${FEATURES:-sam_clip}
case ${METHOD:-autoencoder} in codebook) field=lifted ;; pca) field=pca ;; *) field=published ;; esac
length=(${PRESET:+--preset "$PRESET"} ${ITERATIONS:+--iterations "$ITERATIONS"})
optimised=(${length[@]+"${length[@]}"})
if [ "$field" = lifted ]; then optimised=(); fi

python preprocess.py -s "$scene" --features "$features" ${PRESET:+--preset "$PRESET"}
for seed in ${SEEDS:-0}; do
  model=$output/seed_$seed
  python train_autoencoder.py -s "$scene" -m "$model" --field "$field" --features "$features" --seed "$seed" \
    ${METHOD:+--method "$METHOD"}
  python train.py -s "$scene" -m "$model" --seed "$seed" ${length[@]+"${length[@]}"} "${@:3}"
  python train.py -s "$scene" -m "$model" --include_feature --field "$field" --seed "$seed" ${optimised[@]+"${optimised[@]}"}
done
