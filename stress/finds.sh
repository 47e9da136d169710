#!/bin/sh
# SPDX-License-Identifier: ISC
# Does cleave-stress ($1) find the planted fault ($2)?  Any other failure than a violation is one of this test.
"$1" --seconds 30 --writers 4 --faulters 4 --plant "$2"
status=$?
if [ $status -ne 1 ]; then
	echo "exit status $status, wanted 1" >&2
	exit 1
fi
