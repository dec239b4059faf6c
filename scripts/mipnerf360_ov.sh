#!/usr/bin/env bash
# Mip-NeRF360-OV: four scenes trained and measured by GOI's masks or by GAGS' outlines, tabled beside the papers.
# Usage: scripts/mipnerf360_ov.sh <mipnerf360 folder> <labels folder> <output folder>
#   <mipnerf360 folder> holds room/ counter/ garden/ bonsai/; <labels folder> one folder for each (docs/protocols.md says whose).
#   LABELS=gags (default; outlines, one level: LEVEL, by default l) or goi (masks; a missing prediction skipped and as 0).
#   FEATURES=sam_clip (default) or dino with TALK2DINO=<vitb_mlp_infonce.pth>; SEEDS="0 1 2" repeats and prints the spread.
#   PRESET=fast trains in minutes without a GPU; IMAGES=images_4 takes the shrunk photographs of the archive.
set -euo pipefail
usage='usage: scripts/mipnerf360_ov.sh <mipnerf360 folder> <labels folder> <output folder>'
data=${1:?$usage} labels=${2:?$usage} output=${3:?$usage} features=${FEATURES:-sam_clip} kind=${LABELS:-gags}
rule=(--rule gags --level "${LEVEL:-l}")
if [ "$kind" = goi ]; then rule=(); fi

models=()
for scene in room counter garden bonsai; do
  python preprocess.py -s "$data/$scene" --features "$features"
  runs=()
  for seed in ${SEEDS:-0}; do
    model=$output/$scene/seed_$seed
    python train_autoencoder.py -s "$data/$scene" -m "$model" --features "$features" --seed "$seed"
    python train.py -s "$data/$scene" -m "$model" --images "${IMAGES:-images}" --seed "$seed" ${PRESET:+--preset "$PRESET"}
    python train.py -s "$data/$scene" -m "$model" --include_feature --seed "$seed" ${PRESET:+--preset "$PRESET"}
    runs+=("$model")
  done
  python eval_query.py -s "$data/$scene" -m "${runs[@]}" --labels "$labels/$scene" --protocol "mipnerf360_$kind" \
    ${rule[@]+"${rule[@]}"} --shuffled_control ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"}
  models+=("${runs[@]}")
done
python -m evaluation.benchmark --protocol "mipnerf360_$kind" -m "${models[@]}"
