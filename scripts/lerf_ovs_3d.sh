#!/usr/bin/env bash
# LERF-OVS in 3D: trains scenes as published, selects Gaussians by phrase, prints both evaluators' tables beside the papers.
# Usage: scripts/lerf_ovs_3d.sh <lerf_ovs folder> <output folder>
#   <lerf_ovs folder> holds figurines/ ramen/ teatime/ waldo_kitchen/ and label/ (docs/results.md says where to get it).
#   Models of scripts/lerf_ovs.sh in the same output folder are used as they are.
#   METHOD=codebook lifts the field instead of training it (scripts/train_seeds.sh).
#   FEATURES=sam_clip (default) or dino with TALK2DINO=<vitb_mlp_infonce.pth>; SEEDS="0 1 2" repeats and prints the spread.
#   PRESET=fast trains in minutes without a GPU; SCENES="ramen teatime" runs these scenes only.
#   PHRASES=labels asks the labelled phrases instead of the published lists, as generated scenes need.
set -euo pipefail
usage='usage: scripts/lerf_ovs_3d.sh <lerf_ovs folder> <output folder>'
if [ $# -lt 2 ]; then echo "$usage" >&2; exit 2; fi
data=$1 output=$2 here=$(dirname "$0")

case ${METHOD:-autoencoder} in codebook) field=lifted ;; pca) field=pca ;; *) field=published ;; esac

scenes=(${SCENES:-figurines ramen teatime waldo_kitchen})
python -m evaluation.before_training --protocol lerf_ovs_3d -s "$data" --labels "$data/label" --scenes "${scenes[@]}" \
  --features "${FEATURES:-sam_clip}" ${PHRASES:+--phrases "$PHRASES"} ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"}

models=()
for scene in "${scenes[@]}"; do
  bash "$here/train_seeds.sh" "$data/$scene" "$output/$scene"
  runs=()
  for seed in ${SEEDS:-0}; do runs+=("$output/$scene/seed_$seed"); done
  python -m evaluation.object_selection -s "$data/$scene" -m "${runs[@]}" --labels "$data/label/$scene" --shuffled_control \
    --field "$field" ${PHRASES:+--phrases "$PHRASES"} ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"}
  models+=("${runs[@]}")
done
python -m evaluation.selection_table -m "${models[@]}" --field "$field"
