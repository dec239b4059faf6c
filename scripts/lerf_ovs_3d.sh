#!/usr/bin/env bash
# LERF-OVS in 3D: four scenes trained as published, their Gaussians selected by phrase, tabled beside the papers, by both evaluators.
# Usage: scripts/lerf_ovs_3d.sh <lerf_ovs folder> <output folder>
#   <lerf_ovs folder> holds figurines/ ramen/ teatime/ waldo_kitchen/ and label/ (docs/protocols.md says where to get it).
#   FEATURES=sam_clip (default) or dino with TALK2DINO=<vitb_mlp_infonce.pth>; SEEDS="0 1 2" repeats and prints the spread.
#   PHRASES=labels asks the labelled phrases instead of the published lists, as generated scenes need; PRESET=fast without a GPU.
# Models of scripts/lerf_ovs.sh in the same output folder are used as they are.
set -euo pipefail
usage='usage: scripts/lerf_ovs_3d.sh <lerf_ovs folder> <output folder>'
data=${1:?$usage} output=${2:?$usage} features=${FEATURES:-sam_clip}

models=()
for scene in figurines ramen teatime waldo_kitchen; do
  python preprocess.py -s "$data/$scene" --features "$features"
  for seed in ${SEEDS:-0}; do
    model=$output/$scene/seed_$seed
    python train_autoencoder.py -s "$data/$scene" -m "$model" --features "$features" --seed "$seed"
    python train.py -s "$data/$scene" -m "$model" --seed "$seed" ${PRESET:+--preset "$PRESET"}
    python train.py -s "$data/$scene" -m "$model" --include_feature --seed "$seed" ${PRESET:+--preset "$PRESET"}
    models+=("$model")
  done
done
for model in "${models[@]}"; do
  scene=$(basename "$(dirname "$model")")
  python -m evaluation.object_selection -s "$data/$scene" -m "$model" --labels "$data/label/$scene" --shuffled_control \
    ${PHRASES:+--phrases "$PHRASES"} ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"}
done
python -m evaluation.selection_table -m "${models[@]}"
