#!/usr/bin/env bash
# ScanNet by class: trains OpenGaussian's ten scenes with one Gaussian per point of the scan, prints a table beside the papers.
# Usage: scripts/scannet.sh <scannet folder> <output folder>
#   <scannet folder> holds scene0000_00/ and so on in OpenGaussian's layout (docs/results.md says where to get it).
#   METHOD=codebook lifts the field instead of training it (scripts/train_seeds.sh).
#   FEATURES=sam_clip (default) or dino with TALK2DINO=<vitb_mlp_infonce.pth>; SEEDS="0 1 2" repeats and prints the spread.
#   PRESET=fast trains in minutes without a GPU; SCENES="scene0000_00 scene0062_00" runs these scenes only.
set -euo pipefail
usage='usage: scripts/scannet.sh <scannet folder> <output folder>'
if [ $# -lt 2 ]; then echo "$usage" >&2; exit 2; fi
data=$1 output=$2 here=$(dirname "$0")
all='0000_00 0062_00 0070_00 0097_00 0140_00 0200_00 0347_00 0400_00 0590_00 0645_00'
case ${METHOD:-autoencoder} in codebook) field=lifted ;; pca) field=pca ;; *) field=published ;; esac

scenes=(${SCENES:-$(printf 'scene%s ' $all)})
python -m evaluation.before_training --protocol scannet -s "$data" --scenes "${scenes[@]}" \
  --features "${FEATURES:-sam_clip}" ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"}

models=()
for scene in "${scenes[@]}"; do
  bash "$here/train_seeds.sh" "$data/$scene" "$output/$scene" --fixed_points
  for seed in ${SEEDS:-0}; do models+=("$output/$scene/seed_$seed"); done
done
python -m evaluation.scan_segmentation -m "${models[@]}" --field "$field" --shuffled_control \
  ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"}
