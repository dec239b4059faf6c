#!/usr/bin/env bash
# The 3D-OVS benchmark: trains five scenes, measures thresholded and arg-max masks, prints a table beside the papers' figures.
# Usage: scripts/3d_ovs.sh <3d_ovs folder> <output folder>
#   <3d_ovs folder> holds bed/ bench/ lawn/ room/ sofa/, each with images/, sparse/0/ and segmentations/.
#   METHOD=codebook lifts the field instead of training it (scripts/train_seeds.sh).
#   FEATURES=sam_clip (default) or dino with TALK2DINO=<vitb_mlp_infonce.pth>; SEEDS="0 1 2" repeats and prints the spread.
#   PRESET=fast trains in minutes without a GPU; RULE=langsplat_v2 selects another published answer rule,
#   READING=gaussian another reading of the field (docs/protocols.md); LEVEL=l one level, which RULE=gags needs (dino: grid).
#   SCENES="bed sofa" runs these scenes only.
set -euo pipefail
usage='usage: scripts/3d_ovs.sh <3d_ovs folder> <output folder>'
if [ $# -lt 2 ]; then echo "$usage" >&2; exit 2; fi
data=$1 output=$2 here=$(dirname "$0")

case ${METHOD:-autoencoder} in codebook) field=lifted ;; pca) field=pca ;; *) field=published ;; esac

scenes=(${SCENES:-bed bench lawn room sofa})
python -m evaluation.before_training --protocol 3d_ovs -s "$data" --scenes "${scenes[@]}" \
  --features "${FEATURES:-sam_clip}" ${RULE:+--rule "$RULE"} ${READING:+--reading "$READING"} ${LEVEL:+--level "$LEVEL"} \
  ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"}

models=()
for scene in "${scenes[@]}"; do
  bash "$here/train_seeds.sh" "$data/$scene" "$output/$scene"
  runs=()
  for seed in ${SEEDS:-0}; do runs+=("$output/$scene/seed_$seed"); done
  python eval_query.py -s "$data/$scene" -m "${runs[@]}" --labels "$data/$scene/segmentations" --protocol 3d_ovs \
    --field "$field" --shuffled_control ${RULE:+--rule "$RULE"} ${READING:+--reading "$READING"} \
    ${LEVEL:+--level "$LEVEL"} ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"}
  models+=("${runs[@]}")
done
python -m evaluation.benchmark --protocol 3d_ovs -m "${models[@]}" --field "$field"
