#!/usr/bin/env bash
# The LERF-OVS benchmark: trains four scenes as published (no photograph held out), prints a table beside the papers' figures.
# Usage: scripts/lerf_ovs.sh <lerf_ovs folder> <output folder>
#   <lerf_ovs folder> holds figurines/ ramen/ teatime/ waldo_kitchen/ and label/ (docs/results.md says where to get it).
#   METHOD=codebook lifts the field instead of training it (scripts/train_seeds.sh).
#   FEATURES=sam_clip (default) or dino with TALK2DINO=<vitb_mlp_infonce.pth>; SEEDS="0 1 2" repeats and prints the spread.
#   PRESET=fast trains in minutes without a GPU; RULE=langsplat_v2 selects another published answer rule,
#   READING=gaussian another reading of the field (docs/protocols.md); LEVEL=l one level, which RULE=gags needs (dino: grid).
#   SCENES="ramen teatime" runs these scenes only.
set -euo pipefail
usage='usage: scripts/lerf_ovs.sh <lerf_ovs folder> <output folder>'
if [ $# -lt 2 ]; then echo "$usage" >&2; exit 2; fi
data=$1 output=$2 here=$(dirname "$0")

case ${METHOD:-autoencoder} in codebook) field=lifted ;; pca) field=pca ;; *) field=published ;; esac

scenes=(${SCENES:-figurines ramen teatime waldo_kitchen})
python -m evaluation.before_training --protocol lerf_ovs -s "$data" --labels "$data/label" --scenes "${scenes[@]}" \
  --features "${FEATURES:-sam_clip}" ${RULE:+--rule "$RULE"} ${READING:+--reading "$READING"} ${LEVEL:+--level "$LEVEL"} \
  ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"}

models=()
for scene in "${scenes[@]}"; do
  bash "$here/train_seeds.sh" "$data/$scene" "$output/$scene"
  runs=()
  for seed in ${SEEDS:-0}; do runs+=("$output/$scene/seed_$seed"); done
  python eval_query.py -s "$data/$scene" -m "${runs[@]}" --labels "$data/label/$scene" --protocol lerf_ovs \
    --field "$field" --shuffled_control ${RULE:+--rule "$RULE"} ${READING:+--reading "$READING"} \
    ${LEVEL:+--level "$LEVEL"} ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"}
  models+=("${runs[@]}")
done
python -m evaluation.benchmark --protocol lerf_ovs -m "${models[@]}" --field "$field"
