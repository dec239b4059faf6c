#!/usr/bin/env bash
# Every stage of one scene: features, codes, Gaussians, language field, renders, answers. A second run continues.
# Usage: scripts/run_scene.sh <scene folder with images/ and sparse/0/> <model folder> "phrase" ["phrase" ...]
#   FEATURES=sam_clip (default, LangSplat; needs ckpts/sam_vit_h_4b8939.pth), mini (bundled, no download),
#            dino (DinoSplat; needs TALK2DINO=<vitb_mlp_infonce.pth>) or mini_dense
#   PRESET=fast for machines without a GPU
set -euo pipefail
usage='usage: scripts/run_scene.sh <scene folder> <model folder> "phrase" ["phrase" ...]'
if [ $# -lt 3 ]; then echo "$usage" >&2; exit 2; fi
scene=$1 model=$2 features=${FEATURES:-sam_clip}
phrases=("${@:3}")  # a space is put before a leading dash below, since the dash would begin a flag

python preprocess.py -s "$scene" --features "$features" ${PRESET:+--preset "$PRESET"}
python train_autoencoder.py -s "$scene" -m "$model" --features "$features"
python train.py -s "$scene" -m "$model" --eval ${PRESET:+--preset "$PRESET"}
python train.py -s "$scene" -m "$model" --include_feature ${PRESET:+--preset "$PRESET"}
python render.py -s "$scene" -m "$model"
python render.py -s "$scene" -m "$model" --include_feature
python eval_query.py -s "$scene" -m "$model" ${TALK2DINO:+--talk2dino_ckpt "$TALK2DINO"} --text "${phrases[@]/#-/ -}"
