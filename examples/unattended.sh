#!/bin/sh
# Somebody who starts a search in a container or by a scheduler, and looks at it the next day.
#
#     sh examples/unattended.sh runs/nightly --network nets.py:mine --images photos/ --budget 6h
#
# The home may be read-only: nothing is written but the run's folder, and what belongs to the process
# lies in $TMPDIR. A run that was killed (no memory, a node that went away) goes on where it was, up to
# ATTEMPTS times; a mistake that you can mend (exit code 2) is not tried again. Standard output is
# one JSON object.
set -u
run=$1
shift
mkdir -p "$(dirname "$run")"
export SYCAM_CACHE="${SYCAM_CACHE:-off}"
left=${ATTEMPTS:-3} ended=1
while [ "$left" -gt 0 ]; do
    left=$((left - 1))
    # Standard output is replaced, not appended to: the last attempt's alone counts.
    sycam synthesize "$@" --out "$run" --json --quiet --log "$run.log" > "$run.json"
    ended=$?
    case $ended in
    0) break ;;
    2 | 130) break ;; # said on standard error; or somebody ended it, and kept what there was
    *) echo "unattended: ended with $ended, $left more attempts" >&2 ;;
    esac
done
[ "$ended" -eq 0 ] || exit "$ended"
# The claim of a run nobody watched: derived again before anyone reads it.
sycam verify "$run" --trust --quiet > "$run.verified"
