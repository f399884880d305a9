// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"
static int run(int argc, char **argv){(void)argc;(void)argv;return EXIT_USAGE;}
const struct command command_report = {.name="report",.synopsis="",.summary="x",.run=run};
