#!/bin/sh
# A radiology engineer: slices as PNG, lesion masks of the same names, a network in a file.
#
#     sh examples/slices_with_masks.sh nets.py:lesions slices/ masks/ runs/lesions [more options]
#
# Searches for the formula that finds the lesions, refuses one that ignores the class, derives the
# result again, draws it, and writes the class. Grey slices: one mean and one standard deviation.
set -eu
network=$1 slices=$2 masks=$3 run=$4
shift 4
sycam synthesize --network "$network" --images "$slices" --masks "$masks" --mean 0.5 --std 0.25 \
    --metric average-precision --out "$run" "$@"
# The run was made here, so its file of networks may be imported: said by naming it again.
sycam verify "$run" --network "$network"
set -- "$slices"/*
sycam explain "$run" "$1" "$2" "$3" --network "$network" --save comparison,overlay
sycam export "$run" -o "$run/lesion_cam.py" --name LesionCAM
