#!/usr/bin/env bash
# Mip-NeRF360-OV: trains four scenes, measures by GOI's masks or GAGS' outlines, prints a table beside the papers' figures.
# Usage: scripts/mipnerf360_ov.sh <mipnerf360 folder> <labels folder> <output folder>
#   <mipnerf360 folder> holds room/ counter/ garden/ bonsai/; <labels folder> one folder for each (sources: docs/results.md).
#   LABELS=gags (default; outlines) or goi (masks; a missing prediction skipped and as 0).
#   LEVEL: the one level that gags reads, by default l, or grid with FEATURES=dino, clip_dense or mini_dense, which have no other.
#   METHOD=codebook lifts the field instead of training it (scripts/train_seeds.sh).
#   FEATURES=sam_clip (default) or dino with TALK2DINO=<vitb_mlp_infonce.pth>; SEEDS="0 1 2" repeats and prints the spread.
#   PRESET=fast trains in minutes without a GPU; SCENES="room garden" runs these scenes only.
set -euo pipefail
usage='usage: scripts/mipnerf360_ov.sh <mipnerf360 folder> <labels folder> <output folder>'
if [ $# -lt 3 ]; then echo "$usage" >&2; exit 2; fi
data=$1 labels=$2 output=$3 kind=${LABELS:-gags} here=$(dirname "$0")
case ${FEATURES:-sam_clip} in dino | clip_dense | mini_dense) level=grid ;; *) level=l ;; esac  # patches have this level alone
rule=(--rule gags --level "${LEVEL:-$level}")
if [ "$kind" = goi ]; then rule=(); fi
case ${METHOD:-autoencoder} in codebook) field=lifted ;; pca) field=pca ;; *) field=published ;; esac

scenes=(${SCENES:-room counter garden bonsai})
python -m evaluation.before_training --protocol "mipnerf360_$kind" -s "$data" --labels "$labels" --scenes "${scenes[@]}" \
  --features "${FEATURES:-sam_clip}" ${rule[@]+"${rule[@]}"} ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"}

models=()
for scene in "${scenes[@]}"; do
  bash "$here/train_seeds.sh" "$data/$scene" "$output/$scene"
  runs=()
  for seed in ${SEEDS:-0}; do runs+=("$output/$scene/seed_$seed"); done
  python eval_query.py -s "$data/$scene" -m "${runs[@]}" --labels "$labels/$scene" --protocol "mipnerf360_$kind" \
    --field "$field" ${rule[@]+"${rule[@]}"} --shuffled_control ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"}
  models+=("${runs[@]}")
done
python -m evaluation.benchmark --protocol "mipnerf360_$kind" -m "${models[@]}" --field "$field"
