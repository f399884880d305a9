# SPDX-License-Identifier: Apache-2.0
"""Run by an interpreter under test: can it import the module?"""
import sys

try:
    __import__(sys.argv[1])
    print("yes")
except BaseException as error:
    print(repr(error))
