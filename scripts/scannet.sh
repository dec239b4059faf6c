#!/usr/bin/env bash
# ScanNet by class: the ten scenes of OpenGaussian trained with one Gaussian for each point of the scan, tabled beside the papers.
# Usage: scripts/scannet.sh <scannet folder> <output folder>
#   <scannet folder> holds scene0000_00/ and so on in OpenGaussian's layout (docs/protocols.md says where to get it).
#   FEATURES=sam_clip (default) or dino with TALK2DINO=<vitb_mlp_infonce.pth>; SEEDS="0 1 2" repeats and averages.
#   PRESET=fast trains in minutes without a GPU; SCENES="scene0000_00 scene0062_00" takes some of them.
set -euo pipefail
usage='usage: scripts/scannet.sh <scannet folder> <output folder>'
data=${1:?$usage} output=${2:?$usage} features=${FEATURES:-sam_clip}
all='scene0000_00 scene0062_00 scene0070_00 scene0097_00 scene0140_00 scene0200_00 scene0347_00 scene0400_00 scene0590_00 scene0645_00'

models=()
for scene in ${SCENES:-$all}; do
  python preprocess.py -s "$data/$scene" --features "$features"
  for seed in ${SEEDS:-0}; do
    model=$output/$scene/seed_$seed
    python train_autoencoder.py -s "$data/$scene" -m "$model" --features "$features" --seed "$seed"
    python train.py -s "$data/$scene" -m "$model" --fixed_points --seed "$seed" ${PRESET:+--preset "$PRESET"}
    python train.py -s "$data/$scene" -m "$model" --include_feature --seed "$seed" ${PRESET:+--preset "$PRESET"}
    models+=("$model")
  done
done
python -m evaluation.scan_segmentation -m "${models[@]}" --shuffled_control ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"}
