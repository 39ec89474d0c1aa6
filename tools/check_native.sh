#!/bin/sh
# check_native.sh FOLDER: run the kernels' test drivers in FOLDER on every instruction set that this machine has.
set -eu
for isa in portable avx2 avx512 neon; do
    # check_isa ends with 3 where the machine or the build lacks the set
    status=0; CARRYSAVE_ISA=$isa "$1/check_isa" || status=$?
    if [ "$status" = 3 ]; then echo "$isa: not on this machine"; continue; fi
    [ "$status" = 0 ]
    for part in digits sums table logarithmic; do CARRYSAVE_ISA=$isa "$1/check_$part"; done
done
