# SPDX-License-Identifier: Apache-2.0
"""Run by an interpreter under test: can it import the module?"""
import sys

try:
    __import__(sys.argv[1])
    if "t" in getattr(sys, "abiflags", "") and sys._is_gil_enabled():
        print("it turns on the GIL, which this build is without")
    else:
        print("yes")
except BaseException as error:
    print(repr(error))
