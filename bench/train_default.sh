#!/usr/bin/env bash
# The recipe of the default weights: from a folder with train/ and eval_public/ to a checkpoint and
# the table that decides whether it replaces the bundled one.
#
#   bench/train_default.sh DATA/ OUT/ [full|cpu]
#
# full: MAE on all images, then masks and boxes mixed, from random weights; one GPU, hours.
# cpu:  as far as two cores go: the bundled weights go on for a while, at a low rate.
# OUT/card.md says what the new weights were made from, where, and how good they are.
# Each stage is skipped if its file is there, and goes on where it was killed.
set -euo pipefail
data=$(realpath "$1") out=$(realpath -m "$2") size=${3:-full}
cd "$(dirname "$0")/.."
mkdir -p "$out"
PATH="$PWD/.venv/bin:$PATH"
mapfile -t sources < <(python -c "
import sys; sys.path.insert(0, '.')
from pathlib import Path
from bench.sources import train_flags
print('\n'.join(train_flags(Path('$data/train'))))")

mixed=(--margin-low 0.05 --margin-high 0.4 --stroke-share 0.4 --threshold 0.4 --weight-decay 0.05)
if [[ $size == full ]]; then
  mapfile -t folders < <(ls -d "$data"/train/*/images)
  [[ -e $out/mae.safetensors ]] || python -m mal_core pretrain "${folders[@]}" \
    --out "$out/mae.safetensors" --steps 60000 --batch-size 256 --resume
  batch=320
  start=(--encoder "$out/mae.safetensors" --steps 60000 --batch-size $batch --rate 8e-4
    --drop-path 0.15 --momentum 0.999 --paste-share 0.3 --teacher-weight 1
    --save-minutes 2 --evaluate-every 5000)
else
  batch=16
  start=(--start weights/mal-small-256.safetensors --steps "${STEPS:-400}" --batch-size $batch
    --rate 2e-5 --warmup 0.1 --momentum 0.99 --save-minutes 2)
fi
[[ -e $out/new.safetensors ]] || python -m mal_core train "${sources[@]}" \
  --out "$out/new.safetensors" --resume "${mixed[@]}" "${start[@]}"

for weights in weights/mal-small-256.safetensors "$out/new.safetensors"; do
  table=$out/$(basename "$weights" .safetensors).md
  [[ -e $table ]] || python bench/quality.py "$data/eval_public" --weights "$weights" > "$table.part"
  [[ -e $table ]] || mv "$table.part" "$table"
  echo "$weights"
  cat "$table"
done
python bench/card.py "$out/new.safetensors" "$data/train" "$out/new.md" --batch-size $batch \
  > "$out/card.md"
echo "The new weights replace the bundled ones only if 'all instances' and the mean over data sets are both higher."
